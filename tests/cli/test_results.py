"""What commands find is typed, and JSON is made of it in one place: as it is written, it is read back."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hdlif.cli.export import export_file as export
from hdlif.cli.predict import predict_files as run
from hdlif.cli.seeds import SeedsResult
from hdlif.recipe import Recipe
from hdlif.recipe.runs.folders import finished
from hdlif.recipe.runs.summary import RESULT
from hdlif.report.runs import read_run

KEYS = ["recipe", "name", "seed", "accuracy", "accuracy_per_step", "test_samples", "evaluation", "params_mb"]
KEYS += ["stored_mb", "sops", "nops", "energy_mj", "energy_mj_honest", "layers", "neurons", "parameters", "fp32_mb"]
KEYS += ["saved_bytes", "versions", "hardware", "best_epoch", "validation_accuracy", "validation_score"]
KEYS += ["train_seconds", "threads", "peak_bytes", "ranks"]
OF_LAYERS = {"name", "kind", "shape", "params_mb", "stored_mb", "sops", "nops", "energy_mj", "density", "spikes_in"}
OF_NEURONS = {"name", "kind", "leak", "threshold", "initial_leak", "initial_threshold"}


def test_a_summary_has_the_keys_that_programs_read_and_is_read_as_what_was_written(run_folder: Path) -> None:
    text = (run_folder / "summary.json").read_text()
    summary: dict[str, Any] = json.loads(text)
    assert list(summary) == KEYS
    assert [set(row) for row in summary["layers"]] == [OF_LAYERS] * len(summary["layers"])
    assert [set(row) for row in summary["neurons"]] == [OF_NEURONS] * len(summary["neurons"])
    result = RESULT.validate_json(text, strict=True)
    assert json.dumps(result.as_dict(), indent=1) + "\n" == text
    assert result.measured == {"accuracy": summary["accuracy"]}
    # A report calls it by its folder.
    assert read_run(run_folder).networks == [replace(result, name=run_folder.name)]
    assert finished(run_folder, Recipe.model_validate(result.recipe)) == result


def test_whole_numbers_stay_whole_and_others_are_checked() -> None:
    bare = {"name": "net", "accuracy": 1, "accuracy_per_step": [1, 0.5], "peak_bytes": 7}
    read = RESULT.validate_python(bare)
    assert json.dumps([read.accuracy, read.peak_bytes, *read.accuracy_per_step]) == "[1, 7, 1, 0.5]"
    for wrong in ("x", [1], float("nan"), True):
        with pytest.raises(ValueError, match="1 validation error"):
            RESULT.validate_json(json.dumps(bare | {"accuracy": wrong}), strict=True)


def test_seeds_run_and_export_make_their_json_of_fields(run_folder: Path, artefact: Path, tmp_path: Path) -> None:
    seeds = SeedsResult.of("net", [RESULT.validate_json((run_folder / "summary.json").read_text())])
    assert list(seeds.as_dict()) == [
        *("name", "n", "seeds", "accuracy", "validation_accuracy", "sops", "energy_mj", "train_seconds"),
        *("versions", "hardware"),
    ]
    np.save(tmp_path / "x.npy", np.zeros((1, 8, 8), np.float32))
    found = run(artefact, [tmp_path / "x.npy"])
    (one,) = found.inputs
    (first,) = found.as_dict()["inputs"]
    assert list(first) == ["input", "class", "label", "probability", "logits"]
    assert str(one) == f"{tmp_path / 'x.npy'}: {first['label']} ({first['probability']:.1%})"
    pytest.importorskip("onnx", reason="pip install 'hdlif[export]'")
    assert list(export(artefact, out=tmp_path / "net.onnx", to="onnx").as_dict()) == ["onnx", "bytes", "nodes"]
