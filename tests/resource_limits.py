"""Limits on the time and the memory of a block, for tests of input that could take much of either."""

import signal
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def at_most(extra_bytes: int) -> Iterator[None]:
    """Fails where Python and NumPy hold more than so many bytes at once inside, beyond what they held."""
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
        assert peak <= extra_bytes, f"took {peak:,} bytes, more than {extra_bytes:,}"
    finally:
        tracemalloc.stop()


@contextmanager
def within_seconds(seconds: float) -> Iterator[None]:
    """Fails where the block takes longer, also where it waits in a system call."""

    def late(number: int, frame: FrameType | None) -> None:
        raise AssertionError(f"took more than {seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def within_cpu_seconds(seconds: float) -> Iterator[None]:
    """Fails where what is inside takes more processor time; how busy the machine is does not count."""

    def late(number: int, frame: FrameType | None) -> None:
        raise AssertionError(f"takes more than {seconds} seconds of processor time")

    before = signal.signal(signal.SIGPROF, late)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
