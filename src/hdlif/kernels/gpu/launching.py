"""Kernels that Triton compiles, from a text or from a module, and how they are started."""

from __future__ import annotations

import linecache
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import cache, lru_cache
from hashlib import sha256
from importlib.util import find_spec, module_from_spec
from types import ModuleType
from typing import Any

import torch

BLOCK = 512
"""Entries of a chunk's step that an instance takes: a power of two, at least 8."""
MOST_ENTRIES = 2**31 - 2**16
"""Of a step, whose entries are counted in 32 bits."""
# What is contracted to one operation rounds once where PyTorch's two round twice.
OPTIONS: Mapping[str, Any] = {"num_warps": 4, "enable_fp_fusion": False}


def launch(text: str, instances: int, arguments: Mapping[str, Any]) -> None:
    """Runs the kernel of a text on the current device, with its arguments by name."""
    generated(text)[(instances,)](**arguments, **OPTIONS)


def launch_from(module: str, name: str, instances: int, arguments: Mapping[str, Any]) -> None:
    """Runs a kernel of a module on the current device, with its arguments by name."""
    getattr(loaded(module), name)[(instances,)](**arguments, **OPTIONS)


def on(device: torch.device) -> AbstractContextManager[Any]:
    """In which a device is the current one, if it is a GPU."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


@lru_cache(maxsize=1024)
def generated(text: str) -> Any:
    """The kernel `chunk` of a text."""
    # Triton reads a kernel's text by `inspect`, which finds it where the lines of files are kept.
    name = f"<hdlif chunk {sha256(text.encode()).hexdigest()}>"
    linecache.cache[name] = len(text), None, text.splitlines(keepends=True), name
    module: dict[str, Any] = {"__name__": "hdlif.kernels.chunk.gpu.generated"}
    exec(compile(text, name, "exec"), module)
    return module["chunk"]


@cache
def loaded(module: str) -> ModuleType:
    """A module of kernels, which imports Triton.

    Not from `sys.modules`: whether a kernel is compiled or interpreted is settled where it is decorated.
    """
    spec = find_spec(module)
    assert spec is not None
    assert spec.loader is not None
    made = module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def forget() -> None:
    """Have kernels made anew, for Triton as it is set up then."""
    generated.cache_clear()
    loaded.cache_clear()
