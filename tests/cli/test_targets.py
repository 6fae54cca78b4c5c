"""Values, labels and classes at each step in data of one's own of each kind, and such as are not as asked for."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cases import every
from hdlif.cli.data import inspect
from hdlif.cli.eval import evaluate
from hdlif.cli.export import export_file as export
from hdlif.errors import DataError, HdlifError, RecipeError
from hdlif.recipe import builders
from hdlif.recipe.runs.recipe_data import load_with_data
from hostile import one_printable_line
from own_shards import series_of, write_shard
from series_files import wave, write_csv
from trainings import train

SMALL = ["model.width=4", "model.blocks=[1]", "data.batch_size=8", "training.epochs=1", "data.augment=[]"]
ITEMS: dict[str, tuple[list[str], str, tuple[str, ...]]] = {
    "values": (["data.values=[a, b]"], "task.kind=regress", ("a", "b")),
    "one value": (["data.values=[a]"], "task.kind=regress", ("a",)),
    "labels": (["data.labels=[a, b]"], "task.kind=multilabel", ("a", "b")),
    "classes": (["data.each_step=true"], "task.kind=sequence", ("cat", "dog", "owl")),
    "steps": (["data.each_step=true", "data.values=[a, b]"], "task={kind: regress, combine: each}", ("a", "b")),
}
"""By what is learned of an item of own_targets:Squares: keys of data, the task, and the names of the outputs."""


@every(what=list(ITEMS))
def test_items_of_a_data_set_of_ones_own_have_other_targets(what: str, tmp_path: Path) -> None:
    keys, task, names = ITEMS[what]
    given = [*SMALL, f"data.what={what}", *keys, task]
    given += ["data.frames=rows", "time_steps=8"] if "each_step" in keys[0] else []
    recipe, data = load_with_data("digits_hdlif", given, data="own_targets:Squares")
    sets, found = builders.build_data(recipe, found=data), recipe.data.found
    assert sets.classes == names
    assert found is not None
    # An item's target goes with its picture, of which each has a brightness of its own.
    for part in sets.parts:
        for one, target in zip(part.read(torch.arange(len(part))), part.labels, strict=True):
            number = int(one[0, 0, 0])
            expected = {
                "values": [number, -2.5 * number],
                "one value": [number],
                "labels": [number % 2, number // 2 % 2],
                "classes": [(number + step) % 3 for step in range(8)],
                "steps": [[number + step, -number] for step in range(8)],
            }[what]
            scale, shift = (found.target_std, found.target_mean) if "regress" in task else ((1,), (0,))
            np.testing.assert_allclose(target.numpy() * np.array(scale) + np.array(shift), expected, atol=1e-3)
    if what in ("values", "labels"):
        out, network = tmp_path / what, tmp_path / f"{what}.hdlif.safetensors"
        result = train("digits_hdlif", data="own_targets:Squares", overrides=given, out=out, memory_repeats=0)
        export(out, out=network)
        for tested in (out, network):
            there = evaluate(tested, data=f"own_targets:{what}")
            assert there.metrics == pytest.approx(result.metrics, abs=1e-3)


def test_series_in_a_data_set_of_ones_own_have_other_targets() -> None:
    for keys, names in (
        ({"what": "classes", "each_step": True}, ("0", "1")),
        ({"what": "values", "values": ["last"]}, ("last",)),
        ({"what": "none", "ahead": 2}, ("channel 1",)),
    ):
        found = builders.look("own_targets:Ramps", "own_targets:Ramps", keys)
        train = found.make((), 0).train
        assert (found.classes, len(train.labels)) == (names, len(train))


def member(targets: dict[str, Any] | None, number: int) -> list[tuple[str, bytes]]:
    """A series of 8 steps in a shard, and a .json beside it."""
    (name, content), _ = series_of([number])[:2]
    key = name.removesuffix(".npy")
    return [(name, content), *([] if targets is None else [(f"{key}.json", json.dumps(targets).encode())])]


def write_members(root: Path, targets: list[dict[str, Any] | None]) -> str:
    write_shard(root / "a.tar", [one for number, said in enumerate(targets) for one in member(said, number)])
    return str(root)


@every(
    *("keys", "targets", "names", "sums"),
    of=[
        ({"values": ["a", "b"]}, [{"a": n, "b": 0.5} for n in range(12)], ("a", "b"), [66, 6]),
        ({"labels": ["a", "b"]}, [{"a": n % 2 == 0, "b": 1} for n in range(12)], ("a", "b"), [6, 12]),
        ({"labels": ["a", "b"]}, [{"labels": ["a", "b"][n % 2 :]} for n in range(12)], ("a", "b"), [6, 12]),
        ({"each_step": True}, [{"label": ["up", "down"] * 4}] * 12, ("down", "up"), [12, 0] * 4),
        (
            {"values": ["a"], "each_step": True},
            [{"a": [n + t for t in range(8)]} for n in range(12)],
            ("a",),
            [[66 + 12 * t] for t in range(8)],
        ),
        ({"ahead": 3}, [None] * 12, ("channel 1", "channel 2"), None),
    ],
)
def test_shards_hold_targets_of_their_samples(
    keys: dict[str, Any], targets: list[dict[str, Any] | None], names: tuple[str, ...], sums: Any, tmp_path: Path
) -> None:
    found = builders.look("shards", write_members(tmp_path, targets), keys)
    assert found.classes == names
    learned = torch.cat([part.labels for part in found.make((), 0).parts])
    if sums is None:
        assert learned.shape[1:] == (5, 2)
        return
    if found.target_std:
        learned = learned * torch.tensor(found.target_std) + torch.tensor(found.target_mean)
    np.testing.assert_allclose(learned.sum(0).numpy(), sums, atol=1e-2)


def test_columns_of_the_package_datasets_are_learned(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="needs the package datasets: pip install 'hdlif[arrow]'")
    rows = {
        "x": [np.random.default_rng(n).normal(size=(4, 2)).tolist() for n in range(20)],
        "age": list(range(20)),
        "tall": [n % 2 == 0 for n in range(20)],
        "weight": [[float(n)] * 4 for n in range(20)],
        "states": [[n % 2, 1, 0, 1] for n in range(20)],
        "tags": [["old", "tall"] if n > 9 else ["tall"] for n in range(20)],
    }
    datasets.Dataset.from_dict(rows).save_to_disk(str(tmp_path / "data"))

    def target(**keys: Any) -> tuple[tuple[str, ...], torch.Tensor, Any]:
        found = builders.look("arrow", str(tmp_path / "data"), {"column": "x", **keys})
        return found.classes, torch.cat([part.labels for part in found.make((), 0).parts]), found

    names, ages, found = target(values=["age"])
    assert names == ("age",)
    assert sorted((ages * found.target_std[0] + found.target_mean[0]).flatten().round().tolist()) == list(range(20))
    assert target(labels=["tall"])[1].sum() == 10
    assert target(values=["weight"], each_step=True)[1].shape == (20, 4, 1)
    assert target(label="states", each_step=True)[0] == ("0", "1")
    assert target(label="tags", labels=["tall", "old"])[1].sum(0).tolist() == [20, 10]
    assert target(ahead=1)[1].shape == (20, 3, 2)
    for keys, words in (
        ({"values": ["height"]}, "has no column 'height'"),
        ({"labels": ["age"]}, "item 2: "),
        ({"label": "tags", "labels": ["tall"]}, "item 10: 'old'"),
    ):
        with pytest.raises(DataError, match=words):
            target(**keys)


def test_windows_of_a_recording_have_values_of_their_last_row_and_what_comes_next(tmp_path: Path) -> None:
    rows: list[list[object]] = [[f"p{t // 20}", t, 2 * t] for t in range(120)]
    path = str(write_csv(tmp_path / "long.csv", rows, ["who", "a", "b"]))
    keys = ["data.window=4", "data.group=who"]
    values = inspect(path, overrides=[*keys, "data.values=[b]"])
    assert (values["input"]["shape"], values["target"]["names"], values["channels"]) == ([1, 4, 1], ["b"], ["a"])
    # Windows of next values begin where the ones before end with theirs.
    ahead = inspect(path, overrides=[*keys, "data.columns=[a, b]", "data.ahead=2"])
    assert (ahead["input"]["shape"], ahead["target"]["names"], ahead["stride"]) == ([2, 4, 1], ["a", "b"], 6)
    found = builders.look("series", path, {"window": 4, "ahead": 3, "group": "who", "columns": ["a", "b"]})
    scale, shift = np.array(found.target_std), np.array(found.target_mean)
    for part in found.make((), 0).parts:
        assert len(part)
        for number in range(len(part)):
            first = float(part.read(torch.tensor([number]))[0, 0, 0, 0])
            later = part.labels[number].numpy() * scale + shift
            np.testing.assert_allclose(later, [[first + t + 3, 2 * (first + t + 3)] for t in range(4)], rtol=1e-4)


def test_a_folder_with_a_table_is_told_from_others(tmp_path: Path) -> None:
    np.save(tmp_path / "1.npy", np.zeros((3, 4)))
    assert builders.kind_at(str(tmp_path), "series") == "series"
    (tmp_path / "labels.csv").write_text("file,speed\n1.npy,3\n")
    assert builders.kind_at(str(tmp_path), "series") == "events"


ARRAYS = {
    "values": np.zeros((40, 2)) + np.arange(40)[:, None],
    "steps": np.zeros((40, 8), np.float32),
    "classes": np.zeros((40, 8), np.int64) + np.arange(8) % 2,
}


@every(
    *("data", "keys", "words"),
    of=[
        ("values", ["data.values=[low]"], r"\[40, 1\] for low"),
        ("values", ["data.each_step=true"], r"\[40, 8\]"),
        ("values", ["data.labels=[a, b]"], "a label is 1 if present and 0 if absent"),
        ("classes", ["data.labels=[a, b]"], r"\[40, 2\] for a, b"),
        ("steps", ["data.each_step=true"], "y: it is float32"),
        ("none", ["data.ahead=9"], "data.ahead = 9"),
        ("none", [], "array y is missing"),
        ("none", ["data.values=[a]", "data.ahead=1"], "values and ahead"),
        ("none", ["data.each_step=true", "data.ahead=1"], "each_step"),
        ("none", ["data.values=[]"], "values = "),
        ("none", ["data.ahead=0"], "ahead = 0"),
    ],
)
def test_targets_in_arrays_that_are_not_as_asked_for_are_refused(
    data: str, keys: list[str], words: str, tmp_path: Path
) -> None:
    x = np.stack([wave("fast", number) for number in range(40)])
    np.savez(tmp_path / "x.npz", x=x, **({"y": ARRAYS[data]} if data in ARRAYS else {}))
    with pytest.raises(HdlifError, match=words):
        inspect(str(tmp_path / "x.npz"), overrides=keys)


@every(
    *("what", "keys", "words"),
    of=[
        ("values", ["data.values=[a, b, c]"], r"its shape is \[2\]; expected \[3\] for a, b, c"),
        ("values", ["data.labels=[a, b]"], "it contains -2.5"),
        ("values", ["data.ahead=2"], r"data\.ahead = 2 applies to time series"),
        ("nan", ["data.values=[a]"], "not a finite float32"),
        ("text", ["data.values=[a]"], "it is 'x'"),
        ("ragged", ["data.values=[a]", "data.each_step=true"], "1 to 3 steps"),
        ("negative", ["data.each_step=true"], "it contains -1"),
        ("halves", ["data.each_step=true"], "it is float64"),
        ("large", ["data.each_step=true"], r"labels are 0\.\.2"),
        ("constant", ["data.each_step=true"], "'cat'"),
    ],
)
def test_targets_of_items_that_are_not_as_asked_for_are_refused(what: str, keys: list[str], words: str) -> None:
    with pytest.raises(HdlifError, match=words) as refused:
        inspect("own_targets:Squares", overrides=[f"data.what={what}", *keys])
    one_printable_line(refused.value)


@every(
    *("targets", "keys", "words"),
    of=[
        ({"a": 1}, ["data.values=[a, b]"], r"fast0\.json: it has no key 'b'"),
        ({"a": "x"}, ["data.values=[a]"], r"fast0\.json: a: it is .*'x'"),
        ({"a": float("nan")}, ["data.values=[a]"], r"fast0\.json: a: at \[0\] .*nan"),
        ({"labels": ["c"]}, ["data.labels=[a, b]"], r"fast0\.json: 'c' is not one of the labels"),
        ({"labels": "a"}, ["data.labels=[a, b]"], "'a' is not a list"),
        ({"label": "up"}, ["data.each_step=true"], "'label' is 'up'; expected a list"),
        ({"label": ["up", "down"]}, ["data.each_step=true"], "has 8 steps but 2 targets"),
        ({"a": [1, 2], "b": [1]}, ["data.values=[a, b]", "data.each_step=true"], "which differ in length"),
        (None, ["data.values=[a, b]"], r"add fast0\.json with 'a', 'b'"),
    ],
)
def test_targets_in_shards_that_are_not_as_asked_for_are_refused(
    targets: dict[str, Any] | None, keys: list[str], words: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=words) as refused:
        inspect(write_members(tmp_path, [targets] * 6), overrides=keys)
    one_printable_line(refused.value)


def test_other_targets_that_cannot_be_had_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"data\.labels is a key of every data set of your own"):
        inspect("own_targets:Labelled", overrides=["data.labels=[a]"])
    with pytest.raises(DataError, match=r"its shape is \[6\]; expected \[6, 2\] for a, b"):
        inspect("own_targets:Ramps", overrides=["data.what=classes", "data.each_step=true", "data.values=[a, b]"])
    path = write_csv(tmp_path / "long.csv", [[t, 1.0] for t in range(50)], ["a", "b"])
    with pytest.raises(DataError, match="windows in different parts would share rows"):
        inspect(str(path), overrides=["data.window=8", "data.stride=4", "data.values=[b]"])
