"""Run the command line in its own process and handle Ctrl-C. `python -m hdlif` is the same as `hdlif`.

The first SIGINT raises KeyboardInterrupt, so hdlif can remove partial files and end its child processes. Further
signals are ignored for `PATIENCE` seconds; after that, a signal ends the process immediately. During training,
`hdlif.training.interruption` handles the first SIGINT and delays it until the training state is complete. A second
SIGINT raises KeyboardInterrupt. After an interrupt, the exit code is 130, and no traceback is shown.

While a compiled module is imported, KeyboardInterrupt is unsafe: some modules abort, and others raise a different
error. A SIGINT during an import therefore ends the process immediately, without loss of work.
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
    """A SIGINT handler that is active from the call of `hear` to the call of `end`.

    `first` is the time at which the first SIGINT arrived.
    """

    def __init__(self) -> None:
        self.first: float | None = None
        self._process = os.getpid()

    def hear(self) -> None:
        """Install the SIGINT handler, unless the process was started with SIGINT ignored."""
        if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
            signal.signal(signal.SIGINT, self._come)
            sys.unraisablehook = self._unraisable

    def end(self) -> None:
        """Ignore SIGINT, because an interrupt during the interpreter's shutdown would show a traceback."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    def _come(self, _: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        # A forked process, such as a data-loading worker, has no files of its own to complete.
        forked = os.getpid() != self._process
        if forked or _importing(frame) or (self.first is not None and now - self.first > PATIENCE):
            self._leave(say=not forked)
        if self.first is None:
            self.first = now
            raise KeyboardInterrupt

    def _unraisable(self, what: _Unraisable) -> None:
        # The exception was raised in a finalizer, where Python would drop it.
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
    """Run the command line, then exit the process with the resulting exit code."""
    # Fabric and data loaders start processes that would search the working folder first; hdlif's own have -P.
    os.environ["PYTHONSAFEPATH"] = "1"
    interrupts = Interrupts()
    code: int | str | None = INTERRUPTED
    # Two levels: a held-back interrupt may end the command line, and the first SIGINT handled here may follow it.
    try:
        try:
            interrupts.hear()
            code = _command_line()
        except BaseException as error:
            # Any other error after an interrupt is a consequence of it.
            if interrupts.first is None and not isinstance(error, KeyboardInterrupt):
                raise
            # The interrupt came before the command line could report it.
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
    """Run the command line and return its exit code."""
    try:
        from hdlif.cli import main
    except ModuleNotFoundError:
        raise
    except (MemoryError, ImportError):
        # The code that prints hdlif's errors is not loaded yet.
        return "MachineError: there is not enough memory to start; close other programs, or raise the limit (ulimit -v)"
    try:
        main()
    except SystemExit as end:
        return end.code or 0
    return 0


if __name__ == "__main__":
    program()
