"""The part of a help text that shows real commands, which tests parse and, where that is cheap, run."""

from collections.abc import Callable
from typing import TypeVar

import click

C = TypeVar("C", bound=click.Command)

_HEAD = "\b\nExamples:\n"


def examples(*lines: tuple[str, str]) -> Callable[[C], C]:
    """End a command's help with examples.

    Args:
        lines: what is typed, and a short remark on it.
    """

    def add(command: C) -> C:
        command.epilog = _HEAD + "\n".join(f"  # {remark}\n  {line}" for line, remark in lines)
        return command

    return add


def examples_of(command: click.Command) -> list[tuple[str, str]]:
    """What `examples` was given for it: what is typed, and the remark on it."""
    text = command.epilog or ""
    if not text.startswith(_HEAD):
        return []
    lines = text.removeprefix(_HEAD).split("\n")
    return [
        (line.strip(), remark.strip().removeprefix("# ")) for remark, line in zip(lines[::2], lines[1::2], strict=True)
    ]
