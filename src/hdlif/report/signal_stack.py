"""Preserve the stack that signal handlers run on.

Python's handlers run on the thread's alternate stack if it has one, for example under `faulthandler`. OpenVINO replaces
this stack with its own and unmaps it with its last network: the next signal, SIGTERM or Ctrl-C, would then end the
process with a segmentation fault.
"""

import ctypes
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


class _Stack(ctypes.Structure):
    """`stack_t` of <signal.h> on Linux."""

    _fields_ = (("base", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))


@contextmanager
def signal_stack_kept() -> Iterator[None]:
    """Restore this thread's alternate signal stack after the block; does nothing except on Linux."""
    if sys.platform != "linux":
        yield
        return
    library, before = ctypes.CDLL(None, use_errno=True), _Stack()
    library.sigaltstack(None, ctypes.byref(before))
    try:
        yield
    finally:
        # Networks in reference cycles would unmap their stack later.
        gc.collect()
        library.sigaltstack(ctypes.byref(before), None)
