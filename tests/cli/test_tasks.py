"""Sequences, values and several labels: from the user's data through training to `hdlif run` and the report."""

import json
from pathlib import Path

import numpy as np
import pytest

from hdlif.cli.ablate import ablate
from hdlif.cli.coherence import coherence
from hdlif.cli.data import inspect
from hdlif.cli.data_text import as_text
from hdlif.cli.eval import evaluate, evaluation_text
from hdlif.cli.export import export_file as export
from hdlif.cli.predict import predict_files as run
from hdlif.cli.report import report
from hdlif.cli.seeds import train_seeds
from hdlif.errors import DataError, RecipeError
from hdlif.graph.artefact import load
from hdlif.report import tables
from series_files import wave, write_csv
from trainings import train

STEPS, SERIES = 8, 40
SMALL = ["model.widths=[4, 4]", "training.epochs=2"]
CASES: dict[str, tuple[list[str], int]] = {
    "sequence": (["task={kind: sequence, delay: 1}", "data.each_step=true"], STEPS),
    "regress": (["task={kind: regress, combine: last}", "data.values=[low, high]"], STEPS),
    "regress each": (["task={kind: regress, combine: each}", "data.values=[low]", "data.each_step=true"], STEPS),
    "next": (["task={kind: regress, combine: each}", "data.ahead=2"], STEPS - 2),
    "multilabel": (["task.kind=multilabel", "data.labels=[big, rising]"], STEPS),
}


def write(folder: Path) -> Path:
    """Arrays for each case, and a series alone."""
    folder.mkdir()
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
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("tasks") / "data")


SLOWER = ("regress each", "next", "multilabel")


@pytest.mark.parametrize("case", [pytest.param(one, marks=[pytest.mark.slow] * (one in SLOWER)) for one in CASES])
def test_a_network_of_each_task_is_trained_measured_deployed_and_reported(
    case: str, data: Path, tmp_path: Path
) -> None:
    overrides, steps = CASES[case]
    section = f"data={{kind: series, path: {data / case}.npz, batch_size: 8}}"
    out = tmp_path / "run"
    summary = train(
        "sines_hdlif", overrides=[*SMALL, section, *overrides, f"time_steps={steps}"], out=out, memory_repeats=0
    )
    assert summary is not None
    metric, metrics = summary.metric, summary.measured
    assert (summary.accuracy, summary.accuracy_per_step) == (None, ())
    assert (metric in metrics, summary.validation_accuracy) == (True, None)
    assert tables.networks_table([summary]).split()[1] == next(iter(metrics))
    assert {f"{metrics[metric]:.4g}"} <= set(tables.networks_table([summary]).split())
    validated = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [event["metrics"].keys() for event in validated if event["event"] == "validation"]
    # What is measured is the same of the checkpoint, and of the artefact on the same data.
    checkpoint = evaluate(out)
    assert checkpoint.metrics == pytest.approx(metrics)
    if case == "regress":
        with np.load(data / "regress.npz") as arrays:
            # Shifted values: their own mean is another, and the network's errors grow by the shift.
            np.savez(tmp_path / "moved.npz", x=arrays["x"], y=arrays["y"] + np.array([1000.0, 0.0]))
        moved = evaluate(out, data=str(tmp_path / "moved.npz"))
        assert moved.metrics["rmse"] > evaluate(out, data=str(data / "regress.npz")).metrics["rmse"] + 300
    artefact = tmp_path / "net.hdlif.safetensors"
    export(out, out=artefact)
    deployed = evaluate(artefact, data=str(data / f"{case}.npz"))
    assert deployed.metrics == pytest.approx(checkpoint.metrics, abs=1e-3)
    assert evaluation_text(deployed.as_dict()).startswith(next(iter(deployed.metrics)))
    (answer,) = run(artefact, [data / ("short.npy" if case == "next" else "one.npy")]).as_dict()["inputs"]
    assert len(answer["prediction"]) == {"sequence": 7, "regress": 2, "regress each": 1, "next": 2}.get(
        case, len(answer["prediction"])
    )
    page = Path(report([out])["report"]).read_text()
    assert f"On the test set run has {metric} {metrics[metric]:.4g}." in page
    assert "<h1>run (sines_hdlif)</h1>" in page
    # The last of the steps alone has an answer, or each has.
    assert (">Over time</h2>" in page) == (case != "regress")
    assert "per image" not in page
    drawn = {"sequence": "Confusion", "multilabel": "F1 of each label"}.get(case, "Predicted against true values")
    assert drawn in page


