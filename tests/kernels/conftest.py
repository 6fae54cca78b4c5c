"""One thread, and what was launched on a GPU or in Triton's interpreter."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from hdlif.kernels import devices
from hdlif.kernels.gpu import launching
from single_thread import one_thread  # noqa: F401 - an autouse fixture


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
    monkeypatch.setattr(launching, "BLOCK", 32)
    launching.forget()
    yield
    launching.forget()


@pytest.fixture
def as_a_gpu(interpreted: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tensors on the CPU are for Triton's kernels, in its interpreter."""
    monkeypatch.setattr(devices, "kernels_for", lambda _: "triton")
