"""One thread, and what was launched on a GPU or in Triton's interpreter."""

from collections.abc import Mapping
from typing import Any

import pytest

from hdlif.kernels.chunk.gpu import launching
from single_thread import one_thread  # noqa: F401 - an autouse fixture


@pytest.fixture
def launches(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The text of each kernel that was run."""
    found: list[str] = []
    launch = launching.launch

    def counted(text: str, instances: int, arguments: Mapping[str, Any]) -> None:
        found.append(text)
        launch(text, instances, arguments)

    monkeypatch.setattr(launching, "launch", counted)
    return found
