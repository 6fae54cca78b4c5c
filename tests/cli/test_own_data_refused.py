"""Data of one's own that cannot be trained on: each is refused in one line, before a run folder is made."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cases import every
from cli.own_kinds import KINDS
from hdlif.cli.data import inspect
from hdlif.errors import DataError, HdlifError, MissingExtraError
from hdlif.recipe import builders, load_recipe
from hostile import one_printable_line
from own_sets import CLASSES, pixels
from own_shards import Member, pictures_of, series_of, write_shard
from picture_folders import write_pictures
from recorded_events import aedat2_bytes, fields, moving, recording
from series_files import write_arrays
from trainings import train


def assert_refused(name: str, data: Path | str, out: Path, override: str, words: str) -> None:
    """A training of a kind of data says so, and leaves nothing."""
    with pytest.raises(HdlifError, match=words) as refused:
        KINDS[name].train(data, out, *([override] if override else []))
    one_printable_line(refused.value)
    assert not out.exists()


@every(
    *("name", "override", "words"),
    of=[
        ("series", "data.frames=rows", "data.frames = 'rows'"),
        ("series", "data.size=8", "data.size = 8"),
        ("series", "data.mixup={}", "data.mixup = "),
        ("recording", "data.split={test: 1}", "leaves nothing to train on"),
        ("table", "data.frames=rows", "data.frames = 'rows' does not apply to tables"),
        ("table", "data.augment=[flip]", "gives rows of numbers"),
        ("sounds", "data.mels=0", "mels = 0"),
        ("sounds", "data.mels=128", "mels = 128 are too many"),
        ("sounds", "data.seconds=-1", "seconds = -1"),
        ("sounds", "data.seconds=0.001", "samples = 8"),
        ("sounds", "data.every=1", "every = 1(.0)? applies to windows"),
        ("sounds", "data.clips=last", "clips = 'last' is unknown"),
        ("sounds", "data.window=8", "window = 8 does not apply to a folder of audio files"),
        ("sounds", "data.resample=10", "resample = 10 is refused"),
        ("sounds", "data.group=p", "group = 'p' is refused"),
        ("sounds", "data.highest_hz=5000", "lowest_hz, highest_hz"),
        ("events", "data.sensor=[12, 7]", "the sensor has 0..6"),
        ("events", "data.sensor=[8]", r"sensor = \[8\] is refused"),
        ("events", "data.sensor=[8, 0]", r"sensor = \[8, 0\] is refused"),
        ("events", "data.resize=nearest", 'data.resize = "nearest" is unknown'),
        ("events", "data.frames=rows", 'data.frames = "rows" makes frames of images'),
        ("data set", "data.cuont=3", 'did you mean "count"'),
        ("data set", "data.count=many", 'data.count = "many" is refused'),
        ("data set", "data.split={tests: 0.5}", "split.tests is unknown"),
        ("data set", "data.fit=middle", 'data.fit = "middle" is unknown'),
        ("shards", "data.member=jpg", "its shards contain no sample"),
        ("pictures", "data.batch_size=64", "64"),
    ],
)
def test_settings_that_do_not_go_with_data_are_refused(name: str, override: str, words: str, tmp_path: Path) -> None:
    assert_refused(name, KINDS[name].write(tmp_path / name), tmp_path / "run", override, words)


def in_one_class(data: Path) -> None:
    (data / "right").rename(data / "left/x")


def without_recordings(data: Path) -> None:
    for file in data.rglob("*.np?"):
        file.rename(file.with_suffix(".txt"))


def with_negative_times(data: Path) -> None:
    events = fields(moving("left", 0))
    events["t"] -= 5000
    np.save(data / "left/000.npy", events)


def of_two_sensors(data: Path) -> None:
    (data / "left/a.aedat").write_bytes(aedat2_bytes(recording(9, side=8)))
    (data / "left/b.raw").write_bytes(b"% evt 2.0\n% geometry 9x8\n% end\n" + bytes([0, 0, 0, 128, 0, 0, 0, 0]))


def cut_short(data: Path) -> None:
    first = data / "left/000.npy"
    first.write_bytes(first.read_bytes()[:-5])


@every(
    *("name", "spoil", "override", "words"),
    of=[
        ("pictures", lambda data: (data / "cat/bad.png").write_bytes(b"no picture"), "", "bad.png"),
        ("pictures", lambda data: data / "cat", "", "CLASS"),
        ("pictures", lambda data: data / "cat/001.png", "", "001.png"),
        ("pictures", lambda data: write_pictures(data / "few", 2), "", "too few"),
        ("events", in_one_class, "", "all samples are of one class, 'left'"),
        ("events", lambda data: (data / "up").mkdir(), "", "no recording in up"),
        ("events", without_recordings, "", "no recording in left, right"),
        ("events", cut_short, "", "1 of 20 files cannot be read as recordings: left/000.npy"),
        ("events", lambda data: np.save(data / "left/000.npy", fields(recording(0, side=8))), "", "no event"),
        ("events", with_negative_times, "", "times are at least 0"),
        ("events", of_two_sensors, "data.sensor=null", "left/a.aedat has a sensor of 128x128 and left/b.raw"),
    ],
)
def test_files_that_cannot_be_trained_on_are_refused(
    name: str, spoil: Callable[[Path], object], override: str, words: str, tmp_path: Path
) -> None:
    data = Path(KINDS[name].write(tmp_path / str(len(list(tmp_path.iterdir())))))
    spoiled = spoil(data)
    assert_refused(name, spoiled if isinstance(spoiled, Path) else data, tmp_path / "run", override, words)


@every(
    *("data", "words"),
    of=[
        ("Odd text", "own_sets:Odd, item 0: is a str; give images"),
        ("Odd flat", r"is float32 \[2, 2, 2, 2\]"),
        ("Odd channels", r"is uint8 \[4, 8, 8\]; images have 1 or 3 channels"),
        ("Odd range", "is float32 with values in"),
        ("Odd nan", "with values in nan..nan"),
        ("Odd bytes", "is int8 with values in"),
        ("Odd label", "has the label 0.0; labels are whole numbers"),
        ("Odd named", "has the label 'cat'"),
        ("Odd 'true'", "has the label True"),
        ("Odd negative", "has the label -1"),
        ("Odd outside", r"has the label 3; with 3 classes, labels are 0\.\.2"),
        ("Odd one class", "all samples are of one class, 'cat'"),
        ("Odd random", "item 0: differs each time it is read"),
        ("Odd triple", "is a tuple of 3"),
        ("Odd mapping", "is a dict"),
        ("Odd mixed", "items 1 and 0 are an image and a time series"),
        ("Odd fails", "item 3: cannot be read: OSError: the disk"),
        ("Odd empty", "has no items"),
        ("Odd classes", "its classes are 3"),
        ("Odd twice", r"its classes are \['a', 'a', 'b'\]"),
        ("Odd", "data.what is missing"),
        ("Stream", "it has no __len__"),
        ("NUMBER", "it must be a class or a function"),
        ("Square", "own_sets has no Square"),
    ],
)
def test_data_sets_and_items_that_are_no_samples_are_refused(data: str, words: str, tmp_path: Path) -> None:
    name, _, what = data.partition(" ")
    given = [f"data.what={what}"] if what else []
    with pytest.raises(HdlifError, match=words) as refused:
        train("digits_hdlif", data=f"own_sets:{name}", overrides=given, out=tmp_path / "run")
    one_printable_line(refused.value)
    assert not (tmp_path / "run").exists()


PNG = pictures_of([0])[0][1]
CLS = ("a.cls", b"0")


@every(
    *("members", "override", "words"),
    of=[
        ([("a.png", PNG)], "", "a has no label"),
        ([("a.txt", b"")], "", "shards contain no sample"),
        ([("a.png", PNG), CLS], "", "all samples are of one class, '0'"),
        ([("a.png", PNG), ("a.jpg", PNG), CLS], "", "a appears as .png and .jpg"),
        ([("a.png", PNG), ("a.png", PNG), CLS], "", "a appears twice"),
        ([("a.png", PNG), ("a.cls", b"\xff")], "", "a.cls is damaged"),
        ([("a.png", PNG), ("a.cls", b"x" * 1_070_000)], "", "a.cls has 1,070,000 bytes"),
        ([("a.png", PNG), ("a.cls", b"a\nb")], "", "'a.*b' is not a label"),
        ([("a.png", PNG), ("a.json", b"[]")], "", "an object with keys"),
        ([("a.png", PNG), ("a.json", b'{"label": 1.5}')], "", "1.5 is not a label"),
        ([("a.png", PNG), ("a.json", b'{"label": true}')], "", "True is not a label"),
        ([("a.png", PNG), ("a.json", b"[" * 60_000)], "", "a.json is damaged"),
        ([*pictures_of([0]), *series_of([0])], "", "of several kinds: image .* and series"),
        ([("a.tiff", PNG), ("a.txt", b""), CLS], "data.member=txt", "is not of a supported kind"),
        (pictures_of([0]), "", 'class "0" has 1 different image, too few'),
        ([*pictures_of(range(4)), ("z.png", PNG[:60]), ("z.cls", b"0")], "", "a.tar/z.png"),
    ],
)
def test_members_of_shards_that_are_no_samples_are_refused(
    members: list[Member], override: str, words: str, tmp_path: Path
) -> None:
    write_shard(tmp_path / "data" / "a.tar", members)
    assert_refused("shards", tmp_path / "data", tmp_path / "run", override, words)


def test_damaged_shards_and_odd_names_are_refused(tmp_path: Path) -> None:
    data = tmp_path / "data"
    whole = write_shard(data / "train-0.tar", pictures_of(range(6)))
    cut = write_shard(data / "test-0.tar", pictures_of(range(6, 8)))
    for damaged in (cut.read_bytes()[:1500], b"x" * 2000):
        cut.write_bytes(damaged)
        with pytest.raises(DataError, match=r"test-0\.tar: cannot be read as a tar shard"):
            inspect(str(data))
    cut.unlink()
    other = write_shard(data / "more.tar", pictures_of(range(2)))
    with pytest.raises(DataError, match=r"more\.tar does not"):
        inspect(str(data))
    other.unlink()
    members = [(name, b"9" if name.endswith("cls") else content) for name, content in pictures_of([9])]
    write_shard(data / "val-0.tar", members)
    with pytest.raises(DataError, match="is of class '9', which train does not have"):
        inspect(str(data))
    whole.unlink()
    for path, words in (
        (data, "no shard's name begins with train"),
        (data / "val-{0,7}.tar", "val-7.tar: there is no such shard"),
        (tmp_path / "none" / "{0..99999999}.tar", "expands to more than 65,536"),
        (tmp_path / "none" / "*.tar", "there is no such shard"),
    ):
        with pytest.raises(DataError, match=words):
            inspect(str(path))


def test_columns_of_the_package_datasets_that_are_no_samples_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    datasets = pytest.importorskip("datasets", reason="needs the package datasets: pip install 'hdlif[arrow]'")
    rows = {
        "image": [Image.fromarray(pixels(n % 3, n)) for n in range(30)],
        "label": [n % 3 for n in range(30)],
        "note": ["x"] * 30,
    }
    label = datasets.ClassLabel(names=list(CLASSES))
    features = datasets.Features({"image": datasets.Image(), "label": label, "note": datasets.Value("string")})
    datasets.Dataset.from_dict(rows, features=features).save_to_disk(str(tmp_path / "data"))
    assert inspect(str(tmp_path / "data"))["layout"] == "a data set"
    for override, words in (
        ("data.column=picture", "has no column 'picture'; it has image"),
        ("data.column=note", "is a str"),
        ("data.label=note", "has the label 'x'"),
    ):
        with pytest.raises(DataError, match=words):
            inspect(str(tmp_path / "data"), overrides=[override])
    for file in (tmp_path / "data").glob("*.arrow"):
        file.write_bytes(file.read_bytes()[:50])
    with pytest.raises(DataError, match="cannot be read") as refused:
        inspect(str(tmp_path / "data"))
    one_printable_line(refused.value)
    monkeypatch.setitem(__import__("sys").modules, "datasets", None)
    with pytest.raises(MissingExtraError, match="arrow"):
        inspect(str(tmp_path / "data"))


def test_a_recipe_of_another_kind_of_samples_is_refused(tmp_path: Path) -> None:
    data = {name: str(KINDS[name].write(tmp_path / name)) for name in ("pictures", "events", "table", "sounds")}
    data["arrays"] = str(write_arrays(tmp_path / "x.npz"))
    for recipe, name, words in (
        ("digits_hdlif", "arrays", "is for images; start .* as sines_hdlif"),
        ("sines_hdlif", "pictures", "is for time series; start .* as digits_hdlif"),
        ("digits_hdlif", "events", "is for images; start from a recipe for event data"),
        ("wine_hdlif", "sounds", "is for tables; .* as sines_hdlif"),
    ):
        with pytest.raises(DataError, match=words):
            builders.data_overrides(load_recipe(recipe), data[name])
    for recipe, kind in (("wine_hdlif", "table"), ("sines_hdlif", "series")):
        given = builders.data_overrides(load_recipe(recipe), data["table"])
        assert load_recipe(recipe, given).data.kind == kind
    # What nothing tells of is of the recipe's kind, which says what it misses.
    (tmp_path / "x.wav").write_bytes(b"")
    (tmp_path / "empty").mkdir()
    for name, words in (("x.wav", 'ends in ".wav"'), ("empty", "it contains no folder")):
        assert_refused("series", tmp_path / name, tmp_path / "run", "", words)
