"""docs/your_own_pictures.md can be followed from its first to its last line."""

import contextlib
import io
import re
import sys
from pathlib import Path

import pytest

from hdlif.builders.found import arguments
from hdlif.cli import main

PAGE = (Path(__file__).parents[2] / "docs" / "your_own_pictures.md").read_text("utf-8")


def test_every_command_of_the_page_runs_in_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec(code, {})
    said = {}
    for line in re.findall(r"^    hdlif (.*)$", PAGE, re.MULTILINE):
        verb, *rest = line.split()
        quick = ["--set", "training.epochs=4", "--memory-repeats", "0"] if verb == "train" else []
        monkeypatch.setattr(sys, "argv", ["hdlif", verb, *rest, *quick])
        with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()):
            main()
        said[verb] = out.getvalue()
    assert list(said) == ["data", "train", "eval", "export", "run"]
    assert "zero" in said["data"]
    answers = [line.split(": ")[1].split()[0] for line in said["run"].splitlines()]
    assert answers.count("two") > 0.8 * len(answers)
    assert (tmp_path / "sheet.png").exists()


def test_every_key_of_a_folder_has_its_row() -> None:
    assert arguments("folder") - {"path"} <= set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE))
