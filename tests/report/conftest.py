"""Finished runs, several as one demo, and a browser."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from browser import Browser, chromium
from finished_runs import ARTEFACT, summary, three_networks, whole_run, write_run
from hdlif.recipe.runs.summary import TrainResult
from hdlif.report.runs import Run


@pytest.fixture
def networks() -> list[TrainResult]:
    return three_networks()


@pytest.fixture
def run() -> Run:
    return whole_run()


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Path]:
    def make(folder: str = "lif", **changed: Any) -> Path:
        return write_run(tmp_path / folder, summary(folder, **changed))

    return make


@pytest.fixture
def demo(tmp_path: Path, networks: list[TrainResult]) -> Path:
    folder = tmp_path / "demo"
    for network in networks:
        write_run(folder / network.name, network.as_dict())
    common = {"artefact": ARTEFACT, "data": "digits", "seed": 42, "versions": {}, "hardware": {}}
    numbers = {"networks": [network.as_dict() for network in networks], **common}
    (folder / "summary.json").write_text(json.dumps(numbers))
    return folder


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    with chromium() as window:
        yield window
