"""How a tour is shown, and what is asked on the way: with colours on a terminal, as plain text elsewhere."""

import os
import shlex
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

from hdlif.cli.output import put, say
from hdlif.commands.tour import Step, begin, draw_picture
from hdlif.errors import TrainingError, printable, printable_lines
from hdlif.inputs.python_processes import module_command

WIDTH = 88
INTERRUPTED = 130
PATIENCE = 20.0
"""Seconds that a command gets to leave its files whole after Ctrl-C, which reaches it too."""


def go(out: Path, *, ask: bool) -> None:
    """Show each step, and run its command where Enter is pressed, or without asking.

    Raises:
        MissingExtraError, ExistingRunError: as `hdlif.commands.tour.begin`.
        TrainingError: a command has failed.
        KeyboardInterrupt: Ctrl-C, also while a command ran.
    """
    steps = begin(out)
    colours = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    for number, step in enumerate(steps, 1):
        picture = draw_picture(out) if step.shows and step.needs and step.needs.exists() else None
        title = f"{number} of {len(steps)}: {step.title}"
        put(_in_colours(title, step, picture) if colours else _plain(title, step, picture))
        if not step.command:
            return
        if step.needs is not None and not step.needs.exists():
            put("  Left out: it needs what a skipped step makes.\n")
            continue
        answer = _answer() if ask else ""
        if answer == "q":
            put(f"  What was made is in {printable(str(out))}.")
            return
        if answer == "s":
            put("")
            continue
        code = _run(step.command)
        if code == INTERRUPTED:
            raise KeyboardInterrupt
        if code:
            raise TrainingError(f"`{_typed(step.command)}` ended with {code}; its message stands above")
        put("")


def _typed(command: Sequence[str]) -> str:
    return printable(shlex.join(["hdlif", *command]))


def _paragraphs(step: Step) -> str:
    """A line that is longer than the page is folded; a list of several lines stays as it is."""
    text = printable_lines(step.text)
    lines = [text] if "\n" not in text else text.split("\n")
    return "\n".join("\n".join(textwrap.wrap(line, WIDTH - 4)) if len(lines) == 1 else line for line in lines)


def _plain(title: str, step: Step, picture: list[list[int]] | None) -> str:
    text = f"{title}\n\n{textwrap.indent(_paragraphs(step), '  ')}\n"
    if picture:
        text += "\n" + "\n".join(
            "    " + "".join(" .:-=+*#%@"[value * 9 // 255] * 2 for value in row) for row in picture
        )
        text += "\n"
    return text + (f"\n  $ {_typed(step.command)}\n" if step.command else "")


def _in_colours(title: str, step: Step, picture: list[list[int]] | None) -> str:
    from rich.console import Console, Group, RenderableType
    from rich.padding import Padding
    from rich.rule import Rule
    from rich.text import Text

    parts: list[RenderableType] = [Rule(Text(title, "bold cyan"), style="cyan", align="left"), Text()]
    parts.append(Padding(Text(_paragraphs(step)), (0, 2)))
    if picture:
        rows = [Text().join(Text("  ", f"on rgb({value},{value},{value})") for value in row) for row in picture]
        parts += [Text(), Padding(Group(*rows), (0, 4))]
    if step.command:
        typed = Text.assemble(("$ ", "green"), (_typed(step.command), "bold"))
        parts += [Text(), Padding(typed, (0, 2)), Text()]
    page = Console(force_terminal=True, highlight=False)
    page.width = min(page.width, WIDTH)
    with page.capture() as captured:
        page.print(Group(*parts))
    return captured.get().rstrip("\n") + "\n"


def _answer() -> str:
    """ "" for Enter, s or q; the end of standard input is q."""
    while True:
        put("  Enter runs it, s skips it, q quits: ", nl=False)
        line = sys.stdin.readline()
        if not line:
            put("")
            say("standard input has ended; --yes runs all steps without asking")
            return "q"
        answer = line.strip().lower()
        if answer in ("", "s", "q"):
            return answer


def _run(command: Sequence[str]) -> int:
    """The exit code of `hdlif` with these words, in a process of its own, which writes to this terminal."""
    sys.stdout.flush()
    child = subprocess.Popen(module_command("hdlif", *command))
    try:
        return child.wait()
    except KeyboardInterrupt:
        try:
            child.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            child.kill()
        raise
