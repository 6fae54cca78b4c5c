"""What a training has come to: its summary as JSON and as text, metrics that a recipe asks for, and several seeds."""

import json
import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from command_line import hdlif
from hdlif.cli.eval import evaluate, evaluation_text
from hdlif.cli.export import export_file as export
from hdlif.cli.report import report
from hdlif.cli.seeds import SeedsResult, Spread, train_seeds
from hdlif.cli.train import Run, as_text
from hdlif.errors import CheckpointError, ExistingRunError, InputError, RecipeError
from hdlif.graph.artefact import InputRecord
from hdlif.graph.graph import SoundRecord
from hdlif.graph.input_record import SAMPLE, sample_name
from hdlif.inputs.datasets import SYNTHETIC_CLASSES
from hdlif.recipe import Recipe, builders, load_recipe
from hdlif.recipe.runs.folders import finished
from hdlif.recipe.runs.summary import RESULT, TrainResult
from hdlif.report import tables
from hdlif.report.runs import read_run
from stub_training import stub
from trainings import train


def test_a_summary_is_read_as_what_was_written(run_folder: Path) -> None:
    text = (run_folder / "summary.json").read_text()
    summary: dict[str, Any] = json.loads(text)
    result = RESULT.validate_json(text, strict=True)
    assert json.dumps(result.as_dict(), indent=1) + "\n" == text
    assert result.measured == {"accuracy": summary["accuracy"]}
    # A report calls it by its folder.
    assert read_run(run_folder).networks == [replace(result, name=run_folder.name)]
    assert finished(run_folder, Recipe.model_validate(result.recipe)) == result


FINISHED = TrainResult(
    name="digits_hdlif",
    recipe=load_recipe("digits_hdlif").model_dump(mode="json"),
    accuracy=0.9722,
    accuracy_per_step=(0.9, 0.9722),
    test_samples=1300,
    train_seconds=41.23,
    stored_mb=0.0244,
)
OF_VALUES = {"accuracy": None, "accuracy_per_step": (), "metric": "rmse", "metrics": {"rmse": 0.31234}}
UNKNOWN = {"recipe": None, "test_samples": None, "stored_mb": None}


def test_the_text_says_what_is_known_and_ends_with_a_command() -> None:
    for changes, first in (
        ({}, "my photos: 97.2% of 1,300 test images right, 24.4 kB, trained in 41.2 s"),
        ({"best_epoch": 7, "validation_accuracy": 0.96}, "kept from epoch 7, the best on validation"),
        ({"best_epoch": 20}, "kept from epoch 20, the last"),
        (OF_VALUES | UNKNOWN | {"train_seconds": None}, "my photos: rmse 0.3123 on the test samples"),
    ):
        lines = as_text(replace(FINISHED, **changes), Path("runs/my photos")).splitlines()
        assert lines[0].endswith(first)
        assert lines[-1].endswith("hdlif profile 'runs/my photos' --counting honest")
    of_values = replace(FINISHED, **OF_VALUES, mean_rmse=0.5)  # type: ignore[arg-type]
    assert as_text(of_values, Path("runs/x")).splitlines()[1].endswith(": rmse 0.5")
    seeds = SeedsResult.of("digits_hdlif", [replace(FINISHED, seed=42, accuracy=0.9)])
    assert (seeds.text(Path("runs/photos")), seeds.text()) == ("photos: 90.00 % (1)", "digits_hdlif: 90.00 % (1)")
    two = SeedsResult.of("net", [replace(FINISHED, accuracy=accuracy) for accuracy in (0.9075, 0.9175)])
    assert str(two) == "net: 91.25 ± 0.71 % (2)"


SOUND = SoundRecord(8000, 8000, "first", 8000, 40, 256, 80, 20.0, 4000.0)


def test_a_sample_is_called_by_what_a_network_takes() -> None:
    for shape, options, word in (
        ((1, 8, 8), {}, "images"),
        ((1, 8, 1), {"kind": "series"}, "series"),
        ((1, 8, 1), {"kind": "series", "windows": (8, 4)}, "windows"),
        ((1, 1, 1), {"kind": "table"}, "rows"),
        ((2, 8, 8), {"kind": "events"}, "recordings"),
        ((40, 8, 1), {"kind": "series", "sound": SOUND}, "sounds"),
    ):
        record = InputRecord(shape, (0.0,) * shape[0], (1.0,) * shape[0], **options)  # type: ignore[arg-type]
        assert sample_name(record).many == word
    rows = load_recipe("wine_hdlif").model_dump(mode="json")
    assert builders.sample_name_of([FINISHED.recipe, FINISHED.recipe]).one == "image"
    assert builders.sample_name_of([rows]).one == "row"
    for recipes in ([FINISHED.recipe, rows], [{"name": "x", "data": 3}], [None]):
        assert builders.sample_name_of(recipes) == SAMPLE


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
    assert header.split()[1:7] == [*SINGLE, "file"]
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


