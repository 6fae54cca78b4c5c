"""Finished runs, several as one demo."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from finished_runs import ARTEFACT, summary, three_networks, whole_run, write_run
from hdlif.report.runs import Run
from hdlif.runs.summary import TrainResult


@pytest.fixture
def networks() -> list[TrainResult]:
    return three_networks()


@pytest.fixture
def artefact() -> dict[str, Any]:
    return dict(ARTEFACT)


@pytest.fixture
def run() -> Run:
    return whole_run()


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
    common = {"artefact": artefact, "data": "digits", "seed": 42, "versions": {}, "hardware": {}}
    numbers = {"networks": [network.as_dict() for network in networks], **common}
    (folder / "summary.json").write_text(json.dumps(numbers))
    return folder
