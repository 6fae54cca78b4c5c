"""docs/your_own_sensor_data.md can be followed from its first to its last line."""

import contextlib
import io
import re
import shlex
import sys
from pathlib import Path

import pytest

from hdlif.builders.found import arguments
from hdlif.cli import main

PAGE = (Path(__file__).parents[2] / "docs" / "your_own_sensor_data.md").read_text("utf-8")


def test_every_command_of_the_page_runs_in_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec(code, {})
    said = {}
    for line in re.findall(r"^    hdlif (.*)$", PAGE, re.MULTILINE):
        verb, *rest = shlex.split(line)
        # Fewer windows, an epoch of which is enough to tell a run.
        quick = ["--set", "training.epochs=2", "--set", "data.stride=64", "--memory-repeats", "0"]
        quick = quick if verb == "train" else []
        monkeypatch.setattr(sys, "argv", ["hdlif", verb, *rest, *quick])
        with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()):
            main()
        said[verb] = out.getvalue()
    assert list(said) == ["data", "train", "eval", "export", "run"]
    assert "groups         ann, bob, cem, dora, eve, finn" in said["data"]
    assert said["run"].startswith("window.csv: run (")


def test_every_key_of_series_has_its_row() -> None:
    assert arguments("series") - {"path"} <= set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE))
