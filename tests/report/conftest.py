"""Finished runs, several as one demo."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from finished_runs import history, result, summary, write_run
from hdlif.report.summary import TrainResult


@pytest.fixture
def networks() -> list[TrainResult]:
    return [
        result("lif"),
        result("hdlif", accuracy=0.9722),
        result(
            "hdlif_w1p5_s4",
            accuracy=0.9667,
            params_mb=0.0312,
            stored_mb=0.0162,
            energy_mj=0.000073,
            energy_mj_honest=0.00041,
            saved_bytes=None,
        ),
    ]


@pytest.fixture
def histories(networks: list[TrainResult]) -> dict[str, list[dict[str, Any]]]:
    return {network.name: history() for network in networks}


@pytest.fixture
def artefact() -> dict[str, Any]:
    return {
        "path": "runs/demo/digits.hdlif.safetensors",
        "bytes": 23144,
        "accuracy": 0.9667,
        "argmax_agreement": 0.999,
        "max_logit_difference": 3.1e-5,
        "latency_ms": 0.412,
    }


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Path]:
    def make(folder: str = "lif", **changed: Any) -> Path:
        return write_run(tmp_path / folder, summary(folder, **changed))

    return make


@pytest.fixture
def demo(tmp_path: Path, networks: list[TrainResult], artefact: dict[str, Any]) -> Path:
    folder = tmp_path / "demo"
    for network in networks:
        write_run(folder / network.name, network.as_dict())
    summaries = [network.as_dict() for network in networks]
    numbers = {
        "networks": summaries,
        "artefact": artefact,
        "data": "digits",
        "seed": 42,
        "versions": {},
        "hardware": {},
    }
    (folder / "summary.json").write_text(json.dumps(numbers))
    return folder
