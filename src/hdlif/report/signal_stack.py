"""The stack that signal handlers run on.

Python's handlers run on the thread's alternate stack if it has one, as it has under `faulthandler`. OpenVINO puts a
stack of its own in its place and unmaps that with its last network: the next signal, SIGTERM or Ctrl-C, would end the
process by a segmentation fault.
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
    """After the block this thread's alternate signal stack is what it was before; nothing is done but on Linux."""
    if sys.platform != "linux":
        yield
        return
    library, before = ctypes.CDLL(None, use_errno=True), _Stack()
    library.sigaltstack(None, ctypes.byref(before))
    try:
        yield
    finally:
        # Networks in reference cycles would take their stack away later.
        gc.collect()
        library.sigaltstack(ctypes.byref(before), None)
