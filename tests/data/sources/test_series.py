"""The user's own series, in files, arrays or one recording: how they are cut and split, and what is refused."""

import re
from collections import Counter
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cases import naming
from hdlif.data import OwnData
from hdlif.data.sources.series import Series
from hdlif.errors import DataError, InputError
from hdlif.graph.graph import InputRecord
from hdlif.inputs.resampling import resampled
from hdlif.runtime.series import read_series
from series_files import CLASSES, wave, write_arrays, write_csv, write_folders, write_recording


def look(path: Path, known: InputRecord | None = None, **keys: Any) -> OwnData:
    return Series(None, size=None, known=known, path=str(path), **keys).find()


def test_arrays_become_series_by_step(tmp_path: Path) -> None:
    path = write_arrays(tmp_path / "x.npz")
    found = look(path)
    assert (found.classes, found.input.shape, found.input.kind) == (CLASSES, (2, 8, 1), "series")
    assert [found.count(part) for part in ("train", "validation", "test")] == [12, 4, 4]
    sets = found.make((), 0)
    x, y = sets.train.batch(torch.tensor([3]))
    read = sets.train.read(torch.tensor([3]))[0, :, :, 0].numpy()
    with np.load(path) as arrays:
        (number,) = (n for n in range(20) if np.array_equal(arrays["x"][n].T, read))
        assert arrays["y"][number] == CLASSES[int(y)]
    expected = (read - np.array(sets.mean)[:, None]) / np.array(sets.std)[:, None]
    np.testing.assert_allclose(x[0, :, :, 0], expected, rtol=1e-5, atol=1e-6)


