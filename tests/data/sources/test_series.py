"""The user's own series: what is found at a path, how it is cut and split, and what is refused."""

import re
from collections import Counter
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cases import naming
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


def test_too_few_files_and_too_long_windows_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match='class "fast" has 2 units kept together'):
        look(write_folders(tmp_path / "few", 2))
    with pytest.raises(DataError, match=r"no file has 9 rows, which data\.window asks for"):
        look(write_folders(tmp_path / "window"), window=9)


def write_ragged(root: Path) -> Path:
    """Series of 8 steps, and three of 6."""
    write_folders(root)
    for number in (7, 8, 9):
        write_csv(root / "slow" / f"00{number}.csv", [[1, 2]] * 6, ["a", "b"])
    return root


def test_series_of_unequal_lengths_are_padded_with_the_mean_and_keep_their_lengths(tmp_path: Path) -> None:
    found = look(write_ragged(tmp_path))
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
    known = look(write_ragged(tmp_path / "files")).input
    assert look(write_folders(tmp_path / "equal", steps=7), known).input == known
    with pytest.raises(DataError, match="the network takes 6 to 8 of 2"):
        look(write_folders(tmp_path / "short", steps=5), known)


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


def test_paths_without_series_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x.wav").write_bytes(b"")
    for name, words in (("x.wav", "give a .npz"), ("none", "no such file or folder"), ("hapt", "data get hapt")):
        with naming(name), pytest.raises(DataError, match=re.escape(words)):
            look(tmp_path / name)


def test_series_beyond_the_granted_memory_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("hdlif.data.value_samples.MOST_KEPT", 1000)
        with pytest.raises(DataError, match="take 1,280 bytes, and at most 1,000"):
            look(write_arrays(tmp_path / "x.npz"))
    np.savez(tmp_path / "y.npz", x=np.zeros((4000, 8)), y=np.arange(4000) % 2)
    with pytest.raises(DataError, match=r"at data\.resample its samples take"):
        look(tmp_path / "y.npz", rate=1, resample=100_000)