FAST = ["training.epochs=1", "data.batch_size=128", "model.width=4", "model.blocks=[1]", "data.train=256"]
OPTIONS: dict[str, Any] = {"overrides": FAST, "memory_repeats": 0}


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    seen: list[Any] = []
    monkeypatch.setattr("hdlif.cli.seeds.train_in_one_process", stub(seen))
    return seen


def test_mean_and_deviation_are_of_the_seeds_and_finished_ones_are_skipped(tmp_path: Path, begun: list[Any]) -> None:
    said: list[str] = []
    two = train_seeds("digits_hdlif", seeds=2, out=tmp_path, say=said.append, **OPTIONS)
    assert said[0] == "seed 42: training"
    summaries = [json.loads((tmp_path / f"seed_{seed}" / "summary.json").read_text()) for seed in (42, 43)]
    assert [summary["seed"] for summary in summaries] == list(two.seeds) == [42, 43]
    accuracies = [summary["accuracy"] for summary in summaries]
    assert two.accuracy == Spread(statistics.mean(accuracies), statistics.stdev(accuracies), tuple(accuracies))
    written = json.loads((tmp_path / "seeds.json").read_text())
    assert written == two.as_dict()
    # Programs read it.
    assert {"name", "n", "seeds", "accuracy", "validation_accuracy", "sops", "energy_mj", "train_seconds"} < set(
        written
    )
    three = train_seeds("digits_hdlif", seeds=3, out=tmp_path, **OPTIONS)
    assert list(three.accuracy.values[:2]) == accuracies
    assert [(recipe.seed, options.resume) for recipe, _, options in begun] == [(42, None), (43, None), (44, None)]
    # Another recipe in the same folder is no finished one.
    other = {"overrides": [*FAST, "training.momentum=0.5"], "memory_repeats": 0}
    with pytest.raises(ExistingRunError, match="seed_42"):
        train_seeds("digits_hdlif", seeds=1, out=tmp_path, **other)
    train_seeds("digits_hdlif", seeds=1, out=tmp_path, overwrite=True, **other)
    assert [(options.resume, options.overwrite) for _, _, options in begun[3:]] == [(False, True)]


def test_the_command_prints_the_mean_and_writes_what_it_prints(tmp_path: Path, begun: list[Any]) -> None:
    arguments = [word for one in FAST for word in ("--set", one)]
    done = hdlif("train", "digits_hdlif", *arguments, "--out", tmp_path, "--memory-repeats", 0, "--seeds", 2)
    assert done.stdout.startswith(f"{tmp_path.name}: ")
    assert done.stdout.endswith(" % (2)\n")
    again = hdlif("train", "digits_hdlif", *arguments, "--out", tmp_path, "--seeds", 2, "--json")
    assert json.loads(again.stdout) == json.loads((tmp_path / "seeds.json").read_text())
    assert again.stderr == ""
    assert len(begun) == 2


def test_a_run_of_one_seed_is_the_training_with_that_seed_and_goes_on(tmp_path: Path) -> None:
    own = {"overrides": [*FAST, "seed=7"], "memory_repeats": 0}
    train_seeds("digits_hdlif", seeds=1, out=tmp_path / "many", **own)
    train("digits_hdlif", out=tmp_path / "one", **own)
    folder = tmp_path / "many" / "seed_7"
    model = (folder / "model.safetensors").read_bytes()
    assert model == (tmp_path / "one" / "model.safetensors").read_bytes()
    (folder / "summary.json").unlink()
    kept = (folder / "last.safetensors").stat().st_mtime_ns
    train_seeds("digits_hdlif", seeds=1, out=tmp_path / "many", **own)
    assert ((folder / "last.safetensors").stat().st_mtime_ns, (folder / "summary.json").exists()) == (kept, True)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != ".lock"}
    other = {"overrides": [*FAST, "seed=7", "training.momentum=0.5"], "memory_repeats": 0}
    with pytest.raises(CheckpointError, match=r"training\.momentum"):
        train_seeds("digits_hdlif", seeds=1, out=tmp_path / "many", resume=True, **other)
    with pytest.raises(InputError):
        train_seeds("digits_hdlif", seeds=1, out=tmp_path / "many", resume=True, overwrite=True, **other)
    assert {path: path.read_bytes() for path in before} == before


def test_seeds_that_no_recipe_can_have_are_refused_before_the_first(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="4294967296"):
        train_seeds("digits_hdlif", seeds=2, out=tmp_path, overrides=[*FAST, "seed=4294967295"], memory_repeats=0)
    assert list(tmp_path.iterdir()) == []
