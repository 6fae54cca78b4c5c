"""Metrics that a recipe asks for, wherever the task's own figures stand."""

import json
from pathlib import Path
from typing import Any

import pytest

from hdlif.cli.eval import evaluate, evaluation_text
from hdlif.cli.export import export_file as export
from hdlif.cli.report import report
from hdlif.cli.seeds import SeedsResult
from hdlif.cli.train import Run
from hdlif.inputs.datasets import SYNTHETIC_CLASSES
from hdlif.recipe import Recipe
from hdlif.recipe.runs.folders import finished
from hdlif.recipe.runs.summary import RESULT
from hdlif.report import tables
from trainings import train

SMALL = [
    "data={kind: synthetic, batch_size: 64, validation: 40}",
    "model={kind: resnet, blocks: [1], width: 2}",
    "training.epochs=2",
    "training.warmup_epochs=0",
]
METRICS = 'task={kind: classify, metrics: [f1, {kind: top_k, k: 3}, calibration_error, {kind: "own_metrics:Sure"}, '
METRICS += '{kind: "torchmetrics.classification:MulticlassRecall", average: none, name: recall}]'
RECALLS = [f"recall.{name}" for name in SYNTHETIC_CLASSES]
SINGLE = ["accuracy", "f1", "top_3", "calibration_error", "Sure"]
NAMES = [*SINGLE, *RECALLS]


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose best epoch is that of the least error of calibration."""
    out = tmp_path_factory.mktemp("asked") / "run"
    train("digits_hdlif", overrides=[*SMALL, f"{METRICS}, best: calibration_error}}"], out=out, memory_repeats=0)
    return out


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def test_a_run_states_them_of_the_validation_and_the_test_set(asked: Path) -> None:
    summary = read(asked / "summary.json")
    assert list(summary["metrics"]) == NAMES
    assert list(summary["validation_metrics"]) == NAMES
    assert summary["metrics"]["accuracy"] == summary["accuracy"]
    assert summary["metric"] == "calibration_error"
    assert summary["validation_score"] == -summary["validation_metrics"]["calibration_error"]
    ways = {"f1": True, "top_3": True, "calibration_error": False, "Sure": True}
    assert summary["larger_is_better"] == ways | dict.fromkeys(RECALLS, True)
    assert summary["parts"] == {"recall": RECALLS}
    events = [json.loads(line) for line in (asked / "metrics.jsonl").read_text().splitlines()]
    validated = [event["metrics"] for event in events if event["event"] == "validation"]
    assert validated[summary["best_epoch"] - 1] == summary["validation_metrics"]
    assert min(figures["calibration_error"] for figures in validated) == -summary["validation_score"]
    assert dict(Run(asked, RESULT.validate_python(summary)).metrics) == summary["metrics"]
    assert read(asked / "parts.json").keys() == {"own_metrics", "torchmetrics.classification"}


def test_a_checkpoint_is_measured_by_them_and_an_artefact_by_the_tasks_own(asked: Path, tmp_path: Path) -> None:
    summary = read(asked / "summary.json")
    found = evaluate(asked)
    assert found.metrics == pytest.approx(summary["metrics"], abs=1e-6)
    assert list(found.as_dict()["metrics"]) == NAMES
    assert "; f1 0." in evaluation_text(found.as_dict())
    export(asked, out=tmp_path / "net.hdlif.safetensors")
    deployed = evaluate(tmp_path / "net.hdlif.safetensors", data="synthetic")
    assert deployed.metrics.keys() == {"accuracy"}
    assert "metrics" not in deployed.as_dict()


def test_tables_and_the_report_show_them(asked: Path) -> None:
    summary = read(asked / "summary.json")
    result = RESULT.validate_python(summary)
    header, _, row = tables.networks_table([result]).splitlines()
    assert header.split()[1:7] == [*SINGLE, "MB"]
    assert row.split()[2:6] == [f"{summary['metrics'][name]:.4g}" for name in SINGLE[1:]]
    page = Path(report([asked])["report"]).read_text()
    assert "Validation calibration_error by optimiser update" in page
    for name in SINGLE[1:]:
        assert f">{name}</th>" in page
    # Seeds have their spread, and a finished one is known again.
    spread = SeedsResult.of("net", [result, result])
    assert (list(spread.metrics), len(spread.metrics["f1"].values)) == (NAMES, 2)
    assert str(spread).split(" %, f1 ")[1].endswith("(2)")
    assert finished(asked, Recipe.model_validate(result.recipe)) is not None
