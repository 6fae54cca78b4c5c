"""Pictures and other data of one's own with values, labels or a class at each step, from training to `hdlif run`."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from after_epoch import AfterEpoch
from hdlif.cli.data import inspect
from hdlif.cli.data_text import as_text
from hdlif.cli.eval import evaluate
from hdlif.cli.export import export_file as export
from hdlif.cli.predict import predict_files as run
from hdlif.cli.profile import profile
from hdlif.cli.report import report
from hdlif.errors import DataError, HdlifError, RecipeError
from hdlif.graph.artefact import load
from hdlif.recipe import builders
from hdlif.recipe.runs.checkpoints import load_trained
from hdlif.recipe.runs.summary import TrainResult
from hdlif.training.tasks import Evaluation
from hostile import one_printable_line
from own_shards import series_of, write_shard
from target_tables import HEADER, target_rows, write_pictures_with_table, write_target_table
from trainings import train

FAST = ["model.width=4", "model.blocks=[1]", "data.batch_size=8", "training.epochs=2", "training.learning_rate=0.01"]
LONGER = ["training.epochs=12", "model.width=8", "training.learning_rate=0.03"]
TASKS: dict[str, tuple[list[str], tuple[str, ...]]] = {
    "multilabel": (["data.labels=[flat, tall]"], ("flat", "tall")),
    "regress": (["data.values=[light]"], ("light",)),
    "classify": ([], ("both", "flat", "none", "tall")),
}


def trained(data: str | Path, out: Path, *overrides: str, **options: Any) -> TrainResult:
    given = [*FAST, *overrides]
    return train("digits_hdlif", data=str(data), overrides=given, out=out, memory_repeats=0, **options)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures_with_table(tmp_path_factory.mktemp("targets") / "photos", 120)


@pytest.mark.parametrize(
    "task", [pytest.param(task, marks=[] if task == "regress" else pytest.mark.slow) for task in TASKS]
)
def test_a_folder_with_a_table_is_trained_measured_deployed_and_reported(
    task: str, photos: Path, tmp_path: Path
) -> None:
    keys, names = TASKS[task]
    out, artefact = tmp_path / "run", tmp_path / "net.hdlif.safetensors"
    result = trained(photos, out, f"task.kind={task}", "data.group=person", *LONGER, *keys)
    export(out, out=artefact)
    graph = load(artefact)
    assert (graph.labels, graph.task.kind) == (names, task)
    checkpoint = evaluate(out)
    assert checkpoint.metrics == pytest.approx(result.measured)
    # A checkpoint keeps the groups, an artefact is given parts.
    assert evaluate(out, data=str(photos)).metrics == pytest.approx(checkpoint.metrics)
    kept = json.loads((out / "data_files.json").read_text())["files"]
    parts = {one["file"]: {"validation": "val"}.get(one["part"], one["part"]) for one in kept}
    split = write_pictures_with_table(tmp_path / "split", 120)
    rows = target_rows(120)
    write_target_table(split / "labels.csv", [[*row[:-1], parts[str(row[0])]] for row in rows], HEADER)
    deployed = evaluate(artefact, data=str(split))
    assert deployed.metrics == pytest.approx(checkpoint.metrics, abs=1e-3)
    assert profile(str(artefact), data=str(split)).sops > 0
    answers = {Path(one["input"]).name: one for one in run(artefact, [photos]).as_dict()["inputs"]}
    assert len(answers) == 120
    if task == "regress":
        found = load_trained(out).recipe.data.found
        assert found is not None
        assert (graph.task.mean, graph.task.std) == (found.target_mean, found.target_std)
        said = [answers[str(row[0])]["prediction"]["light"] for row in rows]
        assert np.corrcoef(said, [float(str(row[4])) for row in rows])[0, 1] > 0.5
    elif task == "multilabel":
        right = [
            set(answers[str(row[0])]["prediction"]) == {name for name in names if row[HEADER.index(name)]}
            for row in rows
        ]
        assert np.mean(right) > 0.8
    page = Path(report([out])["report"]).read_text()
    drawn = {"classify": "Confusion", "multilabel": "F1 of each label", "regress": "Predicted against true values"}
    assert drawn[task] in page


def test_a_training_goes_on_to_the_same_bytes_and_not_with_another_table(tmp_path: Path) -> None:
    photos = write_pictures_with_table(tmp_path / "photos")
    keys = ["task.kind=regress", "data.values=[light]"]

    class StoppedError(Exception):
        pass

    def stop(epoch: int, result: Evaluation) -> None:
        if epoch > 1:
            raise StoppedError

    trained(photos, tmp_path / "whole", *keys)
    with pytest.raises(StoppedError):
        trained(photos, tmp_path / "stopped", *keys, callbacks=[AfterEpoch(stop)])
    rows = target_rows()
    rows[7][4] = 1
    write_target_table(photos / "labels.csv", rows, HEADER[:-1])
    with pytest.raises(DataError, match=r"is not as it was .* began: 1 with another target \(07\.png\); put it back"):
        trained(photos, tmp_path / "stopped", *keys, resume=True)
    with pytest.raises(DataError, match=r"holds other files than .*: 1 with another target \(07\.png\)"):
        evaluate(tmp_path / "whole")
    write_target_table(photos / "labels.csv", target_rows(), HEADER[:-1])
    # Its rows in another order are the same table.
    write_target_table(photos / "labels.csv", target_rows()[::-1], HEADER)
    write_target_table(photos / "labels.csv", target_rows()[::-1], HEADER[:-1])
    trained(photos, tmp_path / "stopped", *keys, resume=True)
    files = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "stopped")]
    assert files[0] == files[1]


def test_a_moved_folder_has_its_table_in_it(tmp_path: Path) -> None:
    photos = write_pictures_with_table(tmp_path / "photos")
    trained(photos, tmp_path / "run", "task.kind=regress", "data.values=[light]", "data.targets=labels.csv")
    photos.rename(tmp_path / "elsewhere")
    assert evaluate(tmp_path / "run", data=str(tmp_path / "elsewhere")).n == 6


def test_inspecting_says_what_is_learned(photos: Path, tmp_path: Path) -> None:
    sheet = tmp_path / "sheet.png"
    result = inspect(str(photos), overrides=["data.values=[light, flat]", "data.group=person"], out=sheet)
    lines = as_text(result).splitlines()
    assert lines[0].startswith(f'{photos}: files in labels.csv, groups in "person", split here')
    assert f"pictures       {sheet}, a row for each value, from the least to the most" in lines
    assert "learned        light, flat" in lines
    assert [line.split()[:3] for line in lines[-2:]] == [["light", "20", "56"], ["flat", "0", "1"]]
    assert json.loads(json.dumps(result)) == result
    with Image.open(sheet) as image:
        left = np.asarray(image)[4:, : image.width - 8 * 132 - 4].min(axis=(1, 2))
    # A name stands beside each of the two rows.
    assert [(left[place : place + 128] < 128).any() for place in (0, 132)] == [True, True]
    labels = as_text(inspect(str(photos), overrides=["data.labels=[tall]"], out=sheet)).splitlines()
    assert labels[-1].split()[0] == "tall"
    assert sum(map(int, labels[-1].split()[1:])) == 60
    assert f"pictures       {sheet}, a row for each label" in labels
    assert "none" in as_text(inspect(str(photos), out=sheet))


def test_a_folder_with_a_table_is_told_from_others(photos: Path, tmp_path: Path) -> None:
    assert builders.kind_at(str(photos), "series") == "folder"
    np.save(tmp_path / "1.npy", np.zeros((3, 4)))
    assert builders.kind_at(str(tmp_path), "series") == "series"
    (tmp_path / "labels.csv").write_text("file,speed\n1.npy,3\n")
    assert builders.kind_at(str(tmp_path), "series") == "events"


def test_what_does_not_fit_is_refused_before_training(photos: Path, tmp_path: Path) -> None:
    for keys, words in (
        (
            ["data.values=[light]"],
            'task.kind = "classify" learns one class of a sample, and data.kind = "folder"',
        ),
        (["task.kind=regress"], 'learns values of a sample, and data.kind = "folder" gives one class of a sample'),
        (["data.each_step=true"], "data.each_step = .* is unknown; choose one of .*targets"),
        (["data.values=3"], "data.values = 3 is refused"),
        (["data.targets=3"], "data.targets = 3 is refused"),
    ):
        with pytest.raises(RecipeError, match=words):
            trained(photos, tmp_path / "run", *keys)
    assert not (tmp_path / "run").exists()


ITEMS: dict[str, tuple[list[str], list[str], tuple[str, ...]]] = {
    "values": (["data.values=[a, b]"], ["task.kind=regress"], ("a", "b")),
    "one value": (["data.values=[a]"], ["task.kind=regress"], ("a",)),
    "labels": (["data.labels=[a, b]"], ["task.kind=multilabel"], ("a", "b")),
    "classes": (["data.each_step=true"], ["task.kind=sequence"], ("cat", "dog", "owl")),
    "steps": (["data.each_step=true", "data.values=[a, b]"], ["task={kind: regress, combine: each}"], ("a", "b")),
}
"""By what is learned of an item of own_targets:Squares: keys of data, the task, and the names of the outputs."""


@pytest.mark.parametrize("what", ITEMS)
def test_items_of_a_data_set_of_ones_own_have_other_targets(what: str, tmp_path: Path) -> None:
    keys, task, names = ITEMS[what]
    rows = ["data.frames=rows", "time_steps=8"] if "each_step" in keys[0] else []
    arguments = [f"data.what={what}", *keys, *rows, *task, "data.augment=[]"]
    result = trained("own_targets:Squares", tmp_path / "run", *arguments, "training.epochs=1")
    recipe = load_trained(tmp_path / "run").recipe
    sets = builders.build_data(recipe)
    assert sets.classes == names
    assert evaluate(tmp_path / "run").metrics == pytest.approx(result.metrics)
    # An item's target goes with its picture, of which each has a brightness of its own.
    found = recipe.data.found
    assert found is not None
    for part in sets.parts:
        raw = part.read(torch.arange(len(part)))
        for one, target in zip(raw, part.labels, strict=True):
            number = int(one[0, 0, 0])
            if what == "classes":
                assert target.tolist() == [(number + step) % 3 for step in range(8)]
            elif what == "labels":
                assert target.tolist() == [number % 2, number // 2 % 2]
            else:
                values = target.numpy() * np.array(found.target_std) + np.array(found.target_mean)
                expected = {
                    "values": [number, -2.5 * number],
                    "one value": [number],
                    "steps": [[number + step, -number] for step in range(8)],
                }[what]
                np.testing.assert_allclose(values, expected, atol=1e-3)
    export(tmp_path / "run", out=tmp_path / "net.hdlif.safetensors")
    if what in ("values", "labels"):
        there = [evaluate(tmp_path / name, data=f"own_targets:{what}") for name in ("run", "net.hdlif.safetensors")]
        assert there[0].metrics == pytest.approx(result.metrics)
        assert there[1].metrics == pytest.approx(result.metrics, abs=1e-3)


def test_series_in_a_data_set_of_ones_own_have_other_targets(tmp_path: Path) -> None:
    small = ["model.widths=[4]", "data.batch_size=8", "time_steps=6", "training.epochs=1"]
    for keys, task in (
        (["data.what=classes", "data.each_step=true"], "task.kind=sequence"),
        (["data.what=values", "data.values=[last]"], "task={kind: regress, combine: last}"),
        (["data.what=none", "data.ahead=2"], "task={kind: regress, combine: each}"),
    ):
        out = tmp_path / task[-9:-1]
        steps = ["time_steps=4"] if "data.ahead=2" in keys else []
        overrides = [*small, *keys, task, *steps]
        result = train("sines_hdlif", data="own_targets:Ramps", overrides=overrides, out=out, memory_repeats=0)
        assert result.accuracy is None
    with pytest.raises(DataError, match=r"item 0: its target: it is \[6\], and should be \[6, 2\] for a, b"):
        inspect("own_targets:Ramps", overrides=["data.what=classes", "data.each_step=true", "data.values=[a, b]"])
    with pytest.raises(DataError, match=r"data\.ahead = 2 is of series; leave it out of pictures"):
        inspect("own_targets:Squares", overrides=["data.what=values", "data.ahead=2"])


def test_an_item_whose_target_changed_is_named(tmp_path: Path) -> None:
    keys = ["task.kind=regress", "data.values=[a, b]", "data.what=values", "training.epochs=1", "data.augment=[]"]
    trained("own_targets:Squares", tmp_path / "run", *keys)
    with pytest.raises(DataError, match=r"began: 1 with another target \(00000005\.ppm\)"):
        trained("own_targets:Squares", tmp_path / "run", *keys, "data.moved=5", resume=True)


def test_targets_of_items_that_are_not_as_asked_for_are_refused() -> None:
    for what, keys, words in (
        ("values", ["data.values=[a, b, c]"], r"it is \[2\], and should be \[3\] for a, b, c"),
        ("values", ["data.labels=[a, b]"], "it holds -2.5"),
        ("nan", ["data.values=[a]"], "not a finite float32"),
        ("text", ["data.values=[a]"], "it is 'x'"),
        ("nothing", ["data.values=[a]"], "it is None"),
        ("ragged", ["data.values=[a]", "data.each_step=true"], "1 to 3 steps"),
        ("negative", ["data.each_step=true"], "it holds -1"),
        ("steps", ["data.each_step=true"], r"it is \[8, 2\]"),
        ("halves", ["data.each_step=true"], "it is float64"),
        ("large", ["data.each_step=true"], r"labels are 0\.\.2"),
        ("constant", ["data.each_step=true"], "'cat'"),
    ):
        with pytest.raises(HdlifError, match=words) as refused:
            inspect("own_targets:Squares", overrides=[f"data.what={what}", *keys])
        one_printable_line(refused.value)


def test_targets_at_other_steps_than_the_networks_are_refused(tmp_path: Path) -> None:
    keys = ["data.what=classes", "data.each_step=true", "task.kind=sequence", "data.augment=[]"]
    with pytest.raises(DataError, match="has targets at 8 steps, and time_steps = 4; set time_steps=8, or give others"):
        trained("own_targets:Squares", tmp_path / "run", *keys)


def test_an_argument_that_is_called_as_a_key_is_refused() -> None:
    with pytest.raises(
        RecipeError, match=r'data\.labels is a key of every data set of your own, and an argument of "own'
    ):
        inspect("own_targets:Labelled", overrides=["data.labels=[a]"])


def shard_with(targets: dict[str, Any] | None, number: int) -> list[tuple[str, bytes]]:
    """A series of 8 steps, and a .json beside it."""
    (name, content), _ = series_of([number])[:2]
    key = name.removesuffix(".npy")
    return [(name, content), *([] if targets is None else [(f"{key}.json", json.dumps(targets).encode())])]


SHARDS: dict[str, tuple[list[str], list[dict[str, Any]], Any]] = {
    "values": (["data.values=[a, b]"], [{"a": n, "b": 0.5} for n in range(12)], None),
    "labels by key": (["data.labels=[a, b]"], [{"a": n % 2 == 0, "b": 1} for n in range(12)], None),
    "labels by name": (["data.labels=[a, b]"], [{"labels": ["a", "b"][n % 2 :]} for n in range(12)], None),
    "classes": (["data.each_step=true"], [{"label": ["up", "down"] * 4} for _ in range(12)], None),
    "steps": (["data.each_step=true", "data.values=[a]"], [{"a": [n + t for t in range(8)]} for n in range(12)], None),
}


@pytest.mark.parametrize("case", SHARDS)
def test_shards_hold_targets_of_their_samples(case: str, tmp_path: Path) -> None:
    keys, given, _ = SHARDS[case]
    write_shard(tmp_path / "a.tar", [one for number, said in enumerate(given) for one in shard_with(said, number)])
    found = builders.look("shards", str(tmp_path), {key[5:].split("=")[0]: _value(key) for key in keys})
    names = ("a",) if case == "steps" else ("down", "up") if case == "classes" else ("a", "b")
    assert found.classes == names
    sets = found.make((), 0)
    targets = torch.cat([part.labels for part in sets.parts])
    if case == "values":
        restored = targets * torch.tensor(found.target_std) + torch.tensor(found.target_mean)
        assert sorted(restored[:, 0].round().tolist()) == list(range(12))
    elif case == "classes":
        assert targets.tolist() == [[1, 0] * 4] * 12
    elif case == "steps":
        assert targets.shape == (12, 8, 1)
    else:
        assert targets.sum(0).tolist() == [6, 12]
    assert inspect(str(tmp_path), overrides=keys)["target"]["names"] == list(names)


def _value(key: str) -> Any:
    text = key.partition("=")[2]
    return True if text == "true" else text.strip("[]").split(", ")


def test_targets_in_shards_that_are_not_as_asked_for_are_refused(tmp_path: Path) -> None:
    for targets, keys, words in (
        ({"a": 1}, ["data.values=[a, b]"], r"fast0\.json: it has no 'b'"),
        ({"a": "x"}, ["data.values=[a]"], r"fast0\.json: a: it is .*'x'"),
        ({"a": None}, ["data.values=[a]"], r"fast0\.json: a: "),
        ({"a": float("nan")}, ["data.values=[a]"], r"fast0\.json: a: at \[0\] .*nan"),
        ({"a": 2}, ["data.labels=[a]"], r"fast0\.json: a: it holds 2\.0"),
        ({"labels": ["c"]}, ["data.labels=[a, b]"], r"fast0\.json: 'c' is none of the labels a, b"),
        ({"labels": "a"}, ["data.labels=[a, b]"], "'a' is not a list"),
        ({"label": "up"}, ["data.each_step=true"], "'up' is under 'label'"),
        ({"label": ["up", "down"]}, ["data.each_step=true"], "has 8 steps, .* 2; give one for"),
        ({"a": [1, 2], "b": [1]}, ["data.values=[a, b]", "data.each_step=true"], "several lengths"),
        (None, ["data.values=[a, b]"], r"add fast0\.json with 'a', 'b'"),
    ):
        write_shard(tmp_path / "a.tar", [one for number in range(6) for one in shard_with(targets, number)])
        with pytest.raises(DataError, match=words) as refused:
            inspect(str(tmp_path), overrides=keys)
        one_printable_line(refused.value)


def test_series_in_shards_learn_what_comes_next_without_labels(tmp_path: Path) -> None:
    write_shard(tmp_path / "a.tar", [one for number in range(12) for one in shard_with(None, number)])
    found = builders.look("shards", str(tmp_path), {"ahead": 3})
    train = found.make((), 0).train
    assert (found.classes, tuple(train.labels.shape[1:])) == (("channel 1", "channel 2"), (5, 2))


def test_columns_of_a_folder_of_the_package_datasets_are_learned(tmp_path: Path) -> None:
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
    path = str(tmp_path / "data")

    def target(**keys: Any) -> tuple[tuple[str, ...], torch.Tensor, Any]:
        found = builders.look("arrow", path, {"column": "x", **keys})
        return found.classes, torch.cat([part.labels for part in found.make((), 0).parts]), found

    names, ages, found = target(values=["age"])
    assert names == ("age",)
    assert sorted((ages * found.target_std[0] + found.target_mean[0]).flatten().round().tolist()) == list(range(20))
    assert target(labels=["tall"])[1].sum() == 10
    assert target(values=["weight"], each_step=True)[1].shape == (20, 4, 1)
    assert target(label="states", each_step=True)[0] == ("0", "1")
    names, tags, _ = target(label="tags", labels=["tall", "old"])
    assert tags.sum(0).tolist() == [20, 10]
    assert target(ahead=1)[1].shape == (20, 3, 2)
    for keys, words in (
        ({"values": ["height"]}, "has no column 'height'; it has x"),
        ({"labels": ["age"]}, "item 2: .*and a label is there, 1, or not, 0"),
        ({"label": "tags", "labels": ["tall"]}, "item 10: 'old' is none of the labels tall"),
    ):
        with pytest.raises(DataError, match=words):
            target(**keys)
