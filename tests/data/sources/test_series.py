"""The user's own series: what is found at a path, how it is cut and split, and what is refused."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hdlif.data import Found
from hdlif.data.in_memory import SeriesSamples
from hdlif.data.sources.series import find_series
from hdlif.errors import DataError, ShapeError
from hdlif.graph.ops import InputRecord
from series_files import CLASSES, wave, write_arrays, write_csv, write_folders


def look(path: Path, known: InputRecord | None = None, **keys: Any) -> Found:
    return find_series(None, size=None, known=known, path=str(path), **keys)


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


def test_one_channel_and_integer_labels(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "x.npz", x=rng.normal(size=(24, 5)), y=np.arange(24) % 3 * 5)
    found = look(tmp_path / "x.npz")
    # In the order of the numbers: as text, 10 stands before 5.
    assert (found.classes, found.input.shape) == (("0", "5", "10"), (1, 5, 1))


def test_a_channel_that_never_changes_is_divided_by_one(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(20, 4, 2))
    x[..., 1] = 7
    np.savez(tmp_path / "x.npz", x=x, y=np.arange(20) % 2)
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


def test_samples_are_shown_one_step_after_another() -> None:
    values = torch.arange(12.0).reshape(1, 2, 6, 1)
    samples = SeriesSamples(values, torch.zeros(1, dtype=torch.int64), mean=(0.0, 6.0), std=(1.0, 2.0))
    x, _ = samples.batch(torch.tensor([0]))
    assert x[0, :, 2, 0].tolist() == [2.0, 1.0]
    assert len(samples.first(0)) == 0
    with pytest.raises(ShapeError, match=r"give torch\.float32"):
        SeriesSamples(values[..., 0], torch.zeros(1, dtype=torch.int64), mean=(0.0,), std=(1.0,))
    with pytest.raises(ShapeError, match="1 means"):
        SeriesSamples(values, torch.zeros(1, dtype=torch.int64), mean=(0.0,), std=(1.0,))


def write_odd(root: Path, rows: list[list[object]], names: list[str], count: int = 1) -> Path:
    """Files of two classes, of which some have other rows or columns."""
    write_folders(root)
    for number in range(count):
        write_csv(root / "slow" / f"00{9 - number}.csv", rows, names)
    return root


def test_refusals_of_folders(tmp_path: Path) -> None:
    for number, (rows, names, words) in enumerate(
        (
            (
                [[1, 2]] * 6,
                ["a", "b"],
                "slow/009.csv (has 6 rows, others 8 rows); remove them, or cut all into windows",
            ),
            ([[1, 2, 3]] * 8, ["a", "b", "c"], "slow/009.csv (has 3 columns (a, b, c), others 2 columns (a, b))"),
            ([[1, 2]] * 8, ["b", "a"], "slow/009.csv (has 2 columns (b, a), others 2 columns (a, b))"),
            ([[1, 2], [1, ""]], ["a", "b"], "slow/009.csv (line 3, column 'b': the cell is empty"),
        )
    ):
        with pytest.raises(DataError, match=re.escape(words)):
            look(write_odd(tmp_path / str(number), rows, names))  # type: ignore[arg-type]
    with pytest.raises(DataError, match='class "fast" has 2 units kept together'):
        look(write_folders(tmp_path / "few", 2))
    with pytest.raises(DataError, match=r"no file has 9 rows, which data\.window asks for"):
        look(write_folders(tmp_path / "window"), window=9)


def very_ragged(root: Path) -> None:
    write_odd(root, [[1, 2]] * 6, ["a", "b"], count=3)


def test_series_of_unequal_lengths_are_padded_with_the_mean_and_keep_their_lengths(tmp_path: Path) -> None:
    very_ragged(tmp_path / "files")
    found = look(tmp_path / "files")
    assert (found.input.shape, found.input.shortest) == ((2, 8, 1), 6)
    lengths: dict[int, int] = {}
    for part in found.make((), 0).parts:
        for number in range(len(part)):
            x, target = part.sequence(torch.tensor([number]))
            own = int(target[0, 1])
            lengths[own] = lengths.get(own, 0) + 1
            assert x.shape == (1, 1, 2, 8, 1)
            assert x[..., own:, :].count_nonzero() == 0 < x[..., :own, :].count_nonzero()
    assert lengths == {8: 17, 6: 3}


def test_arrays_whose_shorter_series_end_in_nan_are_as_files_are(tmp_path: Path) -> None:
    x = np.arange(1.0, 97).reshape(12, 4, 2)
    x[::3, 3:] = np.nan
    np.savez(tmp_path / "x.npz", x=x, y=np.arange(12) % 2)
    found = look(tmp_path / "x.npz")
    assert (found.input.shape, found.input.shortest) == ((2, 4, 1), 3)
    # Mean and deviation are of the steps that there are.
    train = [number for number, one in enumerate(found.manifest.entries) if one.part == "train"]
    assert found.input.mean == pytest.approx(np.nanmean(x[train], axis=(0, 1)), rel=1e-5)
    with pytest.raises(DataError, match=re.escape("x: at [0, 3, 0] (from 0) it holds nan")):
        look(tmp_path / "x.npz", values=["a"])


def test_other_series_of_a_network_have_as_many_steps_as_its_own(tmp_path: Path) -> None:
    very_ragged(tmp_path / "files")
    known = look(tmp_path / "files").input
    assert look(write_folders(tmp_path / "equal", steps=7), known).input == known
    words = "its series have 5 steps of 2 channels, and the network takes 6 to 8 of 2"
    with pytest.raises(DataError, match=words):
        look(write_folders(tmp_path / "short", steps=5), known)


def odd(root: Path) -> dict[str, str]:
    """A folder with files that are odd in each way, and what is said of each."""
    write_folders(root, 20)
    write_csv(root / "fast" / "first.csv", [[1]] * 8, ["a"])
    write_csv(root / "fast" / "short.csv", [[1, 2]], ["a", "b"])
    write_csv(root / "slow" / "text.csv", [[1, 2], ["x", 2]], ["a", "b"])
    (root / "slow" / "none.csv").write_bytes(b"")
    return {
        "fast/first.csv": "has 1 column (a), others 2 columns (a, b)",
        "fast/short.csv": "has 1 row, others 8 rows",
        "slow/none.csv": "it is empty",
        "slow/text.csv": "line 3, column 'a': 'x' is not a number",
    }


def test_odd_files_are_named_at_once_or_left_out_where_that_is_asked_for(tmp_path: Path) -> None:
    write_folders(tmp_path / "good", 20)
    faults = odd(tmp_path / "odd")
    said = ", ".join(f"{file} ({why})" for file, why in faults.items())
    with pytest.raises(DataError, match=re.escape(said)):
        look(tmp_path / "odd")
    found = look(tmp_path / "odd", unreadable="skip")
    assert found.seen["unreadable"] == [{"file": file, "reason": why} for file, why in faults.items()]
    assert found.manifest.skipped == tuple(faults)
    assert found.manifest.digest == look(tmp_path / "good").manifest.digest


def test_a_clock_is_left_out_by_the_names_that_there_are(tmp_path: Path) -> None:
    for names, mend in ((["time", "ax", "my y"], 'data.columns=[ax, "my y"]\''), (None, "can name the others")):
        for label in CLASSES:
            for number in range(10):
                rows = [[t, *values] for t, values in enumerate(wave(label, number).tolist())]
                write_csv(tmp_path / label / f"{number}.csv", rows, names)
        (warning,) = look(tmp_path).warnings()
        assert warning.endswith(mend)


def test_refusals_of_arrays(tmp_path: Path) -> None:
    x: Any = np.zeros((2, 4))
    for arrays in (
        {"x": np.zeros((3, 4)), "y": [0, 1]},
        {"x": np.zeros((4, 4)), "y": [1, 1, 1, 1]},
        {"x": np.full((2, 4), np.nan), "y": [0, 1]},
        {"x": [[0, np.nan, 1], [0, 1, 2]], "y": [0, 1]},
        {"x": [[0, np.inf, 1], [0, 1, 2]], "y": [0, 1]},
        {"x": np.zeros(4), "y": [0, 1]},
        {"x": x, "y": [0.5, 1]},
        {"x": x, "y": ["a", "b\n"]},
        {"x": x},
        {"x": x, "z": [1]},
        {"x": x, "y": [0, 1], "part": ["train"]},
        {"x": x, "y": [0, 1], "part": ["train", "dev"]},
        {"x": x, "y": [0, 1], "group": ["a", "a"], "part": ["train", "test"]},
        {"x": np.zeros((4, 4)), "y": [0, 0, 1, 1]},
    ):
        np.savez(tmp_path / "x.npz", **arrays)
        with pytest.raises(DataError):
            look(tmp_path / "x.npz")


def test_what_is_no_series(tmp_path: Path) -> None:
    (tmp_path / "x.wav").write_bytes(b"")
    for name, words in (
        ("x.wav", 'its name ends in ".wav"; give a .npz'),
        ("none", "no such file or folder; give"),
        ("hapt", "data get hapt"),
    ):
        with pytest.raises(DataError, match=re.escape(words)):
            look(tmp_path / name)


def test_more_than_memory_is_granted_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hdlif.data.value_samples.MOST_KEPT", 1000)
    with pytest.raises(DataError, match="20 series of 8 steps and 2 channels take 1,280 bytes, and at most 1,000"):
        look(write_arrays(tmp_path / "x.npz"))
    monkeypatch.undo()
    np.savez(tmp_path / "y.npz", x=np.zeros((4000, 8)), y=np.arange(4000) % 2)
    with pytest.raises(DataError, match=r"at data\.resample its samples take"):
        look(tmp_path / "y.npz", rate=1, resample=100_000)
