"""Delay the effect of Ctrl-C and SIGTERM until the training state is complete."""

import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, TypeVar

_T = TypeVar("_T")


class Interrupted(BaseException):
    """The exception that stops training after a signal; only `Pending.check` raises it."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number

    @property
    def consequence(self) -> BaseException:
        """Return the exception that ends the program: KeyboardInterrupt, or SystemExit with the signal's exit code."""
        return KeyboardInterrupt() if self.number == signal.SIGINT else SystemExit(128 + self.number)

    def consequence_in(self, place: str) -> BaseException:
        """Return `consequence` with `place`, where training stopped, as its argument or, for SystemExit, as a note."""
        if self.number == signal.SIGINT:
            return KeyboardInterrupt(place)
        ended = self.consequence
        ended.add_note(place)
        return ended


class Pending:
    """A received signal that has not been handled yet, if any.

    `highest` returns the largest signal number among all ranks, so a signal to one rank stops every rank at the same
    `check`.
    """

    def __init__(self, highest: Callable[[int], int]) -> None:
        self.number: int | None = None
        self._highest = highest

    def check(self) -> None:
        """Raise `Interrupted` if a signal is pending on any rank."""
        if number := self._highest(self.number or 0):
            raise Interrupted(number)

    def between(self, items: Iterable[_T]) -> Iterator[_T]:
        """Yield the items one by one, with a `check` for signals before each."""
        for item in items:
            self.check()
            yield item


@contextmanager
def deferred_signals(highest: Callable[[int], int] = lambda number: number) -> Iterator[Pending]:
    """Delay SIGINT and SIGTERM inside the context; a second signal takes effect immediately.

    A pending signal takes effect at the end of the context. Ignored signals stay ignored. Outside the main thread, the
    context does nothing, because Python delivers signals only to the main thread.
    """
    pending = Pending(highest)
    before: dict[signal.Signals, Any] = {}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def note(number: int, _: FrameType | None) -> None:
        pending.number = number
        restore()

    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            # None means a handler that Python did not install and cannot restore.
            if signal.getsignal(number) not in (signal.SIG_IGN, None):
                before[number] = signal.signal(number, note)
    try:
        yield pending
    except Exception as error:
        # Stop even if another error occurred.
        if pending.number is not None:
            raise Interrupted(pending.number).consequence from error
        raise
    finally:
        restore()
    if pending.number is not None:
        raise Interrupted(pending.number).consequence
