"""Run the compiled kernels on PyTorch's threads, if these are OpenMP's."""

import ctypes
import sys

from hdlif import _native


def openmp_parallel() -> int:
    """Return the address of GOMP_parallel in the OpenMP runtime that PyTorch has loaded; 0 if there is none.

    GNU's, LLVM's and Intel's runtimes have it.
    """
    if sys.platform != "linux":
        return 0
    try:
        function = ctypes.CDLL(None).GOMP_parallel
    except (AttributeError, OSError):
        return 0
    return ctypes.cast(function, ctypes.c_void_p).value or 0


def share_threads() -> None:
    """Run kernels on PyTorch's own threads, which would otherwise compete with them for the cores."""
    _native.set_parallel(openmp_parallel())