def test_arrays_may_state_parts_and_groups(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    people = np.repeat(np.arange(6), 4)
    arrays = {"x": rng.normal(size=(24, 5)), "y": np.arange(24) % 2, "group": people}
    np.savez(tmp_path / "x.npz", part=np.where(people < 4, "train", "test"), **arrays)
    found = look(tmp_path / "x.npz")
    # One of the four people to train validates: none is in two parts.
    assert [found.count(part) for part in ("train", "validation", "test")] == [12, 4, 8]
    held_out = [int(entry.file[2:-1]) for entry in found.manifest.entries if entry.part == "validation"]
    assert len(set(people[held_out])) == 1
    assert {int(entry.file[2:-1]) for entry in found.manifest.entries if entry.part == "test"} == {*range(16, 24)}
    assert (found.seen["layout"], found.seen["groups"]) == ("arrays x, y, group and part", [*"012345"])
    for name, values in arrays.items():
        np.save(tmp_path / f"{name}.npy", values)
    assert [look(tmp_path).count(part) for part in ("train", "validation", "test")] == [16, 4, 4]


def test_one_channel_integer_labels_and_a_channel_that_never_changes(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(24, 5, 2))
    x[..., 1] = 7
    np.savez(tmp_path / "x.npz", x=x[..., 0], y=np.arange(24) % 3 * 5)
    found = look(tmp_path / "x.npz")
    # In the order of the numbers: as text, 10 stands before 5.
    assert (found.classes, found.input.shape) == (("0", "5", "10"), (1, 5, 1))
    np.savez(tmp_path / "x.npz", x=x, y=np.arange(24) % 2)
    found = look(tmp_path / "x.npz")
    assert (found.input.mean[1], found.input.std[1]) == (7.0, 1.0)


def test_next_values_are_split_by_group(tmp_path: Path) -> None:
    people = np.repeat(np.arange(10), 3)
    # A person's values are of that person alone.
    x = people[:, None, None] + np.arange(6)[None, :, None] / 10
    np.savez(tmp_path / "x.npz", x=x, group=people)
    sets = look(tmp_path / "x.npz", ahead=1).make((), 0)
    of_part = [set(part.read(torch.arange(len(part))).floor().flatten().tolist()) for part in sets.parts]
    assert sum(map(len, of_part)) == len(set.union(*of_part)) == 10
    for part in sets.parts:
        shown, target = part.batch(torch.arange(len(part)))
        torch.testing.assert_close(target[:, :-1, 0], shown[:, 0, 1:, 0], rtol=0, atol=0.1)


def test_series_of_unequal_lengths_are_padded_with_the_mean_and_keep_their_lengths(tmp_path: Path) -> None:
    write_folders(tmp_path / "files")
    for number in (7, 8, 9):
        write_csv(tmp_path / "files" / "slow" / f"00{number}.csv", [[1, 2]] * 6, ["a", "b"])
    found = look(tmp_path / "files")
    assert (found.input.shape, found.input.shortest) == ((2, 8, 1), 6)
    lengths: Counter[int] = Counter()
    for part in found.make((), 0).parts:
        for number in range(len(part)):
            x, target = part.sequence(torch.tensor([number]))
            own = int(target[0, 1])
            lengths[own] += 1
            assert x.shape == (1, 1, 2, 8, 1)
            assert x[..., own:, :].count_nonzero() == 0 < x[..., :own, :].count_nonzero()
    assert lengths == {8: 17, 6: 3}
    # Other series of a network have as many steps as its own.
    assert look(write_folders(tmp_path / "equal", steps=7), found.input).input == found.input
    with pytest.raises(DataError, match="the network takes 6 to 8 of 2"):
        look(write_folders(tmp_path / "short", steps=5), found.input)


def test_arrays_whose_shorter_series_end_in_nan_are_as_files_are(tmp_path: Path) -> None:
    x = np.arange(1.0, 97).reshape(12, 4, 2)
    x[::3, 3:] = np.nan
    np.savez(tmp_path / "x.npz", x=x, y=np.arange(12) % 2)
    found = look(tmp_path / "x.npz")
    assert (found.input.shape, found.input.shortest) == ((2, 4, 1), 3)
    # Mean and deviation are of the steps that there are.
    train = [number for number, one in enumerate(found.manifest.entries) if one.part == "train"]
    assert found.input.mean == pytest.approx(np.nanmean(x[train], axis=(0, 1)), rel=1e-5)
    with pytest.raises(DataError, match=re.escape("x: at [0, 3, 0] (from 0) it contains nan")):
        look(tmp_path / "x.npz", values=["a"])


def test_odd_files_are_named_together_or_left_out_on_request(tmp_path: Path) -> None:
    write_folders(tmp_path / "good", 20)
    root = write_folders(tmp_path / "odd", 20)
    faults = {}
    for file, rows, names, why in (
        ("fast/first.csv", [[1]] * 8, ["a"], "has 1 column (a), others 2 columns (a, b)"),
        ("fast/order.csv", [[1, 2]] * 8, ["b", "a"], "has 2 columns (b, a), others 2 columns (a, b)"),
        ("fast/short.csv", [[1, 2]], ["a", "b"], "has 1 row, others 8 rows"),
        ("slow/cell.csv", [[1, 2], [1, ""]], ["a", "b"], "line 3, column 'b': the cell is empty"),
        ("slow/text.csv", [[1, 2], ["x", 2]], ["a", "b"], "line 3, column 'a': 'x' is not a number"),
    ):
        write_csv(root / file, rows, names)  # type: ignore[arg-type]
        faults[file] = why
    with pytest.raises(DataError) as refused:
        look(root)
    assert all(f"{file} ({why}" in str(refused.value) for file, why in faults.items())
    found = look(root, unreadable="skip")
    assert [fault["file"] for fault in found.seen["unreadable"]] == list(faults)
    assert found.manifest.skipped == tuple(faults)
    assert found.manifest.digest == look(tmp_path / "good").manifest.digest


def test_the_fix_for_a_column_of_text_comes_first(tmp_path: Path) -> None:
    root, fix = write_folders(tmp_path / "x"), "--set 'data.columns=[b]'"
    write_csv(root / "slow" / "text.csv", [["10:04", 2]] * 8, ["a", "b"])
    with pytest.raises(DataError) as refused:
        look(root)
    assert 0 < str(refused.value).find(fix) < str(refused.value).find("data.unreadable=skip")
    assert fix in look(root, unreadable="skip").seen["fixes"][0]
    for file in (root / "slow").glob("0*.csv"):
        file.unlink()
    with pytest.raises(DataError, match=f"no recording of class slow .*; .*{re.escape(fix)}"):
        look(root, unreadable="skip")
    one = write_csv(tmp_path / "one.csv", [["10:04", "on", 2]] * 8, ["clock", "label", "b"])
    with pytest.raises(DataError, match=f"{re.escape(fix)}.* data.group=NAME"):
        look(one, window=4)


def test_a_warning_of_a_clock_states_how_to_leave_it_out(tmp_path: Path) -> None:
    for names, fix in ((["time", "ax", "my y"], 'data.columns=[ax, "my y"]\''), (None, "can name the others")):
        for label, number in product(CLASSES, range(10)):
            rows = [[t, *values] for t, values in enumerate(wave(label, number).tolist())]
            write_csv(tmp_path / label / f"{number}.csv", rows, names)
        (warning,) = look(tmp_path).warnings()
        assert warning.endswith(fix)


def test_refusals_of_arrays(tmp_path: Path) -> None:
    x = {"x": np.zeros((2, 4))}
    both = {**x, "y": [0, 1]}
    of_four: Any = {"x": np.zeros((4, 4))}
    for arrays in (
        {"x": np.zeros((3, 4)), "y": [0, 1]},
        {"x": np.full((2, 4), np.nan), "y": [0, 1]},
        {"x": [[0, np.nan, 1], [0, 1, 2]], "y": [0, 1]},
        {"x": [[0, np.inf, 1], [0, 1, 2]], "y": [0, 1]},
        {"x": np.zeros(4), "y": [0, 1]},
        *({**x, "y": labels} for labels in ([0.5, 1], ["a", "b\n"])),
        *(x, {**x, "z": [1]}, {**both, "part": ["train"]}, {**both, "part": ["train", "dev"]}),
        {**both, "group": ["a", "a"], "part": ["train", "test"]},
        *({**of_four, "y": labels} for labels in ([1, 1, 1, 1], [0, 0, 1, 1])),
    ):
        np.savez(tmp_path / "x.npz", **arrays)
        with naming(arrays), pytest.raises(DataError):
            look(tmp_path / "x.npz")


def test_series_beyond_the_granted_memory_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("hdlif.data.value_samples.MOST_KEPT", 1000)
        with pytest.raises(DataError, match="take 1,280 bytes; at most 1,000"):
            look(write_arrays(tmp_path / "x.npz"))
    np.savez(tmp_path / "y.npz", x=np.zeros((4000, 8)), y=np.arange(4000) % 2)
    with pytest.raises(DataError, match=r"at data\.resample its samples take"):
        look(tmp_path / "y.npz", rate=1, resample=100_000)


def first_line(window: str) -> int:
    """Return the number of the first line of a window, by its name, FILE:FIRST-LAST."""
    return int(window.rpartition(":")[2].split("-")[0])


def recording(path: Path, known: InputRecord | None = None, **keys: Any) -> OwnData:
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
    assert len({((first_line(entry.file) - 2) // 20, entry.part) for entry in found.manifest.entries}) == 10


def people_in(found: OwnData) -> dict[str, set[int]]:
    """By part, of `write_recording`: whose rows it has."""
    people: dict[str, set[int]] = {}
    for entry in found.manifest.entries:
        people.setdefault(entry.part, set()).add((first_line(entry.file) - 2) // 40)
    return people


def test_groups_that_are_named_are_tested_on(tmp_path: Path) -> None:
    path = write_recording(tmp_path / "r.csv")
    found = recording(path, split={"test": ["p1", "p4"]})
    assert found.seen["ignored"] == {"rows": 6 * 2 * 4}
    people = people_in(found)
    assert (people["test"], len(people["validation"])) == ({1, 4}, 1)
    assert people["train"] == set(range(6)) - {1, 4} - people["validation"]
    assert found.seen["split"] == {"test": ["p1", "p4"], "validation": 0.15, "seed": 0}
    people = people_in(recording(path, split={"test": ["p1"], "validation": ["p0", "p2"], "seed": 7}))
    assert people == {"test": {1}, "validation": {0, 2}, "train": {3, 4, 5}}


def test_a_network_that_is_there_says_length_and_moments(tmp_path: Path) -> None:
    path = write_recording(tmp_path / "r.csv")
    known = InputRecord((2, 5, 1), (1.0, 2.0), (3.0, 4.0), kind="series", resize="none")
    found = look(path, known, label="what", group="who")
    assert found.input == known
    assert len(found.manifest.entries) == 6 * 2 * 4
    with pytest.raises(DataError, match="have 8 steps of 2 channels, but the network takes 5 of 2; give"):
        recording(path, known)


def test_requests_that_a_recording_does_not_meet_are_refused(tmp_path: Path) -> None:
    path = write_recording(tmp_path / "r.csv")
    for keys in (
        *({"label": "activity"}, {"label": None}, {"window": None}, {"window": 21}, {"group": None}),
        *({"group": "what"}, {"columns": ["c"]}, {"split": {"validation": 0.5, "test": 0.45}}),
        *({"split": {"test": names}} for names in (["p1", "p9"], [])),
        {"split": {"test": ["p1"], "validation": ["p1"]}},
        {"split": {"test": ["p0", "p1", "p2", "p3", "p4"], "validation": 0.5}},
        {"group": None, "columns": ["a", "b"], "split": {"test": ["p1"]}},
        *({"resample": 5}, {"rate": 0, "resample": 5}, {"mels": 5}),
    ):
        with naming(keys), pytest.raises((DataError, ValueError)):
            recording(path, **keys)


def test_requests_that_arrays_and_folders_do_not_meet_are_refused(tmp_path: Path) -> None:
    arrays = write_arrays(tmp_path / "x.npz")
    for keys in ({"window": 0}, {"stride": 2}, {"columns": []}, {"label": "a"}, {"window": 4}):
        with naming(keys), pytest.raises(ValueError, match=next(iter(keys))):
            look(arrays, **keys)
    x = np.stack([wave(CLASSES[number % 2], number) for number in range(8)])
    given = {"y": np.array(CLASSES * 4), "group": np.arange(8), "part": np.array(["train"] * 6 + ["test"] * 2)}
    np.savez(arrays, x=x, **given)
    with pytest.raises(DataError, match="there is a part test already"):
        look(arrays, split={"test": [7]})
    (tmp_path / "x.wav").write_bytes(b"")
    write_folders(tmp_path / "few", 2)
    write_folders(tmp_path / "window")
    for name, keys, words in (
        ("x.wav", {}, "give a .npz"),
        ("none", {}, "no such file or folder"),
        ("hapt", {}, "data get hapt"),
        ("few", {}, 'class "fast" has 2 units kept together'),
        ("window", {"window": 9}, "no file has the 9 rows of data.window"),
    ):
        with naming(name), pytest.raises(DataError, match=re.escape(words)):
            look(tmp_path / name, **keys)
    write_csv(tmp_path / "window" / "slow" / "x.csv", [[1, 2]], ["a", "b"])
    found = look(tmp_path / "window", window=8)
    assert found.seen["ignored"] == {"shorter files": 1}
    assert found.seen["short"] == [{"file": "slow/x.csv", "rows": 1}]


def test_labels_with_fractions_are_said_to_look_like_values(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "r.csv", [[t % 7 + 0.5, t] for t in range(50)], ["load", "x"])
    with pytest.raises(DataError, match=re.escape("--set 'data.values=[load]' --set 'task={kind: regress}'")):
        look(path, label="load", window=4)
    assert look(path, values=["load"], window=4).classes == ("load",)


def test_a_class_that_only_held_out_groups_have_is_refused(tmp_path: Path) -> None:
    path = write_recording(tmp_path / "r.csv")
    held_out = next(entry for entry in recording(path).manifest.entries if entry.part == "test")
    lines = path.read_text().splitlines()
    who = lines[first_line(held_out.file) - 1].split(",")[0]
    path.write_text("\n".join(line.replace(f"{who},fast", f"{who},rare") for line in lines))
    with pytest.raises(DataError, match=r'class "rare" is in no group of "who" of the training part; .*split.seed=1'):
        recording(path)


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


def test_run_states_how_long_a_recording_must_be_and_finds_channels_by_name(tmp_path: Path) -> None:
    record = InputRecord((2, 1, 1), (3.0, 0.0), (1.0, 4.0), kind="series", resize="none", columns=("a", "b"))
    path = tmp_path / "x.csv"
    for changes, steps, rows in (({"windows": (6, 3)}, 6, 6), ({"rates": (50, 25)}, 4, 7)):
        known = replace(record, **changes)
        write_csv(path, [[1, 2]] * 5)
        with pytest.raises(InputError, match=rf"has 5 rows and 2 columns.*; give (at least )?{rows} rows, or"):
            list(read_series(path, known, time_steps=steps))
        write_csv(path, [[1, 2]] * rows)
        assert len(list(read_series(path, known, time_steps=steps))) == 1
    for header, rows in ((["b", "x", "a"], [[2, 9, 1]] * 3), (["a", "b"], [[1, 2]] * 3), (None, [[1, 2]] * 3)):
        write_csv(path, rows, header)
        ((_, shown),) = read_series(path, record, time_steps=3)
        assert shown[:, 0, :, 0, 0].tolist() == [[-2.0, 0.5]] * 3
    write_csv(path, [[1, 2]] * 3, ["a", "c"])
    with pytest.raises(InputError, match="it has no column 'b'; choose one of a, c"):
        list(read_series(path, record, time_steps=3))


def write_groups(root: Path, **groups: int) -> Path:
    """Write CLASS/GROUP_N.csv: so many groups of each class, with two files of each."""
    for label, count in groups.items():
        for number, take in product(range(count), range(2)):
            write_csv(root / label / f"{label}{number}_{take}.csv", wave(label, 2 * number + take).tolist(), ["a", "b"])
    return root


def test_groups_of_a_single_class_are_divided_within_their_class(tmp_path: Path) -> None:
    found = look(write_groups(tmp_path, fast=4, slow=4, still=4), group="GROUP_*.csv")
    expected = {"train": 4, "validation": 2, "test": 2}
    assert found.manifest.counts() == dict.fromkeys(("fast", "slow", "still"), expected)
    assert len({(entry.file[:-6], entry.part) for entry in found.manifest.entries}) == 12
    assert not found.warnings()
    named = look(tmp_path, group="GROUP_*.csv", split={"test": ["fast0", "slow1", "still2"]})
    assert named.manifest.counts() == dict.fromkeys(("fast", "slow", "still"), expected)
    without = look(tmp_path, group="GROUP_*.csv", split={"validation": 0}).manifest.counts()
    assert without["still"] == {"train": 6, "validation": 0, "test": 2}


def test_a_class_with_too_few_groups_is_trained_on_and_reported(tmp_path: Path) -> None:
    found = look(write_groups(tmp_path, fast=4, slow=2, still=1), group="GROUP_*.csv")
    counts = found.manifest.counts()
    assert counts["slow"] == {"train": 2, "validation": 0, "test": 2}
    assert counts["still"] == {"train": 2, "validation": 0, "test": 0}
    validation, test = found.warnings()
    assert all(word in validation for word in ("'still'", "'slow'", "data.split.validation"))
    assert "'still'" in test
    # Groups that are named leave none to train on.
    few = look(write_groups(tmp_path / "few", fast=2, slow=2), group="GROUP_*.csv", split={"validation": 0})
    assert few.manifest.counts()["fast"] == {"train": 2, "validation": 0, "test": 2}
    with pytest.raises(DataError, match="too few to divide"):
        look(few.path, group="GROUP_*.csv", split={"validation": ["fast0", "slow0"], "test": ["fast1", "slow1"]})


def test_files_of_several_sampling_rates_are_reported(tmp_path: Path) -> None:
    for (label, number), clock in product(product(CLASSES, range(6)), ("t (ms)", "Timestamp")):
        seconds = 0.02 if (label, number) == ("fast", 5) else 0.01
        times: list[Any] = [1e9 + 1000 * seconds * step for step in range(8)]
        if clock == "Timestamp":
            times = [f"2026-05-04 10:00:00.{round(1000 * seconds) * step:03}" for step in range(8)]
        rows = [[time, *values] for time, values in zip(times, wave(label, number).tolist(), strict=True)]
        write_csv(tmp_path / clock / label / f"{number}.csv", rows, [clock, "a", "b"])
    for clock, spacings in (("t (ms)", ["10", "20"]), ("Timestamp", ["0.01", "0.02"])):
        (warning,) = look(tmp_path / clock, columns=["a", "b"]).warnings()
        assert re.findall(r"is (\S+) in fast.*, but (\S+) in fast/5\.csv;", warning) == [tuple(spacings)]
    # 4 % is within the accuracy of clocks.
    rows = [[n / 96, n, n**2] for n in range(8)]
    write_csv(tmp_path / "Timestamp" / "fast" / "5.csv", rows, ["Timestamp", "a", "b"])
    assert not [line for line in look(tmp_path / "Timestamp", columns=["a", "b"]).warnings() if "sampling" in line]
