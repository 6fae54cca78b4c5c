"""Run folders as `hdlif train` and `hdlif demo` leave them, with numbers small enough to check by hand."""

import json
from pathlib import Path
from typing import Any

from hdlif.report.runs import Artefact, Run
from hdlif.runs.summary import RESULT, TrainResult

LAYERS = ("stage1.0.conv1", "stage1.0.conv2")
NEURONS = ("stage1.0.act1", "stage1.0.act2")
ARTEFACT: Artefact = {
    "path": "runs/demo/digits.hdlif.safetensors",
    "bytes": 23144,
    "accuracy": 0.9667,
    "argmax_agreement": 0.999,
    "max_logit_difference": 3.1e-5,
    "latency_ms": 0.412,
}


def summary(name: str, /, **changed: Any) -> dict[str, Any]:
    return {
        "recipe": {"name": f"digits_{name}", "seed": 42},
        "name": name,
        "accuracy": 0.95,
        "accuracy_per_step": [0.90, 0.95],
        "best_epoch": 1,
        "train_seconds": 41.2,
        "peak_bytes": 61_000_000,
        "saved_bytes": 9_100_000,
        "params_mb": 0.32,
        "stored_mb": 0.324,
        "fp32_mb": 0.32,
        "sops": 812_000.0,
        "nops": 98_304.0,
        "energy_mj": 0.00073,
        "energy_mj_honest": 0.00123,
        "seed": 42,
        "versions": {"torch": "2.9.1"},
        "hardware": {"cpu": "a processor", "instruction_sets": ["avx2", "avx512f"]},
        "layers": [
            {"name": layer, "kind": "conv2d", "sops": 123_400.0, "nops": 0.0, "density": 0.2} for layer in LAYERS
        ]
        + [{"name": layer, "kind": "hd_lif", "sops": 0.0, "nops": 400.0, "density": 0.25} for layer in NEURONS],
        "neurons": [
            {"name": NEURONS[0], "kind": "hd_lif", "leak": [0.5, 0.625], "threshold": [0.5, 0.375]},
            {"name": NEURONS[1], "kind": "parallel", "leak": None, "threshold": [0.25, 0.125]},
        ],
    } | changed


def result(name: str, /, **changed: Any) -> TrainResult:
    return RESULT.validate_python(summary(name, **changed))


def history() -> list[dict[str, Any]]:
    train = [
        {
            "event": "train",
            "epoch": i // 2,
            "step": 20 * i,
            "loss": 2.0 / (1 + i),
            "accuracy": 0.5,
            "learning_rate": 0.1,
        }
        for i in range(1, 5)
    ]
    validation = [
        {"event": "validation", "epoch": e, "step": 40 * (e + 1), "loss": 0.3, "accuracy": 0.6 + 0.3 * e}
        for e in range(2)
    ]
    return train + validation


def three_networks() -> list[TrainResult]:
    sizes = {"params_mb": 0.0312, "stored_mb": 0.0162, "saved_bytes": None}
    energies = {"energy_mj": 0.000073, "energy_mj_honest": 0.00041}
    low_bit = result("hdlif_w1p5_s4", accuracy=0.9667, **sizes, **energies)
    return [result("lif"), result("hdlif", accuracy=0.9722), low_bit]


def whole_run() -> Run:
    """Three networks with most of what a run may have."""
    networks = three_networks()
    return Run(
        networks,
        {network.name: history() for network in networks},
        recipes={"lif": "seed: 42\n"},
        confusions={"lif": {"labels": ["cat", "dog"], "counts": [[3, 1], [0, 4]]}},
        artefact=ARTEFACT,
        data="digits",
    )


def write_run(folder: Path, numbers: dict[str, Any]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "summary.json").write_text(json.dumps(numbers))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(event) + "\n" for event in history()))
    (folder / "recipe.yaml").write_text("seed: 42\ntime_steps: 2\n")
    return folder
