"""Measure the resident memory of this process, and configure the C library's allocator for training on a CPU.

glibc takes every block above 32 MiB, and at first above 128 KiB, from the kernel and returns it when it is freed.
Training allocates the same activations at every update, so the kernel zeroes and maps all their pages again each time
(docs/benchmarks/training.md).
"""

import contextlib
import ctypes
import os
from pathlib import Path

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # Constants of <malloc.h> for mallopt.
_SMALLEST_MAPPED = 2**30, 2**25  # The second is the maximum before glibc 2.35.
_NEVER_TRIMMED = 2**31 - 1


def keep_freed_memory() -> bool:
    """Make this process keep freed blocks of up to 1 GiB for the next allocation (up to 32 MiB before glibc 2.35).

    The peak memory of the process stays resident until the process ends. Results do not change. This function does
    nothing if the C library is not glibc, or if MALLOC_... or GLIBC_TUNABLES variables configure the allocator.

    Returns:
        whether the allocator was configured.
    """
    if any(name.startswith("MALLOC_") or name == "GLIBC_TUNABLES" for name in os.environ):
        return False
    with contextlib.suppress(AttributeError, OSError, TypeError):
        set_option = ctypes.CDLL(None).mallopt
        mapped = any(set_option(_M_MMAP_THRESHOLD, size) for size in _SMALLEST_MAPPED)
        return mapped and bool(set_option(_M_TRIM_THRESHOLD, _NEVER_TRIMMED))
    return False


def resident_bytes(field: str) -> int | None:
    """Return VmRSS, or VmHWM (the peak), of this process in bytes, or None without /proc."""
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    return 1024 * next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith(f"{field}:"))
