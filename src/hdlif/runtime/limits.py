"""Define the limits of runtime calls, and report failed allocations."""

import functools
import os
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from hdlif.errors import AllocationError

P = ParamSpec("P")
R = TypeVar("R")
OPTIONS = {"max_bytes": " (hdlif run: --max-bytes)", "max_operations": " (hdlif run: --max-operations)"}
"""Command-line option for each limit."""
MAX_THREADS = 256
DEFAULT_MAX_BYTES = 2**32
"""Default memory limit of a call, in bytes. A ResNet-34 on 224x224 pixels takes 0.2 GB in `Session.run` for any batch
size, and 3 GB if `Session.step` holds the states of 256 streams."""
DEFAULT_MAX_OPERATIONS = 2**42
"""Default limit on operations per call. That ResNet-34 takes 1.5e10 per image with 4 time steps, so 288 fit."""


def memory_errors_are_ours(method: Callable[P, R]) -> Callable[P, R]:
    """Wrap a method so that it raises an `AllocationError` that states a fix instead of a `MemoryError`."""

    @functools.wraps(method)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return method(*args, **kwargs)
        except AllocationError:
            raise
        except MemoryError as error:
            raise AllocationError(
                "the machine does not have enough free memory for this; give fewer images or steps per call"
            ) from error

    return call


def available_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
