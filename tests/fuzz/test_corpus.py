"""Each fuzz target runs its whole corpus, under limits of time and memory: what fuzzing found stays found."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

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


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow) if name in ("checkpoint", "recipe") else name for name in TARGETS],
)
def test_the_corpus_gives_no_finding(name: str) -> None:
    corpus = sorted((FOLDER / "corpus" / name).iterdir())
    assert corpus, "a corpus without a seed"
    result = run(FOLDER / f"fuzz_{name}.py", "--replay", *corpus)
    assert result.returncode == 0, result.stdout[-4000:]
    assert f"{len(corpus)} inputs: no finding" in result.stdout


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
