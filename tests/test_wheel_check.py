"""What an installed wheel is tried with: `tests/wheel_check.py`."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CHECK = Path(__file__).with_name("wheel_check.py")
WITHOUT = """
import os, sys
flags = ("O_CLOEXEC", "O_NOFOLLOW", "O_NONBLOCK")
for name in (*flags, "fork", "geteuid", "getuid", "register_at_fork", "sched_getaffinity"):
    if hasattr(os, name):
        delattr(os, name)
sys.modules.update(dict.fromkeys(("fcntl", "grp", "pwd", "resource", "termios")))
"""
"""Python imports it before anything else, in the processes that the check starts too."""


def test_a_network_is_written_and_run_as_on_windows(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(WITHOUT)
    paths = os.pathsep.join([str(tmp_path), *sys.path])
    command = [sys.executable, str(CHECK)]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "runs on Python" in done.stdout


@pytest.mark.network
@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux" or platform.machine() != "x86_64", reason="needs Linux on x86-64")
def test_a_wheel_for_old_systems_is_built_and_runs_where_there_is_no_compiler(tmp_path: Path) -> None:
    """Two minutes of a processor, and as many again where zig has not yet compiled its standard library."""
    target = "manylinux_2_17_x86_64"
    command = [sys.executable, str(ROOT / ".ci/wheels.py"), "--out", str(tmp_path), target]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.iterdir()
    assert target in wheel.name
    assert "runs on Python" in done.stdout
