"""Limits on the time and the memory of a block, for tests of input that could take much of either."""

import signal
import tracemalloc
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
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


def within_seconds(seconds: float) -> AbstractContextManager[None]:
    """Fails where the block takes longer, also where it waits in a system call."""
    return _before(signal.SIGALRM, signal.ITIMER_REAL, seconds, f"took more than {seconds} s")


def within_cpu_seconds(seconds: float) -> AbstractContextManager[None]:
    """Fails where the block takes more processor time; how busy the machine is does not count."""
    return _before(signal.SIGPROF, signal.ITIMER_PROF, seconds, f"took more than {seconds} s of processor time")


@contextmanager
def _before(number: signal.Signals, timer: int, seconds: float, said: str) -> Iterator[None]:
    """Fails with a message where a timer sends its signal before the block ends."""

    def late(number: int, frame: FrameType | None) -> None:
        raise AssertionError(said)

    before = signal.signal(number, late)
    signal.setitimer(timer, seconds)
    try:
        yield
    finally:
        signal.setitimer(timer, 0)
        signal.signal(number, before)
