"""A test that dies or hangs ends the run, with its name, under the options of `make test`."""

import os
import re
import shlex
import shutil
import subprocess
import tomllib
from itertools import takewhile
from pathlib import Path

import pytest

from time_limits import SLOW_SECONDS, TIERS

PROJECT = Path(__file__).parents[1]

pytestmark = pytest.mark.skipif(
    shutil.which("make") is None or not (PROJECT / ".venv/bin/pytest").exists(), reason="needs make, and its .venv"
)

STUCK = {
    "in Python": "time.sleep(600)",
    # A lock that is taken twice by code that keeps Python's own: no signal handler and no thread of Python runs.
    "in C with Python's lock": (
        "mutex = ctypes.create_string_buffer(256); lock = ctypes.PyDLL(None).pthread_mutex_lock; "
        "lock(mutex); lock(mutex)"
    ),
}
GIVEN_TO_MAKE = ("MAKEFLAGS", "MAKEOVERRIDES", "PYTEST_ARGS")
DEAD = {"left": "os._exit(0)", "crashed": "os.kill(os.getpid(), signal.SIGSEGV)"}


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


def run(folder: Path, body: str, *limits: str, target: str = "test") -> str:
    """What `make TARGET` prints on a project with such a test among others, within 100 seconds."""
    (folder / "test_first.py").write_text(
        "import ctypes, os, signal, time, pytest\n"
        "def test_before(): pass\n"
        f"def test_the_culprit():\n    {body}\n"
        "def test_after(): pass\n"
    )
    (folder / "test_second.py").write_text("".join(f"def test_other_{i}(): pass\n" for i in range(20)))
    (folder / "conftest.py").write_text('pytest_plugins = ["time_limits"]\n')
    printed = ""
    for command in commands_of(target):
        command += [
            "-c", str(PROJECT / "pyproject.toml"), f"--rootdir={folder}", "-p", "no:cacheprovider", "-n", "2", *limits,
            str(folder),
        ]  # fmt: skip
        environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
        done = subprocess.run(
            command, cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=100, check=False
        )
        assert done.returncode != 0, done.stdout
        printed += done.stdout + done.stderr
    return printed


@pytest.mark.parametrize("body", [DEAD["left"], pytest.param(DEAD["crashed"], marks=pytest.mark.slow)], ids=DEAD)
def test_a_dead_worker_ends_the_run_with_the_name_of_its_test(tmp_path: Path, body: str) -> None:
    printed = run(tmp_path, body)
    assert re.search(r"worker 'gw\d' crashed while running '\S*test_first.py::test_the_culprit'", printed), printed


@pytest.mark.parametrize(
    "body",
    [pytest.param(body, marks=pytest.mark.slow) for name, body in STUCK.items()],
    ids=STUCK,
)
def test_a_stuck_test_ends_with_its_name(tmp_path: Path, body: str) -> None:
    printed = run(tmp_path, body, "--timeout=1", "-o", "faulthandler_timeout=3")
    assert "test_first.py::test_the_culprit" in printed, printed
    assert re.search(r"Timeout \(>1\.0s\)|crashed while running", printed), printed


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


@pytest.mark.slow
def test_slower_tiers_have_longer_limits(tmp_path: Path) -> None:
    """What outlasts the limit of the default tier is failed by itself, not by the limit."""
    (tmp_path / "test_tiers.py").write_text(
        "import time, pytest\n"
        + "".join(
            f"@pytest.mark.{tier}\ndef test_{tier}():\n    time.sleep(1.5); raise RuntimeError('{tier} outlasted')\n"
            for tier in TIERS
        )
    )
    printed = run(tmp_path, "pass", "--timeout=1", target="test-slow")
    assert all(f"{tier} outlasted" in printed for tier in TIERS)
    assert "Timeout" not in printed
