"""Measure the resident memory of this process and configure the C library's allocator for training on a CPU.

glibc requests large blocks (initially above 128 KiB, later above 32 MiB) from the kernel, and returns each block when
the program frees it. Training allocates the same activations in every update, so the kernel maps and zeroes their pages
each time (docs/benchmarks/training.md).
"""

import contextlib
import ctypes
import os
from pathlib import Path

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # Constants of <malloc.h> for mallopt.
_SMALLEST_MAPPED = 2**30, 2**25  # The second is the maximum before glibc 2.35.
_NEVER_TRIMMED = 2**31 - 1


def keep_freed_memory() -> bool:
    """Configure glibc to keep freed blocks of up to 1 GiB (32 MiB before glibc 2.35) for later allocations.

    The process keeps its peak memory until exit. Results do not change. `keep_freed_memory` does nothing if the C
    library is not glibc, or if environment variables (MALLOC_... or GLIBC_TUNABLES) configure the allocator.

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
    """Return `field` (VmRSS or VmHWM) from /proc/self/status in bytes, or None if /proc does not exist."""
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    return 1024 * next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith(f"{field}:"))
