"""`hdlif data inspect`: what is found in data, what is odd in them, and the sheet that shows them."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from cases import every
from cli.own_kinds import CUT, KINDS
from command_line import hdlif
from hdlif.cli.data import inspect
from hdlif.cli.data_text import as_text
from hdlif.errors import DataError, RecipeError, TrainingError
from hdlif.recipe import builders
from hdlif.report.data_sheet import sheet
from own_shards import events_of, pictures_of, series_of, write_shard
from picture_folders import CLASSES, write_pictures
from recorded_events import write_moves
from series_files import wave, write_arrays, write_csv, write_folders, write_recording
from target_tables import write_pictures_with_table

SAID = {
    "pictures": ["folders of classes, split here (validation 0.15, test 0.15, seed 0)", "L 18, RGB 12"],
    "series": ["20, each of 8 steps", "2: a, b", "2 numbers per step, from that time only: time_steps=8"],
    "recording": [
        "48, each of 8 steps: windows, one every 4 rows",
        '6, each a group of "who"',
        "p0, p1, p2, p3, p4, p5",
    ],
    "table": ["40, each a row", "2: width, height", "the same 2 numbers at each step"],
    "sounds": ["8000 Hz, from 20 files of 8000 Hz", "0.25 s, from the beginning", "8 mels of 20 to 4000 Hz"],
    "events": ["12x12 (height, width), from data.sensor", "60 to 60 in a recording, median 60"],
    "data set": ["own_sets:Squares: a data set, split here ("],
    "shards": ["4 tar shards"],
}


@every(name=list(KINDS))
def test_each_kind_of_data_is_told_counted_and_drawn(name: str, tmp_path: Path) -> None:
    kind, out = KINDS[name], None if name == "table" else tmp_path / f"{name}.png"
    result = inspect(str(kind.write(tmp_path / name)), overrides=kind.keys, out=out)
    assert json.loads(json.dumps(result)) == result
    assert tuple(result["classes"]) == kind.classes
    assert sum(sum(parts.values()) for parts in result["classes"].values()) == kind.samples
    assert sum(parts["test"] for parts in result["classes"].values()) == kind.tested
    text = as_text(result)
    assert [words for words in SAID[name] if words not in text] == []
    if out:
        with Image.open(out) as image:
            # A row for each class, of pictures of at least 64 pixels.
            assert image.size[1] > 64 * len(kind.classes)
            assert len(image.getcolors(1 << 20)) > 3


def test_whether_validation_samples_train_without_a_recipe(tmp_path: Path) -> None:
    few, many = write_pictures(tmp_path / "few"), write_pictures(tmp_path / "many", 134, size=(4, 4))
    for path, keys, trains in (
        (few, [], True),
        (many, [], False),
        (few, ["data.split={validation: 0.2}"], False),
        (few, ["data.split.seed=1"], True),
    ):
        result = inspect(str(path), overrides=keys)
        assert result["trains_on_validation"] is trains
        assert ("also trains on them" in as_text(result)) is trains


def test_a_pattern_names_shards_of_samples_of_any_kind(tmp_path: Path) -> None:
    write_shard(tmp_path / "series.tar", series_of(range(10)))
    write_shard(tmp_path / "events.tar", events_of(range(8)))
    for number in range(3):
        write_shard(tmp_path / f"part-{number:02}.tar", pictures_of(range(4 * number, 4 * number + 4), named=True))
    for path, kind, classes in (
        ("series.tar", "series", ["fast", "slow"]),
        ("events.tar", "events", ["left", "right"]),
        ("part-{00..02}.tar", "image", list(CLASSES)),
        ("part-*.tar", "image", list(CLASSES)),
        ("{part-00,part-01,part-02}.tar", "image", list(CLASSES)),
    ):
        result = inspect(str(tmp_path / path), overrides=["data.split={test: 0.25}"])
        assert (result["kind"], result["samples_of"], list(result["classes"])) == ("shards", kind, classes)
        if kind == "image":
            assert result["classes"]["cat"] == {"train": 7, "validation": 2, "test": 3}
    for name, layout, counts in (
        ("own_sets:Squares", "a data set", (24, 3, 3)),
        ("own_sets:Split", "data sets of train/test", (21, 3, 6)),
        ("own_sets:TrainOrTest", "data sets of train/test", (21, 3, 9)),
        ("own_sets:waves", "a data set", (16, 2, 2)),
    ):
        result = inspect(name, overrides=["data.split={validation: 0.1, test: 0.1}"])
        assert (result["path"], result["layout"]) == (name, layout)
        seen = result["classes"].values()
        assert tuple(sum(parts[part] for parts in seen) for part in ("train", "validation", "test")) == counts


def test_odd_files_are_listed(tmp_path: Path) -> None:
    photos = write_pictures(tmp_path / "photos", 10)
    (photos / "cat" / "bad.png").write_bytes(b"no picture")
    (photos / "notes.txt").write_text("x")
    (photos / "dog" / "cat.png").write_bytes((photos / "cat" / "001.png").read_bytes())
    of_pictures = as_text(inspect(str(photos)))
    series = write_folders(tmp_path / "series")
    write_csv(series / "slow" / "short.csv", [[1, 2]] * 3, ["a", "b"])
    write_csv(series / "slow" / "one.csv", [[1]] * 8, ["a"])
    for number in range(11):
        (series / "fast" / f"x{number:02}.csv").write_bytes(b"")
    of_series = as_text(inspect(str(series), overrides=["data.window=4"]))
    for text, words in (
        (of_pictures, "1 .txt"),
        (of_pictures, "1 file, which stops training without --set data.unreadable=skip:\n  cat/bad.png"),
        (of_pictures, "1 sample has copies in several classes: cat/001.png, dog/cat.png"),
        (of_series, "1 file has fewer rows than a window, 4:\n  slow/short.csv: 3 rows"),
        (of_series, "12 files, which stop training"),
        (of_series, "\n  fast/x09.csv: it is empty\n  and 2 more"),
    ):
        assert words in text
    found = inspect(str(series), overrides=["data.window=4"])["unreadable"]
    assert found[-1] == {"file": "slow/one.csv", "reason": "has 1 column (a), others 2 columns (a, b)"}


def test_recordings_that_cannot_be_read_are_left_out_where_that_is_asked_for(tmp_path: Path) -> None:
    data = write_moves(tmp_path / "data", 6, side=12)
    cut, late = (data / "left" / f"{name}.npy" for name in ("000", "002"))
    cut.write_bytes(cut.read_bytes()[:-5])
    np.save(late, np.load(late)[np.random.default_rng(0).permutation(60)])
    result = inspect(str(data), overrides=["data.sensor=[12, 13]"], size=5)
    assert ([one["file"] for one in result["unreadable"]], result["out_of_order"]) == (["left/000.npy"], 1)
    for words in ("12x13 (height, width)", "counts 2x5x5", "1 recordings are not in time order"):
        assert words in as_text(result)
    KINDS["events"].train(data, tmp_path / "run", "data.unreadable=skip", "data.batch_size=4")
    assert json.loads((tmp_path / "run" / "data_files.json").read_text())["skipped"] == ["left/000.npy"]


def test_recordings_are_binned_as_data_frames_says(tmp_path: Path) -> None:
    data = str(write_moves(tmp_path / "data", 6, side=12))
    binned = [inspect(data, overrides=[f"data.frames={how}"])["input"]["mean"] for how in ("by_number", "by_time")]
    assert binned[0] == inspect(data)["input"]["mean"]
    with pytest.raises(RecipeError, match="frames = rows does not apply to events"):
        inspect(data, overrides=["data.frames=rows"])


def test_what_is_probably_a_mistake_is_warned_of(tmp_path: Path) -> None:
    for label in ("trian", "test"):
        write_pictures(tmp_path / "photos" / label, 8)
    x = np.stack([wave("fast", number) for number in range(20)])
    y, parts = ["fast", "slow"] * 10, ["train"] * 20 + ["test"] * 3
    np.savez(tmp_path / "copies.npz", x=np.concatenate([x, x[:3]]), y=[*y, *y[:3]], part=parts)
    clock = write_recording(tmp_path / "clock.csv")
    header, *rows = clock.read_text().splitlines()
    clock.write_text("\n".join([f"{header},time", *(f"{row},{0.02 * number}" for number, row in enumerate(rows))]))
    for path, keys, words in (
        ("photos", (), '"test" is read as a class'),
        ("copies.npz", (), "3 samples have copies in several parts: x[0], x[20] and others"),
        ("clock.csv", CUT, "time rises in every row"),
    ):
        result = inspect(str(tmp_path / path), overrides=keys)
        assert [line for line in result["warnings"] if words in line], path
        assert f"warning        {result['warnings'][-1]}" in as_text(result)
    assert inspect(str(clock), overrides=[*CUT, "data.columns=[a, b]"])["warnings"] == []
    lines: list[str] = []
    KINDS["recording"].train(clock, tmp_path / "run", "training.epochs=1", say=lines.append)
    assert any(line.startswith("warning: time rises") for line in lines)


def test_a_sheet_shows_what_the_network_sees(tmp_path: Path) -> None:
    photos = write_pictures(tmp_path, 6, size=(40, 64), mode="L")
    data = builders.FOUND["folder"].MAKES(None, size=None, known=None, path=str(photos)).find()
    train = data.make((), 0).train
    first = train.read(torch.nonzero(train.labels == 0)[:1, 0])[0, 0].numpy()
    # 64 high: twice as large; 8 in a row, with gaps of 4.
    drawn, _ = sheet(data)
    left = drawn.shape[1] - 8 * 84
    np.testing.assert_array_equal(drawn[4 : 4 + 128, left : left + 80][::2, ::2, 1], first)


def test_each_row_of_a_sheet_has_the_name_of_its_class_or_value(tmp_path: Path) -> None:
    def names(*classes: str) -> list[NDArray[np.uint8]]:
        photos = write_pictures(tmp_path / "-".join(classes), 6, size=(8, 8), mode="L", classes=classes)
        drawn, _ = sheet(builders.FOUND["folder"].MAKES(None, size=None, known=None, path=str(photos)).find())
        left = drawn.shape[1] - 8 * 132 - 4
        return [drawn[row * 132 + 4 : row * 132 + 132, :left] for row in range(len(classes))]

    ants, bees = names("ants", "bees")
    assert (ants < 128).any()
    assert (ants != bees).any()
    # A word that the font does not have breaks nothing.
    assert names("\u732b", "x" * 200)[1].shape[1] < 400


def test_values_and_labels_of_a_table_are_told_and_drawn(tmp_path: Path) -> None:
    photos, out = str(write_pictures_with_table(tmp_path / "photos")), tmp_path / "sheet.png"
    values = inspect(photos, overrides=["data.values=[light, flat]", "data.group=person"], out=out)
    assert json.loads(json.dumps(values)) == values
    lines = as_text(values).splitlines()
    assert "files in labels.csv" in lines[0]
    assert [line.split()[:3] for line in lines[-2:]] == [["light", "20", "56"], ["flat", "0", "1"]]
    with Image.open(out) as image:
        left = np.asarray(image)[4:, : image.width - 8 * 132 - 4].min(axis=(1, 2))
    assert [(left[place : place + 128] < 128).any() for place in (0, 132)] == [True, True]
    *_, labels = as_text(inspect(photos, overrides=["data.labels=[tall]"], out=out)).splitlines()
    assert (labels.split()[0], sum(map(int, labels.split()[1:]))) == ("tall", 20)


def test_generated_data_are_told_with_their_arguments() -> None:
    result = inspect("delayed_xor", overrides=["data.delay=9", "data.samples=20", "data.validation=4"])
    assert json.loads(json.dumps(result)) == result
    assert result["arguments"] == {"delay": 9, "noise": 0.3, "samples": 20, "test": 1000, "draw": 0}
    assert result["classes"]["same"] == {"train": 10, "validation": 2, "test": 500}
    for words in ("delayed_xor: series, delay 9, ", "time_steps=10"):
        assert words in as_text(result)
    for name, words in (("digits", "1x8x8"), ("wine", "the same 13 numbers at each step")):
        result = inspect(name, overrides=["data.validation=30"])
        assert (result["samples"]["validation"], words in as_text(result)) == (30, True)


def test_the_forecast_by_the_last_value_is_told_where_what_comes_next_is_learned(tmp_path: Path) -> None:
    near, far = (inspect("mackey_glass", overrides=[f"data.ahead={ahead}"]) for ahead in (1, 6))
    assert near["persistence"]["rmse"] < far["persistence"]["rmse"]
    assert f"rmse {far['persistence']['rmse']:.4g}, mae" in as_text(far)
    np.savez(tmp_path / "x.npz", x=np.arange(72.0).reshape(12, 6, 1))
    own = inspect(str(tmp_path / "x.npz"), overrides=["data.ahead=2"])
    # Each channel rises by 1 a step.
    assert own["persistence"]["rmse"] == pytest.approx(2, rel=1e-4)


def test_the_command_takes_a_folder_and_the_name_of_a_set(tmp_path: Path) -> None:
    out = tmp_path / "sheet.png"
    done = hdlif("data", "inspect", write_pictures(tmp_path / "photos", 6), "--size", 8, "--out", out)
    assert (done.returncode, done.stderr, "3x8x8, RGB" in done.stdout, out.exists()) == (0, "", True, True)
    named = hdlif("data", "inspect", "delayed_xor", "--set", "data.delay=4", "--json")
    assert json.loads(named.stdout)["time_steps"] == 5


@every(
    *("data", "keys", "words"),
    of=[
        ("rows.csv", ["window=8"], "give data.KEY=VALUE"),
        ("rows.csv", ["data.window=2", "data.group=who", "data.columns=[width, height]"], "data.window"),
        ("x.npz", ["data.kind=table"], r"\[20, 8, 2\]; expected \[N, F\]"),
        ("digits", ["data.train=3"], "data.train"),
        ("digits_events", [], "event recordings"),
        ("fashion_mnist", [], "fashion_mnist"),
        ("sines", ["data.delay=3"], "data.delay = 3 is unknown"),
        ("delayed_xor", ["data.validation=100000000"], "20,201,212,000 values"),
        ("mackey_glass", ["data.ahead=1000000"], "3,010,310 units of time"),
        ("delayed_xor", ["data.mixup.prob=2"], "data.mixup.prob = 2 is refused"),
    ],
)
def test_what_cannot_be_inspected_is_refused_in_one_line(
    data: str, keys: list[str], words: str, tmp_path: Path
) -> None:
    KINDS["table"].write(tmp_path)
    (tmp_path / "data.csv").rename(tmp_path / "rows.csv")
    write_arrays(tmp_path / "x.npz")
    path = str(tmp_path / data) if "." in data else data
    with pytest.raises((DataError, RecipeError), match=words) as refused:
        inspect(path, overrides=keys, data_root=tmp_path)
    assert "\n" not in str(refused.value)


def test_a_sheet_that_cannot_be_drawn_or_written_is_refused(tmp_path: Path) -> None:
    photos = write_pictures(tmp_path / "photos", 6)
    table = str(KINDS["table"].write(tmp_path))
    for data, out, error in (
        (str(photos), photos / "cat" / "000.jpg", DataError),
        (str(photos), Path(table) / "x.png", TrainingError),
        (table, tmp_path / "sheet.png", DataError),
        ("digits", tmp_path / "sheet.png", DataError),
    ):
        with pytest.raises(error):
            inspect(data, out=out, overrides=["data.group=who"] if data == table else [])
