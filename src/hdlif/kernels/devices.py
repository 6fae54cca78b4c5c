"""Which kernels serve a device."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from shutil import which
from typing import Literal

import torch

Kernels = Literal["native", "triton"]


def kernels_for(device: torch.device) -> Kernels | None:
    """The compiled ones on a CPU, Triton's on a GPU where Triton can be used; None: PyTorch's operations alone, as also
    under a compiler."""
    if torch.compiler.is_compiling():
        return None
    if device.type == "cpu":
        return "native"
    return "triton" if device.type == "cuda" and triton_lacks() is None else None


@cache
def triton_lacks() -> str | None:
    """What Triton cannot be used without: itself, or a compiler of C, with which it builds what starts a kernel."""
    if find_spec("triton") is None:
        return "Triton"
    return None if any(map(which, ("cc", "gcc", "clang"))) else "a C compiler"
