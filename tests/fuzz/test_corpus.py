"""Each fuzz target runs its whole corpus, under limits of time and memory: what fuzzing found stays found."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import driver

FOLDER = Path(__file__).parent
TARGETS = sorted(path.stem.removeprefix("fuzz_") for path in FOLDER.glob("fuzz_*.py"))


def run(*arguments: str | Path, timeout: float = 300) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=timeout,
    )


@pytest.mark.parametrize("name", sorted(set(TARGETS) - {"checkpoint", "recipe"}))
def test_the_corpus_gives_no_finding(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    """Those of the two others, which take longer, begin the runs below."""
    corpus = sorted((FOLDER / "corpus" / name).iterdir())
    assert corpus, "a corpus without a seed"
    target = importlib.import_module(f"fuzz_{name}").target
    assert driver.replay(target, corpus) == 0, capfd.readouterr().out[-4000:]


@pytest.mark.slow
@pytest.mark.parametrize("name", TARGETS)
def test_twenty_seconds_more(name: str) -> None:
    result = run(FOLDER / f"fuzz_{name}.py", "--seconds", "20")
    assert result.returncode == 0, result.stdout[-4000:]


FAULTY = f"""
import sys
sys.path.insert(0, {str(FOLDER)!r})
import driver

def target(data):
    assert data[:1] in (b"", b"a")

driver.main(target, "faulty", seeds=[b"abc"])
"""


def test_a_fault_is_found_and_its_input_kept(tmp_path: Path) -> None:
    script = tmp_path / "fuzz_faulty.py"
    script.write_text(FAULTY)
    result = run(script, "--plain", "--seconds", "30", "--corpus", tmp_path / "corpus")
    assert (result.returncode, "AssertionError" in result.stdout) == (1, True), result.stdout
    (found,) = (tmp_path / "corpus").iterdir()
    assert run(script, "--replay", found).returncode == 1
