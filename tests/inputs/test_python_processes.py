"""No file of the working folder runs in a Python process that `hdlif` starts, unless a recipe names it."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import hdlif
from hdlif.inputs.python_processes import module_command
from hdlif.report.child_process import hear

SCRIPT = str(Path(sys.executable).with_name("hdlif"))
TRAIN = ("train", "digits_hdlif", "--set", "training.epochs=1", "--set", "model.width=4", "--memory-repeats", "1")


@pytest.fixture
def poisoned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, in which whatever imports json dies and leaves a file."""
    (tmp_path / "json.py").write_text("open('ran', 'w').close()\nraise SystemExit('json.py of the working folder')\n")
    # It starts a process as multiprocessing does for data loaders.
    (tmp_path / "mine.py").write_text(
        "import subprocess, sys\nfrom hdlif.learning import SLTT as Mine\n"
        "subprocess.run([sys.executable, '-c', 'import json'], check=True)\n"
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_one_function_makes_the_commands_of_all_python_processes() -> None:
    root = Path(hdlif.__file__).parent
    starts = re.compile(r"sys\.executable|\bmultiprocessing\b|os\.(exec|spawn|posix_spawn|system)")
    found = [path.relative_to(root).as_posix() for path in root.rglob("*.py") if starts.search(path.read_text("utf-8"))]
    assert found == ["inputs/python_processes.py"]


def test_processes_import_nothing_from_the_working_folder(poisoned: Path) -> None:
    assert hear(module_command("hdlif.report.small_graphs")).lines
    assert not (poisoned / "ran").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        [SCRIPT, *TRAIN, "--set", "rule={kind: 'mine:Mine'}"],
        [*module_command("hdlif"), *TRAIN, "--devices", "2"],
    ],
    ids=("script", "module, on two devices"),
)
def test_subcommands_run_nothing_from_the_working_folder(command: list[str], poisoned: Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not (poisoned / "ran").exists()
    assert "could not be measured" not in done.stderr