@pytest.mark.slow
def test_seeds_and_coherence_take_other_tasks(data: Path, tmp_path: Path) -> None:
    case = "regress"
    overrides, steps = CASES[case]
    section = f"data={{kind: series, path: {data / case}.npz, batch_size: 8}}"
    given = [*SMALL, section, *overrides, f"time_steps={steps}"]
    spread = train_seeds("sines_hdlif", seeds=2, overrides=given, out=tmp_path / "run", memory_repeats=0)
    assert set(spread.metrics) > {"rmse"}
    assert str(spread).endswith("(2)")
    one = tmp_path / "run" / "seed_42"
    seen = coherence([str(one)], batches=1)
    assert {entry["loss"] for entry in seen["networks"]} == {"mean_logits", "per_step", "as_trained"}


def test_a_table_of_accuracies_refuses_other_tasks(data: Path, tmp_path: Path) -> None:
    section = f"'data={{kind: series, path: {data}/regress.npz, values: [low, high], batch_size: 8}}'"
    (tmp_path / "table.yaml").write_text(
        f"title: t\nbase: sines_hdlif\nseeds: 1\nrows: {{a: [{section}, task.kind=regress]}}\n"
        "columns: {b: [time_steps=8]}\n"
    )
    with pytest.raises(RecipeError, match=r'a, b: task\.kind = "regress", and the table compares accuracies'):
        ablate(tmp_path / "table.yaml", out=tmp_path / "out")


def test_a_recording_gives_values_of_its_last_row_and_what_comes_next(tmp_path: Path) -> None:
    rows: list[list[object]] = [[f"p{t // 20}", t, 2 * t] for t in range(120)]
    path = write_csv(tmp_path / "long.csv", rows, ["who", "a", "b"])
    keys = ["data.window=4", "data.group=who"]
    found = inspect(str(path), overrides=[*keys, "data.values=[b]"])
    assert (found["input"]["shape"], found["target"]["names"], found["channels"]) == ([1, 4, 1], ["b"], ["a"])
    ahead = inspect(str(path), overrides=[*keys, "data.columns=[a, b]", "data.ahead=2"])
    assert (ahead["input"]["shape"], ahead["target"]["names"]) == ([2, 4, 1], ["a", "b"])


def test_the_next_values_are_those_of_the_recording(tmp_path: Path) -> None:
    from hdlif.data.sources.series import find_series

    rows: list[list[object]] = [[t, 2 * t] for t in range(90)]
    path = write_csv(tmp_path / "long.csv", rows, ["a", "b"])
    found = find_series(None, size=None, known=None, path=str(path), window=4, ahead=3)
    scale, shift = np.array(found.target_std), np.array(found.target_mean)
    for part in found.make((), 0).parts:
        assert len(part)
        for number in range(len(part)):
            first = float(part.read(np.array([number]))[0, 0, 0, 0])  # type: ignore[arg-type]
            later = part.labels[number].numpy() * scale + shift
            np.testing.assert_allclose(later, [[first + t + 3, 2 * (first + t + 3)] for t in range(4)], rtol=1e-4)


def test_targets_that_are_not_as_asked_for_are_refused(data: Path) -> None:
    for name, keys, error, words in (
        ("regress", ["data.values=[low]"], DataError, r"\[40, 1\] for low"),
        ("regress", ["data.each_step=true"], DataError, r"\[40, 8\]"),
        ("sequence", ["data.labels=[a, b]"], DataError, r"\[40, 2\] for a, b"),
        ("regress", ["data.labels=[a, b]"], DataError, "a label is there, 1, or not, 0"),
        ("regress each", ["data.each_step=true"], DataError, "y: it is float32"),
        ("next", ["data.ahead=9"], DataError, "data.ahead = 9"),
        ("next", [], DataError, "no array y"),
        ("next", ["data.values=[a]", "data.ahead=1"], RecipeError, "values and ahead"),
        ("next", ["data.each_step=true", "data.ahead=1"], RecipeError, "each_step"),
        ("next", ["data.values=[]"], RecipeError, "values = "),
        ("next", ["data.ahead=0"], RecipeError, "ahead = 0"),
    ):
        with pytest.raises(error, match=words):
            inspect(str(data / f"{name}.npz"), overrides=keys)


def test_a_task_that_does_not_fit_is_refused_before_training(tmp_path: Path) -> None:
    last = "task={kind: classify, combine: last}"
    for overrides, words in (
        (["task.kind=sequence"], 'task.kind = "sequence" .* data.kind = "sines"'),
        (["task.kind=regres"], 'did you mean "regress"'),
        (["task={kind: classify, combine: first}"], 'task.combine = "first"'),
        (["task={kind: classify, threshold: 0.5}"], "task.threshold"),
        ([last, "rule.k=2"], "rule.k = 2"),
        ([last, "rule={kind: ottt, mse_share: 0.1}"], "rule.mse_share"),
        ([last, "data.mixup={}"], "data.mixup"),
    ):
        with pytest.raises(RecipeError, match=words):
            train("sines_hdlif", overrides=overrides, out=tmp_path / "run")
        assert not (tmp_path / "run").exists()


