"""Pages of the documentation that are followed from their first to their last line."""

import contextlib
import io
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from hdlif.cli import main


def page(name: str) -> str:
    """The text of docs/NAME.md, where NAME is "how_to/serving" and the like."""
    return (Path(__file__).parents[1] / "docs" / f"{name}.md").read_text("utf-8")


def followed(text: str, folder: Path, monkeypatch: pytest.MonkeyPatch, *, training: Sequence[str]) -> dict[str, str]:
    """Run the page's one piece of Python in a folder, and its commands in turn; what each verb has printed.

    Args:
        training: what `hdlif train` is given besides, so that it is quick.
    """
    monkeypatch.chdir(folder)
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    exec(code, {})
    said = {}
    for line in re.findall(r"^    hdlif (.*)$", text, re.MULTILINE):
        verb, *rest = shlex.split(line)
        quick = [*training, "--memory-repeats", "0"] if verb == "train" else []
        monkeypatch.setattr(sys, "argv", ["hdlif", verb, *rest, *quick])
        with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()):
            main()
        said[verb] = out.getvalue()
    return said


def keys_in_rows(text: str) -> set[str]:
    """The keys that have a row in a table of the page."""
    return set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE))
