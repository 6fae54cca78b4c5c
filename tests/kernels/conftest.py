"""One thread, and what was launched on a GPU or in Triton's interpreter."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from hdlif.kernels import devices
from hdlif.kernels.batch_norm import gpu as batch_norm
from hdlif.kernels.gpu import launching
from hdlif.kernels.spikes import levels
from hdlif.kernels.weights import gpu as weights
from single_thread import one_thread  # noqa: F401 - an autouse fixture

SMALL: Mapping[Any, Mapping[str, int]] = {
    launching: {"BLOCK": 32},
    batch_norm: {"VALUES": 16, "COLUMNS": 4, "PARTS": 2, "CHANNELS": 4, "ENTRIES": 32},
    weights: {"BLOCK": 16, "INSTANCES": 4},
    levels: {"BLOCK": 16},
}


@pytest.fixture
def launches(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Of each kernel that was run its name, or its text where it was generated."""
    found: list[str] = []
    launch, launch_from = launching.launch, launching.launch_from

    def generated(text: str, instances: int, arguments: Mapping[str, Any]) -> None:
        found.append(text)
        launch(text, instances, arguments)

    def written(module: str, name: str, instances: int, arguments: Mapping[str, Any]) -> None:
        found.append(name)
        launch_from(module, name, instances, arguments)

    monkeypatch.setattr(launching, "launch", generated)
    monkeypatch.setattr(launching, "launch_from", written)
    return found


@pytest.fixture
def interpreted(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Kernels are interpreted, in blocks so small that a layer has several."""
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    for module, sizes in SMALL.items():
        for name, size in sizes.items():
            monkeypatch.setattr(module, name, size)
    launching.forget()
    yield
    launching.forget()


@pytest.fixture
def as_a_gpu(interpreted: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tensors on the CPU are for Triton's kernels, in its interpreter."""
    monkeypatch.setattr(devices, "kernels_for", lambda _: "triton")
