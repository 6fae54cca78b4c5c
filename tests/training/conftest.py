"""Fixtures of the trainings: one thread, and the device."""

from collections.abc import Iterator

import pytest
import torch

from single_thread import one_thread  # noqa: F401 - an autouse fixture; the bytes of a training depend on the threads
from training.tiny import needs_gpu


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
