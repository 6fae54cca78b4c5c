"""Ctrl-C and SIGTERM that wait for a moment at which the training state is whole."""

import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, TypeVar

_T = TypeVar("_T")


class Interrupted(BaseException):
    """Training stops here because a signal came; raised at no other place than `Pending.check`."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number

    @property
    def consequence(self) -> BaseException:
        """What the signal means to the program: KeyboardInterrupt, or the exit code of SIGTERM."""
        return KeyboardInterrupt() if self.number == signal.SIGINT else SystemExit(128 + self.number)

    def consequence_in(self, place: str) -> BaseException:
        """The same, which says where training stopped: in its argument, or in a note, as an exit has a code there."""
        if self.number == signal.SIGINT:
            return KeyboardInterrupt(place)
        ended = self.consequence
        ended.add_note(place)
        return ended


class Pending:
    """The signal that has come and not been acted on, if any.

    `highest` gives the largest number of all ranks: a signal to one stops all of them, at the same `check`.
    """

    def __init__(self, highest: Callable[[int], int]) -> None:
        self.number: int | None = None
        self._highest = highest

    def check(self) -> None:
        """Raise `Interrupted` if a signal is pending, on whatever rank."""
        if number := self._highest(self.number or 0):
            raise Interrupted(number)

    def between(self, items: Iterable[_T]) -> Iterator[_T]:
        """`items`, with a check before each."""
        for item in items:
            self.check()
            yield item


@contextmanager
def deferred_signals(highest: Callable[[int], int] = lambda number: number) -> Iterator[Pending]:
    """Hold SIGINT and SIGTERM back inside; the second one acts at once, as it would have outside.

    One that is still pending at the end has its consequence there. A signal that the program ignores stays
    ignored. Outside the main thread, where Python delivers no signal, nothing is changed.
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
            # None stands for a handler that was not installed by Python and could not be put back.
            if signal.getsignal(number) not in (signal.SIG_IGN, None):
                before[number] = signal.signal(number, note)
    try:
        yield pending
    except Exception as error:
        # What else went wrong is no reason to go on.
        if pending.number is not None:
            raise Interrupted(pending.number).consequence from error
        raise
    finally:
        restore()
    if pending.number is not None:
        raise Interrupted(pending.number).consequence