def test_a_search_looks_for_the_least_error_and_calls_it_by_its_name(data: Path, tmp_path: Path) -> None:
    pytest.importorskip("optuna", reason="pip install 'hdlif[sweep]'")
    from hdlif.cli.sweep import sweep, trials_table

    overrides, _ = CASES["regress"]
    section = f"data={{kind: series, path: {data}/regress.npz, batch_size: 8}}"
    (tmp_path / "space.yaml").write_text("training.learning_rate: {kind: float, low: 0.0001, high: 0.3, log: true}\n")
    said: list[str] = []
    found = sweep(
        "sines_hdlif",
        space=tmp_path / "space.yaml",
        trials=3,
        out=tmp_path / "sweep",
        overrides=[*SMALL, section, *overrides, f"time_steps={STEPS}"],
        say=said.append,
    )
    errors = [(trial.validation_metrics or {})["rmse"] for trial in found.trials]
    kept = [json.loads((Path(trial.folder) / "summary.json").read_text()) for trial in found.trials]
    assert errors == [summary["validation_metrics"]["rmse"] for summary in kept]
    assert {trial.metric for trial in found.trials} == {"rmse"}
    assert found.as_dict()["best"]["validation_metrics"] == {"rmse": min(errors)}
    assert min(errors) < max(errors)
    assert json.loads((tmp_path / "sweep" / "sweep.json").read_text()) == found.as_dict()
    rows = [line.split() for line in trials_table(found).splitlines()[2:5]]
    assert [row[2:4] for row in rows] == [["rmse", f"{error:.4g}"] for error in sorted(errors)]
    assert said[1] == f"trial 0: rmse {errors[0]:.4g} on validation"


def test_windows_of_next_values_begin_where_the_ones_before_end_with_theirs(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "long.csv", [[t, 1.0] for t in range(60)], ["a", "b"])
    found = inspect(str(path), overrides=["data.window=4", "data.ahead=2"])
    assert (found["window"], found["stride"], found["samples"]) == (4, 6, 10)
    assert "one every 6 rows" in as_text(found)


def test_windows_that_share_rows_are_in_no_two_parts(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "long.csv", [[t, 1.0] for t in range(50)], ["a", "b"])
    with pytest.raises(DataError, match=r"windows that share rows would be in two parts; set data\.stride=8 or more"):
        inspect(str(path), overrides=["data.window=8", "data.stride=4", "data.values=[b]"])


@pytest.mark.parametrize(("key", "task"), [("values=[c, d]", "regress"), ("labels=[c, d]", "multilabel")])
def test_columns_of_a_table_are_learned_and_run_finds_the_others_by_name(key: str, task: str, tmp_path: Path) -> None:
    rows: list[list[object]] = [[n % 7, n % 3, n % 2, (n // 2) % 2] for n in range(60)]
    path = write_csv(tmp_path / "rows.csv", rows, ["a", "b", "c", "d"])
    section = f"data={{kind: table, path: {path}, batch_size: 8, {key.replace('=', ': ')}}}"
    overrides = ["model.widths=[4]", "training.epochs=1", section, f"task.kind={task}"]
    summary = train("wine_hdlif", overrides=overrides, out=tmp_path / "run", memory_repeats=0)
    assert summary is not None
    assert summary.accuracy is None
    export(tmp_path / "run", out=tmp_path / "net.hdlif.safetensors")
    graph = load(tmp_path / "net.hdlif.safetensors")
    assert (graph.labels, graph.input.columns, graph.task.kind) == (("c", "d"), ("a", "b"), task)
    again = evaluate(tmp_path / "net.hdlif.safetensors", data=str(path))
    assert again.metrics == pytest.approx(summary.metrics, abs=1e-3)
    shuffled = write_csv(tmp_path / "new.csv", [[row[1], "x", row[0]] for row in rows[:3]], ["b", "note", "a"])
    answers = run(tmp_path / "net.hdlif.safetensors", [shuffled]).as_dict()["inputs"]
    assert len(answers) == 3
    straight = write_csv(tmp_path / "old.csv", [row[:2] for row in rows[:3]], ["a", "b"])
    expected = run(tmp_path / "net.hdlif.safetensors", [straight]).as_dict()["inputs"]
    assert [one["prediction"] for one in answers] == [one["prediction"] for one in expected]
    # A set that ships has another target.
    for network in (tmp_path / "run", tmp_path / "net.hdlif.safetensors"):
        with pytest.raises(DataError, match=f'the task "{task}".* wine gives class'):
            evaluate(network, data="wine")
