"""The program: the command line in a process of its own, and what Ctrl-C does to that. `python -m hdlif` is `hdlif`.

The first SIGINT is a KeyboardInterrupt, upon which files are left whole and child processes ended; those that follow
while this goes on are not heard, so that none of it is cut short, and after `PATIENCE` seconds one ends the process at
once. A training holds the first one back (`hdlif.training.interruption`), so that its second is the first here. However
many come, the exit code is 130, and no traceback is shown.

Importing compiled modules does not bear a KeyboardInterrupt: some abort, and some make another error of it. Nothing is
lost by ending at once there.
"""

import contextlib
import os
import signal
import sys
import time
from types import FrameType, TracebackType
from typing import NoReturn, Protocol

PATIENCE = 2.0
INTERRUPTED = 130


class _Unraisable(Protocol):
    exc_type: type[BaseException]
    exc_value: BaseException | None
    exc_traceback: TracebackType | None
    err_msg: str | None
    object: object


class Interrupts:
    """What SIGINT does from `hear` on, until `end`. `first` is when the first one came."""

    def __init__(self) -> None:
        self.first: float | None = None
        self._process = os.getpid()

    def hear(self) -> None:
        """Take SIGINT, unless whoever started the process has it ignored."""
        if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
            signal.signal(signal.SIGINT, self._come)
            sys.unraisablehook = self._unraisable

    def end(self) -> None:
        """Ignore SIGINT: what is left is the interpreter's own end, which would show a traceback."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    def _come(self, _: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        # A forked process, such as a worker that loads data, has nothing of its own to leave whole.
        forked = os.getpid() != self._process
        if forked or _importing(frame) or (self.first is not None and now - self.first > PATIENCE):
            self._leave(say=not forked)
        if self.first is None:
            self.first = now
            raise KeyboardInterrupt

    def _unraisable(self, what: _Unraisable) -> None:
        # It was raised where Python swallows it, in a finalizer, and would be lost.
        if what.exc_type is KeyboardInterrupt:
            self._leave(say=True)
        sys.__unraisablehook__(what)

    def _leave(self, *, say: bool) -> NoReturn:
        if say:
            _say()
        os._exit(INTERRUPTED)


def _say() -> None:
    with contextlib.suppress(OSError):
        os.write(2, b"interrupted\n")


def _importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def program() -> NoReturn:
    """Run the command line, and end the process by its exit code."""
    # Fabric and data loaders start processes that would search the working folder first; those of ours have -P.
    os.environ["PYTHONSAFEPATH"] = "1"
    interrupts = Interrupts()
    code: int | str | None = INTERRUPTED
    # Twice: a held back interrupt that has its consequence is one, and the first that is heard then is another.
    try:
        try:
            interrupts.hear()
            code = _command_line()
        except BaseException as error:
            # What else goes wrong after an interrupt follows from it.
            if interrupts.first is None and not isinstance(error, KeyboardInterrupt):
                raise
            # It came before the command line would have said so.
            _say()
        interrupts.end()
    except KeyboardInterrupt:
        code = INTERRUPTED
        interrupts.end()
        _say()
    if interrupts.first is not None and code != 0:
        code = INTERRUPTED
    sys.exit(code)


def _command_line() -> int | str:
    """Run it; the exit code."""
    try:
        from hdlif.cli import main
    except ModuleNotFoundError:
        raise
    except (MemoryError, ImportError):
        # What prints an error of ours is not there yet.
        return "MachineError: there is not enough memory to start; close other programs, or raise the limit (ulimit -v)"
    try:
        main()
    except SystemExit as end:
        return end.code or 0
    return 0


if __name__ == "__main__":
    program()
