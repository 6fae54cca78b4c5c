"""Fixtures of the trainings: one thread, and the device."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from hdlif.training import Fit
from single_thread import one_thread  # noqa: F401 - an autouse fixture; the bytes of a training depend on the threads
from training.tiny import needs_gpu, stop, tiny_network, train

STOPPED = 7
"""Batches that the training of `stopped` has done, in its second epoch."""


@pytest.fixture(scope="session")
def straight_fit(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Fit, nn.Module]:
    """A training that nothing interrupted, its outcome and its network; only read them."""
    torch.set_num_threads(1)
    out, model = tmp_path_factory.mktemp("straight") / "run", tiny_network()
    return out, train(out, model=model), model


@pytest.fixture(scope="session")
def straight(straight_fit: tuple[Path, Fit, nn.Module]) -> Path:
    """The folder of a training that nothing interrupted; only read it."""
    return straight_fit[0]


@pytest.fixture(scope="session")
def _stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    return stop(tmp_path_factory.mktemp("stopped") / "run", STOPPED)


@pytest.fixture
def stopped(_stopped: Path, tmp_path: Path) -> Path:
    """A copy of a training that ended without notice after `STOPPED` batches, with a checkpoint of each."""
    return shutil.copytree(_stopped, tmp_path / "run")


@pytest.fixture
def comparable_sums() -> Iterator[None]:
    """On a GPU no TF32, and always the same algorithm."""
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
        yield


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=needs_gpu)])
def device(request: pytest.FixtureRequest, comparable_sums: None) -> str:
    """Each device in turn."""
    name: str = request.param
    return name
