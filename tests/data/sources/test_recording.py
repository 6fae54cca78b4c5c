"""One recording as a data set: how it is cut into windows and split, what is refused, and what `run` makes of one."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cases import naming
from hdlif.data import Found
from hdlif.data.sources.series import find_series
from hdlif.errors import DataError, InputError
from hdlif.graph.ops import InputRecord
from hdlif.inputs.resampling import resampled
from hdlif.runtime.series import read_series
from series_files import CLASSES, wave, write_arrays, write_csv, write_folders, write_recording


def look(path: Path, known: InputRecord | None = None, **keys: Any) -> Found:
    return find_series(None, size=None, known=known, path=str(path), **keys)


def recording(path: Path, known: InputRecord | None = None, **keys: Any) -> Found:
    return look(path, known, **{"window": 8, "label": "what", "group": "who", **keys})


def test_no_group_is_in_two_parts_and_no_window_across(tmp_path: Path) -> None:
    path = write_recording(tmp_path / "r.csv")
    found = recording(path, stride=4)
    lines = path.read_text().splitlines()
    parts = set()
    for entry in found.manifest.entries:
        first, last = map(int, entry.file.rpartition(":")[2].split("-"))
        ((who, what),) = {tuple(line.split(",")[:2]) for line in lines[first - 1 : last]}
        assert (last - first, what) == (7, entry.label)
        parts.add((who, entry.part))
    # 20 rows of each class: windows at 0, 4, 8, 12, for 6 people and 2 classes.
    assert (len(found.manifest.entries), len(parts)) == (48, 6)
    assert found.seen["channels"] == ["a", "b"]


def test_windows_that_overlap_are_in_one_part_without_groups(tmp_path: Path) -> None:
    rows: list[list[object]] = []
    for number in range(10):
        rows += [[CLASSES[number % 2], *values] for values in wave(CLASSES[number % 2], number, 20).tolist()]
    found = look(write_csv(tmp_path / "r.csv", rows, ["label", "a", "b"]), window=8, stride=2)
    firsts = [int(entry.file.rpartition(":")[2].split("-")[0]) for entry in found.manifest.entries]
    parts = {((first - 2) // 20, entry.part) for first, entry in zip(firsts, found.manifest.entries, strict=True)}
    assert len(parts) == 10


def test_what_no_window_takes_is_counted(tmp_path: Path) -> None:
    assert recording(write_recording(tmp_path / "r.csv")).seen["ignored"] == {"rows": 6 * 2 * 4}
    write_folders(tmp_path / "f")
    write_csv(tmp_path / "f" / "slow" / "x.csv", [[1, 2]], ["a", "b"])
    found = look(tmp_path / "f", window=8)
    assert found.seen["ignored"] == {"shorter files": 1}
    assert found.seen["short"] == [{"file": "slow/x.csv", "rows": 1}]


def people_in(found: Found) -> dict[str, set[int]]:
    """By part, of `write_recording`: whose rows it has."""
    people: dict[str, set[int]] = {}
    for entry in found.manifest.entries:
        first = int(entry.file.rpartition(":")[2].split("-")[0])
        people.setdefault(entry.part, set()).add((first - 2) // 40)
    return people


def test_groups_that_are_named_are_tested_on(tmp_path: Path) -> None:
    path = write_recording(tmp_path / "r.csv")
    found = recording(path, split={"test": ["p1", "p4"]})
    people = people_in(found)
    assert people["test"] == {1, 4}
    assert len(people["validation"]) == 1
    assert people["train"] == set(range(6)) - {1, 4} - people["validation"]
    assert found.seen["split"] == {"test": ["p1", "p4"], "validation": 0.15, "seed": 0}
    people = people_in(recording(path, split={"test": ["p1"], "validation": ["p0", "p2"], "seed": 7}))
    assert people == {"test": {1}, "validation": {0, 2}, "train": {3, 4, 5}}


def test_groups_that_cannot_be_held_out_are_refused(tmp_path: Path) -> None:
    path = write_recording(tmp_path / "r.csv")
    for split in (
        *({"test": names} for names in (["p1", "p9"], [])),
        {"test": ["p1"], "validation": ["p1"]},
        {"test": ["p0", "p1", "p2", "p3", "p4"], "validation": 0.5},
    ):
        with naming(split), pytest.raises((DataError, ValueError)):
            recording(path, split=split)
    with pytest.raises(DataError, match="nothing says of whom a sample is"):
        recording(path, group=None, columns=["a", "b"], split={"test": ["p1"]})
    x = np.stack([wave(CLASSES[number % 2], number) for number in range(8)])
    given = {"y": np.array(CLASSES * 4), "group": np.arange(8), "part": np.array(["train"] * 6 + ["test"] * 2)}
    np.savez(tmp_path / "x.npz", x=x, **given)
    with pytest.raises(DataError, match="there is a part test already"):
        look(tmp_path / "x.npz", split={"test": [7]})


def test_a_network_that_is_there_says_length_and_moments(tmp_path: Path) -> None:
    path = write_recording(tmp_path / "r.csv")
    known = InputRecord((2, 5, 1), (1.0, 2.0), (3.0, 4.0), kind="series", resize="none")
    found = look(path, known, label="what", group="who")
    assert found.input == known
    assert len(found.manifest.entries) == 6 * 2 * 4
    with pytest.raises(DataError, match="have 8 steps of 2 channels, and the network takes 5 of 2; give"):
        recording(path, known)


def test_refusals_of_recordings(tmp_path: Path) -> None:
    path = write_recording(tmp_path / "r.csv")
    for keys in (
        *({"label": "activity"}, {"label": None}, {"window": None}, {"window": 21}, {"group": None}),
        *({"group": "what"}, {"columns": ["c"]}, {"split": {"validation": 0.5, "test": 0.45}}),
    ):
        with pytest.raises(DataError):
            recording(path, **keys)


def test_labels_with_fractions_are_said_to_look_like_values(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "r.csv", [[t % 7 + 0.5, t] for t in range(50)], ["load", "x"])
    with pytest.raises(DataError, match=re.escape("--set 'data.values=[load]' --set 'task={kind: regress}'")):
        look(path, label="load", window=4)
    assert look(path, values=["load"], window=4).classes == ("load",)


def test_a_class_that_only_held_out_groups_have_is_refused(tmp_path: Path) -> None:
    path = write_recording(tmp_path / "r.csv")
    held_out = next(entry for entry in recording(path).manifest.entries if entry.part == "test")
    first = int(held_out.file.rpartition(":")[2].split("-")[0])
    lines = path.read_text().splitlines()
    who = lines[first - 1].split(",")[0]
    path.write_text("\n".join(line.replace(f"{who},fast", f"{who},rare") for line in lines))
    with pytest.raises(DataError, match=r'class "rare" is in no group of "who" of the training part; .*split.seed=1'):
        recording(path)


def test_arguments_that_such_data_do_not_take(tmp_path: Path) -> None:
    arrays, path = write_arrays(tmp_path / "x.npz"), write_recording(tmp_path / "r.csv")
    for keys in ({"window": 0}, {"stride": 2}, {"columns": []}, {"label": "a"}, {"window": 4}):
        with pytest.raises(ValueError, match=next(iter(keys))):
            look(arrays, **keys)
    for rates in ({"resample": 5}, {"rate": 0, "resample": 5}, {"mels": 5}):
        with pytest.raises(ValueError, match=next(iter(rates))):
            recording(path, **rates)


def test_each_sample_is_resampled_by_itself_as_run_does_it(tmp_path: Path) -> None:
    path = write_recording(tmp_path / "r.csv")
    found, plain = recording(path, rate=50, resample=25), recording(path)
    assert (found.input.shape, found.input.rates) == ((2, 4, 1), (50, 25))
    # What is in which part follows from the rows, whatever is made of them.
    assert found.manifest == plain.manifest == look(path, found.input, label="what", group="who").manifest
    read, whole = (part.make((), 0).train.read(torch.arange(3))[..., 0].numpy() for part in (found, plain))
    for one, other in zip(read, whole, strict=True):
        np.testing.assert_array_equal(one.T, resampled(np.ascontiguousarray(other.T), 50, 25))
    write_csv(tmp_path / "w.csv", wave("slow", 1, 8).tolist(), ["a", "b"])
    ((_, shown),) = read_series(tmp_path / "w.csv", replace(found.input, shape=(2, 1, 1)), time_steps=4)
    assert shown.shape == (4, 1, 2, 1, 1)


def test_a_recording_that_is_too_short_is_told_how_long_one_is(tmp_path: Path) -> None:
    record = InputRecord((2, 1, 1), (0.0, 0.0), (1.0, 1.0), kind="series", resize="none")
    path = write_csv(tmp_path / "x.csv", [[1, 2]] * 5)
    for changes, steps, rows in (({"windows": (6, 3)}, 6, 6), ({"rates": (50, 25)}, 4, 7)):
        known = replace(record, **changes)
        with pytest.raises(InputError, match=rf"has 5 rows and 2 columns.*; give (at least )?{rows} rows, or"):
            list(read_series(path, known, time_steps=steps))
        write_csv(path, [[1, 2]] * rows)
        assert len(list(read_series(path, known, time_steps=steps))) == 1
        write_csv(path, [[1, 2]] * 5)


def test_run_finds_channels_by_name(tmp_path: Path) -> None:
    record = InputRecord((2, 1, 1), (0.0, 0.0), (1.0, 1.0), kind="series", resize="none", columns=("a", "b"))
    for header, rows in ((["b", "x", "a"], [[2, 9, 1]] * 3), (["a", "b"], [[1, 2]] * 3), (None, [[1, 2]] * 3)):
        path = write_csv(tmp_path / "x.csv", rows, header)
        ((_, shown),) = read_series(path, record, time_steps=3)
        assert shown[:, 0, :, 0, 0].tolist() == [[1.0, 2.0]] * 3
    write_csv(path, [[1, 2]] * 3, ["a", "c"])
    with pytest.raises(InputError, match="it has no column 'b'; choose one of a, c"):
        list(read_series(path, record, time_steps=3))
