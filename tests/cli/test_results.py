"""What commands find is typed, and JSON is made of it in one place: as it is written, it is read back."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hdlif.cli.export import export_file as export
from hdlif.cli.export_formats import Exported
from hdlif.cli.predict import Answered, RunResult
from hdlif.cli.predict import predict_files as run
from hdlif.cli.seeds import train_seeds
from hdlif.recipe.runs.folders import finished
from hdlif.recipe.runs.summary import RESULT, TrainResult
from hdlif.report.runs import read_run
from series_files import wave
from trainings import train

FAST = ["training.epochs=1", "data.batch_size=128", "model.width=4", "model.blocks=[1]", "data.train=256"]
SERIES = ["training.epochs=1", "model.widths=[4]", "time_steps=8", "task={kind: regress, combine: last}"]
COUNTED = ["params_mb", "stored_mb", "sops", "nops", "energy_mj", "energy_mj_honest", "layers", "neurons"]
OF_A_RUN = [
    *COUNTED,
    "parameters",
    "fp32_mb",
    "saved_bytes",
    "versions",
    "hardware",
    "best_epoch",
    "validation_accuracy",
]
AT_LAST = ["validation_score", "train_seconds", "threads", "peak_bytes", "ranks"]
FIRST = ["recipe", "name", "seed", "accuracy", "accuracy_per_step", "test_samples"]
KEYS = {
    "classify": [*FIRST, "evaluation", *OF_A_RUN, *AT_LAST],
    "regress": [
        *FIRST,
        *("metrics", "per_step", "task", "metric", "evaluation"),
        *OF_A_RUN,
        "validation_metrics",
        *AT_LAST,
    ],
}


@pytest.fixture(scope="module", params=list(KEYS))
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path, TrainResult]:
    """A training of a task: its folder, and what it has come to."""
    folder = tmp_path_factory.mktemp(request.param)
    name, overrides = "digits_hdlif", FAST
    if request.param == "regress":
        x = np.stack([wave("fast" if number % 2 else "slow", number) for number in range(40)])
        np.savez(folder / "x.npz", x=x, y=x.sum(-1).max(-1, keepdims=True))
        section = f"data={{kind: series, path: {folder}/x.npz, values: [high], batch_size: 8}}"
        name, overrides = "sines_hdlif", [*SERIES, section]
    result = train(name, overrides=overrides, out=folder / "run", memory_repeats=0)
    assert result is not None
    return request.param, folder / "run", result


def test_a_summary_is_read_as_what_was_written_and_written_as_it_was(trained: tuple[str, Path, TrainResult]) -> None:
    _, folder, result = trained
    text = (folder / "summary.json").read_text()
    for strict in (True, False):
        read = RESULT.validate_json(text, strict=strict)
        assert read == result
        assert json.dumps(read.as_dict(), indent=1) + "\n" == text
    # A report calls it by its folder.
    assert read_run(folder).networks == [replace(result, name="run")]
    from hdlif.recipe import Recipe

    assert finished(folder, Recipe.model_validate(result.recipe)) == result


def test_a_summary_has_the_keys_that_programs_read(trained: tuple[str, Path, TrainResult]) -> None:
    task, folder, result = trained
    summary = json.loads((folder / "summary.json").read_text())
    assert list(summary) == KEYS[task]
    layer = ["name", "kind", "shape", *COUNTED[:5], "density", "spikes_in"]
    assert {tuple(row) for row in summary["layers"]} == {tuple(layer)}
    neuron = ("name", "kind", "leak", "threshold", "initial_leak", "initial_threshold")
    assert {tuple(row) for row in summary["neurons"]} == {neuron}
    assert result.measured == (summary.get("metrics") or {"accuracy": summary["accuracy"]})
    assert isinstance(summary["saved_bytes"], int)


def test_whole_numbers_stay_whole_and_others_are_checked() -> None:
    bare = {"name": "net", "accuracy": 1, "accuracy_per_step": [1, 0.5], "peak_bytes": 7}
    read = RESULT.validate_python(bare)
    assert json.dumps([read.accuracy, read.peak_bytes, *read.accuracy_per_step]) == "[1, 7, 1, 0.5]"
    for wrong in ("x", [1], float("nan"), True):
        with pytest.raises(ValueError, match="1 validation error"):
            RESULT.validate_json(json.dumps(bare | {"accuracy": wrong}), strict=True)


def test_seeds_run_and_export_make_their_json_of_fields(tmp_path: Path) -> None:
    seeds = train_seeds("digits_hdlif", seeds=1, overrides=FAST, out=tmp_path / "runs", memory_repeats=0)
    assert json.dumps(seeds.as_dict(), indent=1) + "\n" == (tmp_path / "runs" / "seeds.json").read_text()
    assert list(seeds.as_dict()) == [
        *("name", "n", "seeds", "accuracy", "validation_accuracy", "sops", "energy_mj", "train_seconds"),
        *("versions", "hardware"),
    ]
    path = tmp_path / "net.hdlif.safetensors"
    written = export(tmp_path / "runs" / "seed_42", out=path)
    assert written == Exported("artefact", path, path.stat().st_size, written.nodes)
    assert written.as_dict() == {"artefact": str(path), "bytes": written.bytes, "nodes": written.nodes}
    np.save(tmp_path / "x.npy", np.zeros((1, 8, 8), np.float32))
    found = run(path, [tmp_path / "x.npy"])
    (one,) = found.inputs
    assert found == RunResult((Answered(str(tmp_path / "x.npy"), one.answer),))
    first: dict[str, Any] = found.as_dict()["inputs"][0]
    assert list(first) == ["input", "class", "label", "probability", "logits"]
    assert str(one) == f"{tmp_path / 'x.npy'}: {first['label']} ({first['probability']:.1%})"
    pytest.importorskip("onnx", reason="pip install 'hdlif[export]'")
    assert list(export(path, out=tmp_path / "net.onnx", to="onnx").as_dict()) == ["onnx", "bytes", "nodes"]
