"""Options of `make test`, by which a test that dies or hangs ends the run with its name."""

import os
import shlex
import shutil
import subprocess
import tomllib
from itertools import takewhile
from pathlib import Path

import pytest

from time_limits import SLOW_SECONDS

PROJECT = Path(__file__).parents[1]

pytestmark = pytest.mark.skipif(
    shutil.which("make") is None or not (PROJECT / ".venv/bin/pytest").exists(), reason="needs make, and its .venv"
)
GIVEN_TO_MAKE = ("MAKEFLAGS", "MAKEOVERRIDES", "PYTEST_ARGS")


def commands_of(target: str) -> list[list[str]]:
    """The command lines of a target of the Makefile, from pytest on."""
    lines = (
        subprocess.run(
            ["make", "--dry-run", "--no-print-directory", target],
            cwd=PROJECT,
            # Not with the arguments of the make that runs this test.
            env={name: value for name, value in os.environ.items() if name not in GIVEN_TO_MAKE},
            capture_output=True,
            text=True,
            check=True,
        )
        .stdout.replace("\\\n", " ")
        .splitlines()
    )
    words = shlex.split(next(line for line in lines if "/pytest " in line))
    starts = [i for i, word in enumerate(words) if word.endswith("/pytest")]
    return [list(takewhile(lambda word: word != "||", words[start:])) for start in starts]


def test_the_limits_stand_in_the_options() -> None:
    """Each tier ends what hangs in Python before it ends the process of what hangs elsewhere."""
    ini = tomllib.loads((PROJECT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]
    assert ini["faulthandler_exit_on_timeout"] is True
    assert 0 < ini["timeout"] <= 300
    for target, limit in (("test", ini["timeout"]), ("test-slow", SLOW_SECONDS)):
        for options in commands_of(target):
            assert "--max-worker-restart=0" in options
            given = [word.partition("=")[2] for word in options if word.startswith("faulthandler_timeout=")]
            assert limit < float(given[-1] if given else ini["faulthandler_timeout"]) <= 2 * limit
