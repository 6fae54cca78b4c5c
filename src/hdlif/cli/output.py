"""Write messages to standard output and standard error. After an interrupt, add the command to resume."""

import contextlib
import json
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import click

from hdlif.errors import OutputError, printable_lines, reason


def show(result: dict[str, Any], as_json: bool, text: Callable[[], str]) -> None:
    """Print a command's result, either as JSON or as text."""
    # JSON escapes all control characters except DEL, to which a terminal would react.
    put(json.dumps(result).replace("\x7f", "\\u007f") if as_json else printable_lines(text()))


def put(text: str, *, nl: bool = True) -> None:
    """Write a result to standard output, followed by a line break.

    Raises:
        OutputError: writing fails.
        BrokenPipeError: the reader of the pipe has closed it.
    """
    try:
        click.echo(_encodable(text, sys.stdout.encoding), nl=nl)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise full(error) from error


def full(error: OSError) -> OutputError:
    """Return the error that reports a failed write to standard output."""
    return OutputError(f"standard output cannot be written ({reason(error)}); free space, or redirect it elsewhere")


def say(line: str) -> None:
    """Write a line to standard error, ignoring write errors."""
    with contextlib.suppress(OSError):
        click.echo(_encodable(printable_lines(line), getattr(sys.stderr, "encoding", None)), err=True)


def _encodable(text: str, encoding: str | None) -> str:
    """Return `text` with escapes for characters that `encoding` cannot represent."""
    return text.encode(encoding or "utf-8", "backslashreplace").decode(encoding or "utf-8")


@contextlib.contextmanager
def saying_how_to_go_on(*added: str) -> Iterator[None]:
    """Append the resume command to the message printed after an interrupt or termination.

    Args:
        added: options to append to the current command, without --overwrite.
    """
    try:
        yield
    except KeyboardInterrupt as interrupt:
        if interrupt.args:
            interrupt.args = (f"{interrupt.args[0]}; continue with: {_again(added)}",)
        raise
    except SystemExit as ended:
        for place in getattr(ended, "__notes__", ()):
            say(f"terminated {place}; continue with: {_again(added)}")
        raise


def _again(added: Sequence[str]) -> str:
    words = [word for word in sys.argv[1:] if word not in ("--overwrite", *added)]
    return shlex.join(["hdlif", *words, *added])
