"""What a library leaves of the stack that signal handlers run on."""

import ctypes
import sys

import pytest

from hdlif.report.signal_stack import signal_stack_kept


class Stack(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))


def signal_stack() -> tuple[int | None, int]:
    found = Stack()
    assert ctypes.CDLL(None).sigaltstack(None, ctypes.byref(found)) == 0
    return found.base, found.size


@pytest.mark.skipif(sys.platform != "linux", reason="of Linux")
def test_the_stack_of_before_is_back_whatever_took_its_place() -> None:
    before = signal_stack()
    memory = ctypes.create_string_buffer(2**16)

    def fail() -> None:
        ctypes.CDLL(None).sigaltstack(ctypes.byref(Stack(ctypes.addressof(memory), 0, len(memory))), None)
        assert signal_stack() == (ctypes.addressof(memory), 2**16)
        raise ValueError("lost")

    with pytest.raises(ValueError, match="lost"):
        signal_stack_kept()(fail)()
    assert signal_stack() == before
