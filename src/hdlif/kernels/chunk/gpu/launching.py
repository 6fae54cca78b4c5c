"""Kernels as Triton compiles them from their text."""

from __future__ import annotations

import linecache
from collections.abc import Mapping
from functools import lru_cache
from hashlib import sha256
from typing import Any

BLOCK = 512
"""Entries that an instance takes: a power of two, at least 8."""
# What is contracted to one operation rounds once where PyTorch's two round twice.
OPTIONS: Mapping[str, Any] = {"num_warps": 4, "enable_fp_fusion": False}


def launch(text: str, instances: int, arguments: Mapping[str, Any]) -> None:
    """Runs the kernel of a text on the current device, with its arguments by name."""
    _kernel(text)[(instances,)](**arguments, **OPTIONS)


@lru_cache(maxsize=1024)
def _kernel(text: str) -> Any:
    # Triton reads a kernel's text by `inspect`, which finds it where the lines of files are kept.
    name = f"<hdlif chunk {sha256(text.encode()).hexdigest()}>"
    linecache.cache[name] = len(text), None, text.splitlines(keepends=True), name
    module: dict[str, Any] = {"__name__": "hdlif.kernels.chunk.gpu.generated"}
    exec(compile(text, name, "exec"), module)
    return module["chunk"]
