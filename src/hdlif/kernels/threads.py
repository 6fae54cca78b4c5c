"""Whose threads the compiled kernels run on: PyTorch's, where they are OpenMP's."""

import ctypes
import sys

from hdlif import _native


def openmp_parallel() -> int:
    """The address of GOMP_parallel in the OpenMP runtime that PyTorch has loaded for the process; 0: there is none.

    GNU's runtime has it, and LLVM's and Intel's offer it too.
    """
    if sys.platform != "linux":
        return 0
    try:
        function = ctypes.CDLL(None).GOMP_parallel
    except (AttributeError, OSError):
        return 0
    return ctypes.cast(function, ctypes.c_void_p).value or 0


def share_threads() -> None:
    """Have kernels run on PyTorch's own threads, which would else compete with them for the cores."""
    _native.set_parallel(openmp_parallel())
