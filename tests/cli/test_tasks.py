"""Sequences, values, several labels and class weights: from data through training to `hdlif run` and the report."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hdlif.cli.ablate import ablate
from hdlif.cli.coherence import coherence
from hdlif.cli.data import inspect
from hdlif.cli.data_text import as_text
from hdlif.cli.eval import evaluate, evaluation_text
from hdlif.cli.export import export_file as export
from hdlif.cli.predict import predict_files as run
from hdlif.cli.profile import profile, profile_training
from hdlif.cli.recipes import check
from hdlif.cli.report import report
from hdlif.cli.seeds import train_seeds
from hdlif.errors import DataError, RecipeError
from hdlif.graph.artefact import load
from hdlif.recipe import Component, Recipe, builders, load_recipe
from hdlif.recipe.runs.checkpoints import load_trained
from hdlif.recipe.runs.recipe_data import Looks, load_with_data, with_class_weights
from hdlif.report import tables
from hdlif.training.tasks import balanced_weights
from series_files import wave, write_csv
from table_files import table_rows
from target_tables import HEADER, target_rows, write_pictures_with_table, write_target_table
from trainings import train

STEPS, SERIES = 8, 40
SMALL = ["model.widths=[4, 4]", "training.epochs=2", "data.batch_size=8"]
PICTURES = ["model.width=4", "model.blocks=[1]", "training.epochs=1", "data.batch_size=8"]


@dataclass(frozen=True)
class Case:
    """A task on data below the folder of this module: what is set, what an answer has, and what its report draws."""

    data: str
    recipe: str
    overrides: list[str]
    answers: set[int]
    figure: str
    shown: str = "one.npy"


VALUES = "Predicted against true values"
F1 = "F1 of each label"
EACH = "task={kind: regress, combine: each}"
LABELS = ["task.kind=multilabel", "data.labels=[flat, tall]"]
SERIES_OF_8 = [*SMALL, "time_steps=8"]
AHEAD = [*SMALL, "time_steps=6", EACH, "data.ahead=2"]
SEQUENCE = [*SERIES_OF_8, "task={kind: sequence, delay: 1}", "data.each_step=true"]
TWO_VALUES = [*SERIES_OF_8, "task={kind: regress, combine: last}", "data.values=[low, high]"]
AT_EACH_STEP = [*SERIES_OF_8, EACH, "data.values=[low]", "data.each_step=true"]
TWO_LABELS = [*SERIES_OF_8, "task.kind=multilabel", "data.labels=[big, rising]"]
OF_ROWS = [*SMALL, "task.kind=regress", "data.values=[c, d]"]
CASES = {
    "sequence": Case("sequence.npz", "sines_hdlif", SEQUENCE, {STEPS - 1}, "Confusion"),
    "regress": Case("regress.npz", "sines_hdlif", TWO_VALUES, {2}, VALUES),
    "regress each": Case("regress each.npz", "sines_hdlif", AT_EACH_STEP, {1}, VALUES),
    "next": Case("next.npz", "sines_hdlif", AHEAD, {2}, VALUES, shown="short.npy"),
    "multilabel": Case("multilabel.npz", "sines_hdlif", TWO_LABELS, {0, 1, 2}, F1),
    "labels of pictures": Case("photos", "digits_hdlif", [*PICTURES, *LABELS], {0, 1, 2}, F1, shown="photos/00.png"),
    "values of rows": Case("rows.csv", "wine_hdlif", OF_ROWS, {2}, VALUES, shown="new.csv"),
}
SLOWER = ("regress", "regress each", "next", "multilabel")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Arrays for each case, and a series alone; pictures with a table; and rows."""
    folder = tmp_path_factory.mktemp("tasks")
    x = np.stack([wave("fast" if number % 2 else "slow", number) for number in range(SERIES)])
    sums = x.sum(-1)
    targets = {
        "sequence": (sums > sums.mean()).astype(np.int64),
        "regress": np.stack([sums.min(1), 100 * sums.max(1)], -1),
        "regress each": sums,
        "next": None,
        "multilabel": np.stack([sums.max(1) > 6, sums[:, -1] > sums[:, 0]], -1),
    }
    for name, y in targets.items():
        np.savez(folder / f"{name}.npz", **({"x": x} if y is None else {"x": x, "y": y}))
    np.save(folder / "one.npy", x[0])
    np.save(folder / "short.npy", x[0, :-2])
    write_pictures_with_table(folder / "photos")
    rows: list[list[object]] = [[n % 7, n % 3, n % 2, (n // 2) % 2] for n in range(60)]
    write_csv(folder / "rows.csv", rows, ["a", "b", "c", "d"])
    # Columns that a network takes are found by name.
    write_csv(folder / "new.csv", [[2, "x", 1]], ["b", "note", "a"])
    return folder


@pytest.mark.parametrize("name", [pytest.param(one, marks=[pytest.mark.slow] * (one in SLOWER)) for one in CASES])
def test_a_network_of_each_task_is_trained_measured_deployed_and_reported(
    name: str, data: Path, tmp_path: Path
) -> None:
    case, out, network = CASES[name], tmp_path / "run", tmp_path / "net.hdlif.safetensors"
    result = train(case.recipe, data=str(data / case.data), overrides=case.overrides, out=out, memory_repeats=0)
    metric, figures = result.metric, result.measured
    assert (result.accuracy, result.validation_accuracy, metric in figures) == (None, None, True)
    assert f"{figures[metric]:.4g}" in tables.networks_table([result]).split()
    # What is measured is the same of the checkpoint, and of the model file on the same data.
    checkpoint = evaluate(out, data=str(data / case.data))
    assert checkpoint.metrics == evaluate(out).metrics == pytest.approx(figures)
    export(out, out=network)
    graph, recipe = load(network), load_trained(out).recipe
    assert (graph.task.kind, graph.input.columns) == (recipe.task.kind, ("a", "b") if name == "values of rows" else ())
    assert recipe.data.found is not None
    if graph.task.kind == "regress":
        assert (graph.task.mean, graph.task.std) == (recipe.data.found.target_mean, recipe.data.found.target_std)
    deployed = evaluate(network, data=str(data / case.data))
    assert deployed.metrics == pytest.approx(figures, abs=1e-3)
    assert evaluation_text(deployed.as_dict()).startswith(next(iter(figures)))
    assert profile(str(network), data=str(data / case.data)).sops > 0
    (one,) = run(network, [data / case.shown]).inputs
    assert len(one.answer["prediction"]) in case.answers
    page = Path(report([out])["report"]).read_text()
    assert case.figure in page
    assert f"{metric} {figures[metric]:.4g}." in page
    # A set that ships has another target.
    for path in (out, network):
        with pytest.raises(DataError):
            evaluate(path, data={"wine_hdlif": "wine", "digits_hdlif": "digits"}.get(case.recipe, "sines"))


def test_errors_are_of_the_values_as_the_network_learned_them(data: Path, tmp_path: Path) -> None:
    case = CASES["regress"]
    train(case.recipe, data=str(data / case.data), overrides=case.overrides, out=tmp_path / "run", memory_repeats=0)
    with np.load(data / "regress.npz") as arrays:
        # Shifted values: their own mean is another, and the network's errors grow by the shift.
        np.savez(tmp_path / "moved.npz", x=arrays["x"], y=arrays["y"] + np.array([1000.0, 0.0]))
    moved, own = (evaluate(tmp_path / "run", data=str(path)) for path in (tmp_path / "moved.npz", data / "regress.npz"))
    assert moved.metrics["rmse"] > own.metrics["rmse"] + 300
    assert moved.mean_rmse is not None
    assert own.mean_rmse is not None
    assert moved.mean_rmse > own.mean_rmse + 300
    summary = json.loads((tmp_path / "run/summary.json").read_text())
    assert summary["mean_rmse"] == pytest.approx(own.mean_rmse)
    assert f"mean: rmse {own.mean_rmse:.4g}" in evaluation_text(own.as_dict()).splitlines()[1]


def test_a_run_goes_with_its_table_whose_rows_may_stand_in_another_order(tmp_path: Path) -> None:
    photos, out = write_pictures_with_table(tmp_path / "photos"), tmp_path / "run"
    overrides = [*PICTURES, "task.kind=regress", "data.values=[light]", "data.targets=labels.csv"]

    def trained(**options: bool) -> None:
        train("digits_hdlif", data=str(photos), overrides=overrides, out=out, memory_repeats=0, **options)

    trained()
    rows = target_rows()
    write_target_table(photos / "labels.csv", [*rows[:7], [*rows[7][:4], 1, *rows[7][5:]], *rows[8:]], HEADER[:-1])
    for use in (lambda: trained(resume=True), lambda: evaluate(out)):
        with pytest.raises(DataError, match=r"1 with another target \(07\.png\)"):
            use()
    write_target_table(photos / "labels.csv", rows[::-1], HEADER[:-1])
    trained(resume=True)
    photos.rename(tmp_path / "elsewhere")
    assert evaluate(out, data=str(tmp_path / "elsewhere")).n == 6


@pytest.mark.slow
def test_seeds_and_coherence_take_other_tasks(data: Path, tmp_path: Path) -> None:
    case, out = CASES["regress"], tmp_path / "run"
    given = {"data": str(data / case.data), "overrides": case.overrides, "memory_repeats": 0}
    spread = train_seeds("sines_hdlif", seeds=2, out=out, **given)
    assert set(spread.metrics) > {"rmse"}
    seen = coherence([str(out / "seed_42")], batches=1)
    assert {entry["loss"] for entry in seen["networks"]} == {"mean_logits", "per_step", "as_trained"}


def test_a_table_of_accuracies_refuses_other_tasks(data: Path, tmp_path: Path) -> None:
    section = f"'data={{kind: series, path: {data}/regress.npz, values: [low, high], batch_size: 8}}'"
    (tmp_path / "table.yaml").write_text(
        f"title: t\nbase: sines_hdlif\nseeds: 1\nrows: {{a: [{section}, task.kind=regress]}}\n"
        "columns: {b: [time_steps=8]}\n"
    )
    with pytest.raises(RecipeError, match=r'task\.kind = "regress"'):
        ablate(tmp_path / "table.yaml", out=tmp_path / "out")


def test_a_search_looks_for_the_least_error_and_calls_it_by_its_name(data: Path, tmp_path: Path) -> None:
    pytest.importorskip("optuna", reason="pip install 'hdlif[sweep]'")
    from hdlif.cli.sweep import sweep, trials_table

    case, said = CASES["regress"], list[str]()
    section = f"data={{kind: series, path: {data / case.data}, batch_size: 8}}"
    (tmp_path / "space.yaml").write_text("training.learning_rate: {kind: float, low: 0.0001, high: 0.3, log: true}\n")
    found = sweep(
        "sines_hdlif",
        space=tmp_path / "space.yaml",
        trials=3,
        out=tmp_path / "sweep",
        overrides=[section, *case.overrides],
        say=said.append,
    )
    errors = [(trial.validation_metrics or {})["rmse"] for trial in found.trials]
    kept = [json.loads((Path(trial.folder) / "summary.json").read_text()) for trial in found.trials]
    assert errors == [summary["validation_metrics"]["rmse"] for summary in kept]
    assert found.as_dict()["best"]["validation_metrics"] == {"rmse": min(errors)}
    assert min(errors) < max(errors)
    rows = [line.split() for line in trials_table(found).splitlines()[2:5]]
    assert [row[2:4] for row in rows] == [["rmse", f"{error:.4g}"] for error in sorted(errors)]
    assert f"rmse {errors[0]:.4g}" in said[1]


def test_a_task_that_does_not_fit_is_refused_before_training(data: Path, tmp_path: Path) -> None:
    last, photos = "task={kind: classify, combine: last}", str(data / "photos")
    for recipe, given, overrides, words in (
        ("sines_hdlif", None, ["task.kind=sequence"], 'task.kind = "sequence" .* data.kind = "sines"'),
        ("sines_hdlif", None, [last, "rule.k=2"], "rule.k = 2"),
        ("sines_hdlif", None, [last, "data.mixup={}"], "data.mixup"),
        ("digits_hdlif", photos, ["data.values=[light]"], 'task.kind = "classify" learns one class of a sample'),
        ("digits_hdlif", photos, ["task.kind=regress"], "learns values of a sample"),
        ("digits_hdlif", photos, ["data.each_step=true"], "data.each_step = .* is unknown"),
        (
            "digits_hdlif",
            "own_targets:Squares",
            ["data.what=classes", "data.each_step=true", "task.kind=sequence", "data.augment=[]"],
            "targets at 8 steps, but time_steps = 4",
        ),
    ):
        with pytest.raises((RecipeError, DataError), match=words):
            train(recipe, data=given, overrides=overrides, out=tmp_path / "run")
        assert not (tmp_path / "run").exists()


FEW_COLUMNS = ["model.widths=[4, 4]", "data.batch_size=8", "training.epochs=2", "data.columns=[width, height]"]
SMALLEST = "model={kind: resnet, blocks: [1], width: 4}"
BALANCED = "task={kind: classify, class_weights: balanced}"


@pytest.fixture
def rare_rows(tmp_path: Path) -> Path:
    """Rows of 50 that are big, and of 10 that are small."""
    of_both = table_rows(100)
    big, small = ([row for row in of_both if row[1] == label] for label in ("big", "small"))
    return write_csv(tmp_path / "rows.csv", [*big, *small[:10]], ["who", "label", "width", "height"])


def trained(rare_rows: Path, out: Path, task: str, **options: Any) -> None:
    train("wine_hdlif", data=str(rare_rows), overrides=[*FEW_COLUMNS, task], out=out, memory_repeats=0, **options)


def test_balanced_weights_are_those_of_the_training_part_and_stand_in_the_recipe(
    rare_rows: Path, tmp_path: Path
) -> None:
    said: list[str] = []
    trained(rare_rows, tmp_path / "run", BALANCED, say=said.append)
    kept = load_recipe(tmp_path / "run" / "recipe.yaml")
    labels = builders.build_data(kept).train.labels
    counts = torch.bincount(labels)
    assert counts[0] > 3 * counts[1] > 0
    weights = kept.task.arguments["class_weights"]
    assert weights == list(balanced_weights(labels, 2))
    assert f"class weights: big {weights[0]:.3g}, small {weights[1]:.3g}" in said
    # What is found finished is the same training.
    before = (tmp_path / "run" / "model.safetensors").stat().st_mtime_ns
    trained(rare_rows, tmp_path / "run", BALANCED, resume=True)
    assert (tmp_path / "run" / "model.safetensors").stat().st_mtime_ns == before


def test_inspect_says_how_a_rare_class_counts_alike(rare_rows: Path, tmp_path: Path) -> None:
    text = as_text(inspect(str(rare_rows), overrides=["data.columns=[width, height]"]))
    assert re.search(r"rarest class   small, \d of \d\d to train", text)
    (fix,) = (line.strip() for line in text.splitlines() if "--set 'task=" in line)
    given = [*FEW_COLUMNS, fix.removeprefix("--set '").removesuffix("'")]
    assert load_with_data("wine_hdlif", given, data=str(rare_rows))[0].task.arguments["best"] == "balanced_accuracy"
    even = write_csv(tmp_path / "even.csv", table_rows(40), ["who", "label", "width", "height"])
    assert "rarest class" not in as_text(inspect(str(even), overrides=["data.columns=[width, height]"]))


def test_tables_of_trainings_count_classes_once_and_as_a_training_does(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = load_recipe("digits_hdlif", [BALANCED])
    weighed = with_class_weights(chosen)
    assert weighed.task != chosen.task
    built, build = list[Recipe](), builders.build_data

    def noted(recipe: Recipe, *arguments: Any, **options: Any) -> Any:
        built.append(recipe)
        return build(recipe, *arguments, **options)

    monkeypatch.setattr(builders, "build_data", noted)
    look = Looks()
    for seed in (42, 43):
        assert look(chosen.model_copy(update={"seed": seed})) == weighed.model_copy(update={"seed": seed})
    plain = chosen.model_copy(update={"task": Component.model_validate({"kind": "classify"})})
    assert look(plain) == plain
    assert len(built) == 1


def test_what_trains_on_noise_or_only_checks_needs_no_data() -> None:
    assert profile_training("fashion_mnist_lif", overrides=[BALANCED, SMALLEST, "data.batch_size=2"]).as_dict()
    for build in (True, False):
        check("digits_hdlif", [BALANCED], build=build)


def test_weights_that_are_none_are_refused() -> None:
    for recipe, weights, words in (
        ("digits_hdlif", "[1, 2]", "has 2 numbers; give one for each of the 10 classes"),
        ("digits_hdlif", "equal", '= "equal" is unknown'),
        ("mackey_glass_hdlif", "[1, 2]", "learns one class of a sample"),
    ):
        with pytest.raises(RecipeError, match=words):
            builders.check(load_recipe(recipe, [f"task={{kind: classify, class_weights: {weights}}}"]))
    with pytest.raises(RecipeError, match="learns one class of a sample"):
        Looks()(load_recipe("mackey_glass_hdlif", [BALANCED]))
    with pytest.raises(RecipeError, match=r"task\.class_weights = .* is unknown"):
        builders.check_names(load_recipe("mackey_glass_hdlif", ["task.class_weights=balanced"]))
