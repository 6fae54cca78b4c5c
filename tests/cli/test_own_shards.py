"""From tar shards of one's own through training to `hdlif run`, and what is refused on the way."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from after_epoch import AfterEpoch
from hdlif.cli.data import inspect
from hdlif.cli.data_text import as_text
from hdlif.cli.eval import evaluate
from hdlif.errors import DataError, HdlifError, RecipeError
from hdlif.recipe import builders
from hdlif.recipe.runs.checkpoints import load_trained
from hdlif.training.tasks import Evaluation
from hostile import one_printable_line
from own_shards import events_of, pictures_of, series_of, sounds_of, write_shard
from picture_folders import CLASSES
from sound_files import tone, wav_bytes
from trainings import train

FAST = ["model.width=4", "model.blocks=[1]", "data.batch_size=8", "training.epochs=2"]


def trained(data: str | Path, out: Path, *overrides: str, recipe: str = "digits_hdlif", **options: Any) -> None:
    fast = FAST if recipe == "digits_hdlif" else []
    train(recipe, data=str(data), overrides=[*fast, *overrides], out=out, memory_repeats=0, **options)


@pytest.mark.slow
def test_shards_of_parts_train_and_resume_exactly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Read as batches ask for them.
    monkeypatch.setattr("hdlif.data.sources.pictures.MOST_KEPT", 0)
    data = tmp_path / "data"
    write_shard(data / "train-000.tar", pictures_of(range(5)))
    write_shard(data / "train-001.tar", pictures_of(range(5, 8)))
    write_shard(data / "val-000.tar", pictures_of(range(8, 10)))
    write_shard(data / "test-000.tar", pictures_of(range(10, 12)))

    class StoppedError(Exception):
        pass

    def stop(epoch: int, result: Evaluation) -> None:
        if epoch > 1:
            raise StoppedError

    trained(data, tmp_path / "whole")
    with pytest.raises(StoppedError):
        trained(data, tmp_path / "stopped", callbacks=[AfterEpoch(stop)])
    kept = (data / "train-001.tar").read_bytes()
    write_shard(data / "train-001.tar", pictures_of([5, 6, 77]))
    changed = r"3 added \(train-001.tar/cat077.png, .* 3 gone \(train-001.tar/cat007.png"
    with pytest.raises(DataError, match=changed):
        trained(data, tmp_path / "stopped", resume=True)
    (data / "train-001.tar").write_bytes(kept)
    trained(data, tmp_path / "stopped", resume=True, workers=2)
    files = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "stopped")]
    assert files[0] == files[1]
    sets = builders.build_data(load_trained(tmp_path / "whole").recipe)
    assert [len(part) for part in sets.parts] == [24, 6, 6]
    assert sets.classes == ("0", "1", "2")
    x, _ = sets.train.sequence(torch.arange(3))
    assert x.shape == (1, 3, 1, 8, 8)
    assert evaluate(tmp_path / "whole", data=str(data)).n == 6


def test_a_pattern_names_shards_and_json_names_classes(tmp_path: Path) -> None:
    for number in range(3):
        write_shard(tmp_path / f"part-{number:02}.tar", pictures_of(range(4 * number, 4 * number + 4), named=True))
    for pattern in ("part-{00..02}.tar", "part-*.tar", "{part-00,part-01,part-02}.tar"):
        result = inspect(str(tmp_path / pattern), overrides=["data.split={test: 0.25}"])
        assert result["classes"] == {name: {"train": 7, "validation": 2, "test": 3} for name in CLASSES}
        assert (result["kind"], result["layout"]) == ("shards", "3 tar shards")
    trained(tmp_path / "part-{00..01}.tar", tmp_path / "run", "training.epochs=1")
    recipe = load_trained(tmp_path / "run").recipe
    assert recipe.data.arguments["path"] == str(tmp_path / "part-{00..01}.tar")
    assert len(builders.build_data(recipe).train) == 18
    with pytest.raises(DataError, match=r"part-07.tar: there is no such shard"):
        inspect(str(tmp_path / "part-{02,07}.tar"))


def test_series_and_recordings_in_shards_train(tmp_path: Path) -> None:
    write_shard(tmp_path / "series" / "a.tar", series_of(range(10)))
    small = ["model.widths=[4]", "data.batch_size=8", "time_steps=8", "training.epochs=1"]
    trained(tmp_path / "series", tmp_path / "one", *small, recipe="sines_hdlif")
    write_shard(tmp_path / "events" / "a.tar", events_of(range(8)))
    small = ["model.width=2", "data.batch_size=8", "time_steps=2", "training.epochs=1", "data.augment=[]"]
    trained(tmp_path / "events", tmp_path / "two", *small, recipe="digits_events_hdlif")
    for name, classes in (("series", ["fast", "slow"]), ("events", ["left", "right"])):
        result = inspect(str(tmp_path / name))
        assert json.loads(json.dumps(result)) == result
        assert list(result["classes"]) == classes
        assert f"{tmp_path / name}: 1 tar shards, split here" in as_text(result).splitlines()[0]


PNG = pictures_of([0])[0][1]


@pytest.mark.parametrize(
    ("members", "override", "words"),
    [
        ([("a.png", PNG)], "", "a.tar: a has no label beside it: add a.cls, or .json with 'label'"),
        ([("a.txt", b"")], "", "its shards hold no sample; their names should end in one of .bmp"),
        ([], "", "its shards hold no sample"),
        ([("a.png", PNG), ("a.cls", b"0")], "", "all samples are of one class, '0'; there must be two or more"),
        ([("a.png", PNG), ("a.jpg", PNG), ("a.cls", b"0")], "", "a is there as .png and .jpg; say which"),
        ([("a.png", PNG), ("a.png", PNG), ("a.cls", b"0")], "", "a is there twice"),
        ([("a.png", PNG), ("a.cls", b"\xff")], "", r"a.cls is damaged \('utf-8' codec"),
        (
            [("a.png", PNG), ("a.cls", b"x" * 1_070_000)],
            "",
            "a.cls has 1,070,000 bytes, and labels have at most 1,048,576",
        ),
        ([("a.png", PNG), ("a.cls", b"a\nb")], "", r"a.cls: 'a.*b' is not a label, a whole number or a name"),
        ([("a.png", PNG), ("a.json", b"[]")], "", r"a.json: it is \[\], and an object with keys is read"),
        ([("a.png", PNG), ("a.json", b'{"label": 1.5}')], "", "a.json: 1.5 is not a label"),
        ([("a.png", PNG), ("a.json", b'{"label": true}')], "", "a.json: True is not a label"),
        ([("a.png", PNG), ("a.json", b"[" * 60_000)], "", "a.json is damaged"),
        ([*pictures_of([0]), *series_of([0])], "", "its samples are of several kinds: image .* and series"),
        (pictures_of([0]), "data.member=jpg", "its shards hold no sample"),
        ([("a.tiff", PNG), ("a.txt", b""), ("a.cls", b"0")], "data.member=txt", "is of no kind that is read; name"),
        (pictures_of([0]), "", 'class "0" has 1 different picture, too few'),
        ([*pictures_of(range(4)), ("z.png", PNG[:60]), ("z.cls", b"0")], "", r"a.tar/z.png \(.*data.unreadable=skip"),
        (pictures_of([0]), "data.lable=x", 'did you mean "label"'),
    ],
)
def test_shards_that_cannot_be_trained_on_are_refused_in_one_line(
    tmp_path: Path, members: list[tuple[str, bytes]], override: str, words: str
) -> None:
    write_shard(tmp_path / "data" / "a.tar", members)
    with pytest.raises(HdlifError, match=words) as refused:
        trained(tmp_path / "data", tmp_path / "run", *([override] if override else []))
    one_printable_line(refused.value)
    assert not (tmp_path / "run").exists()


def test_damaged_shards_and_odd_names_are_named(tmp_path: Path) -> None:
    data = tmp_path / "data"
    whole = write_shard(data / "train-0.tar", pictures_of(range(6)))
    cut = write_shard(data / "test-0.tar", pictures_of(range(6, 8)))
    cut.write_bytes(cut.read_bytes()[:1500])
    with pytest.raises(DataError, match=r"test-0.tar: cannot be read as a tar shard \("):
        inspect(str(data))
    cut.write_bytes(b"x" * 2000)
    with pytest.raises(DataError, match=r"test-0.tar: cannot be read as a tar shard \("):
        inspect(str(data))
    cut.unlink()
    other = write_shard(data / "more.tar", pictures_of(range(2)))
    with pytest.raises(DataError, match=r"train-0.tar says by its name which part it is, and more.tar does not"):
        inspect(str(data))
    other.unlink()
    members = [(name, b"9" if name.endswith("cls") else content) for name, content in pictures_of([9])]
    write_shard(data / "val-0.tar", members)
    with pytest.raises(DataError, match=r"val-0.tar/cat009.png is of class '9', of which train has none"):
        inspect(str(data))
    whole.unlink()
    with pytest.raises(DataError, match=r"no shard's name begins with train; there are val-0.tar"):
        inspect(str(data))
    for pattern, words in (("{0..99999999}.tar", "stands for more than 65,536"), ("*.tar", "there is no such shard")):
        with pytest.raises(DataError, match=re.escape(words)):
            inspect(str(tmp_path / "none" / pattern))


def test_sounds_in_shards_are_those_of_files_to_the_bit(tmp_path: Path) -> None:
    write_shard(tmp_path / "shards" / "a.tar", sounds_of(range(10)))
    for name in ("high", "low"):
        for number in range(10):
            file = tmp_path / "files" / name / f"{number}.wav"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(wav_bytes(tone(name, number)))
    keys = {"mels": 8, "seconds": 0.2}
    places = (("shards", "shards"), ("series", "files"))
    shards, files = (builders.look(kind, str(tmp_path / path), keys).make((), 0) for kind, path in places)
    raw = [torch.cat([part.read(torch.arange(len(part))) for part in sets.parts]) for sets in (shards, files)]
    assert len(raw[0]) == 20
    assert {one.numpy().tobytes() for one in raw[0]} == {one.numpy().tobytes() for one in raw[1]}
    overrides = ["model.widths=[4]", "data.batch_size=8", "training.epochs=1", "data.mels=8", "data.seconds=0.2"]
    train("sines_hdlif", data=str(tmp_path / "shards"), overrides=overrides, out=tmp_path / "run", memory_repeats=0)
    assert evaluate(tmp_path / "run").n == 4
    found = builders.look("shards", str(tmp_path / "shards"), {**keys, "values": ["loud"]})
    assert (found.classes, len(found.target_std)) == (("loud",), 1)
    with pytest.raises(RecipeError, match="each_step and ahead are of series, and these are sounds"):
        builders.look("shards", str(tmp_path / "shards"), {"ahead": 2})
    write_shard(tmp_path / "series.tar", series_of([0]))
    with pytest.raises(RecipeError, match="mels = 8 is of sounds, and the shards hold none"):
        builders.look("shards", str(tmp_path / "series.tar"), {"mels": 8})
