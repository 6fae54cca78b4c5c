"""Pages of the documentation that are followed from their first to their last line."""

import contextlib
import importlib
import io
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import pytest

from command_line import hdlif

_STEP = re.compile(
    r"^```(?P<language>python|text)(?: title=\"(?P<title>[^\"]+)\")?\n(?P<block>.*?)^```$"
    r"|^    (?P<command>(?:hdlif|make -C) [^\n]*)$",
    re.MULTILINE | re.DOTALL,
)
DIFFERS = "yours will differ"
"""The title of an output that depends on the machine, its versions or its threads."""


class Step(NamedTuple):
    """One thing that a reader does, or sees.

    Attributes:
        kind: "python", "file" (a block of Python whose title is its file), "command", or "output" (a block of text).
        title: a file's name, or `DIFFERS`.
    """

    kind: str
    text: str
    title: str | None = None


def page(name: str) -> str:
    """Return the text of docs/NAME.md, as in "how_to/serving", or of one section of it, as in "how_to/series#Audio"."""
    name, _, heading = name.partition("#")
    text = (Path(__file__).parents[1] / "docs" / f"{name}.md").read_text("utf-8")
    if not heading:
        return text
    (section,) = (one for one in re.split(r"^(?=## )", text, flags=re.MULTILINE) if one.startswith(f"## {heading}\n"))
    return section


def blocks(text: str, language: str) -> list[str]:
    """The blocks of a page that are in one language."""
    found: list[str] = re.findall(rf"```{language}[^\n]*\n(.*?)```", text, re.DOTALL)
    return found


def steps(text: str) -> Iterator[Step]:
    """What there is to do and to see on a page, in its order."""
    for found in _STEP.finditer(text):
        if found["command"]:
            yield Step("command", found["command"])
        elif found["language"] == "text":
            yield Step("output", found["block"], found["title"])
        else:
            yield Step("file" if found["title"] else "python", found["block"], found["title"])


def followed(
    text: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    training: Sequence[str] | None = None,
    without: Sequence[str] = (),
    names: dict[str, object] | None = None,
) -> dict[str, str]:
    """Run the page's Python and its commands in a folder, in turn; what each verb has printed at last.

    Each output that the page shows must be that of the step before it (`check_output`).

    Args:
        training: what `hdlif train` is given besides, so that it is quick; None trains as the page does.
        without: programs, such as "make", whose commands are left out.
        names: of Python, of a part of the page before; those of this part are added.
    """
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])
    names = {} if names is None else names
    names["__name__"] = "page"
    said: dict[str, str] = {}
    seen: str | None = ""
    for step in steps(text):
        if step.kind == "output":
            if seen is not None:
                check_output(step.text, seen, numbers_differ=step.title == DIFFERS)
        elif step.kind == "file":
            assert step.title is not None
            (folder / step.title).write_text(step.text, "utf-8")
            forget(step.title.removesuffix(".py"), monkeypatch)
        elif step.kind == "python":
            with contextlib.redirect_stdout(io.StringIO()) as out:
                exec(compile(step.text, "a block of the page", "exec"), names)
            seen = out.getvalue()
        else:
            program, *arguments = shlex.split(step.text, comments=True)
            if program in without:
                seen = None
            elif program == "hdlif":
                quick = [*training, "--memory-repeats", "0"] if arguments[0] == "train" and training is not None else []
                ran = hdlif(*arguments, *quick)
                assert not ran.returncode, f"{step.text} ended with {ran.returncode}: {ran.stderr}"
                said[arguments[0]], seen = ran.stdout, ran.stdout + ran.stderr
            else:
                # An emulated device speaks on standard error.
                done = subprocess.run(
                    [program, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
                )
                assert done.returncode == 0, f"{step.text}: {done.stdout}"
                said[program] = seen = done.stdout
    return said


def check_output(shown: str, seen: str, *, numbers_differ: bool = False) -> None:
    """Refuse a page that shows what was not printed.

    Each line that the page shows must have been printed, in this order; others may stand between them. Spaces count
    as one, and a … stands for anything.

    Args:
        numbers_differ: any number is as good as another, and so is any class beside its probability.
    """

    def plain(line: str) -> str:
        line = " ".join(line.split())
        if numbers_differ:
            # A dot is the 0 of a table.
            line = re.sub(r"\d[\d,.]*|·", "0", re.sub(r"-{2,}", "--", line))
            line = re.sub(r"\w+ \(0%\)", "class (0%)", line)
        return line

    left = iter(plain(line) for line in seen.splitlines())
    for line in filter(None, map(plain, shown.splitlines())):
        pattern = ".*".join(map(re.escape, line.split("…")))
        assert any(re.fullmatch(pattern, one) for one in left), f"the page shows {line!r}, and printed was:\n{seen}"


def forget(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Import a module anew, and leave none of this name after the test."""
    importlib.invalidate_caches()
    monkeypatch.setitem(sys.modules, module, ModuleType(module))
    del sys.modules[module]


def keys_in_rows(text: str) -> set[str]:
    """The keys that head a row in a table of the page, alone or several."""
    heads = re.findall(r"^\| (`[^|]*?) \|", text, re.MULTILINE)
    return {key for head in heads for key in re.findall(r"`(\w+)`", head)}
