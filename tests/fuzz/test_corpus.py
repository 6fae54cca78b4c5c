"""What fuzzing found stays found: each target runs its whole corpus, under limits of time and memory."""

import importlib.util
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
import sys, time
sys.path.insert(0, {str(FOLDER)!r})
import driver

def target(data):
    match data[:1]:
        case b"e": raise ValueError("a fault")
        case b"t": time.sleep(60)
        case b"m": bytearray(2 * 10**9)
        case b"s": import ctypes; ctypes.string_at(0)

driver.main(target, "faulty", seeds=[b"abc"])
"""


@pytest.mark.parametrize("first", [b"a", b"e", b"t", b"m", b"s"], ids=["none", "exception", "time", "memory", "crash"])
def test_each_kind_of_finding_is_noticed(first: bytes, tmp_path: Path) -> None:
    script, data = tmp_path / "fuzz_faulty.py", tmp_path / "input"
    script.write_text(FAULTY)
    data.write_bytes(first)
    result = run(script, "--timeout", "1", "--memory-mb", "500", "--replay", data)
    assert result.returncode == int(first != b"a"), result.stdout


MODES = ["--plain"] + [""] * (importlib.util.find_spec("atheris") is not None)


@pytest.mark.parametrize("mode", MODES)
def test_a_fault_is_found_and_its_input_kept(mode: str, tmp_path: Path) -> None:
    script = tmp_path / "fuzz_faulty.py"
    script.write_text(FAULTY.replace("data[:1]", 'data[:1] and b"e"'))
    arguments = ["--seconds", "5", "--corpus", tmp_path / "corpus", *filter(None, [mode])]
    result = run(script, *arguments)
    assert result.returncode == 1, result.stdout
    assert "a fault" in result.stdout
    (found,) = (tmp_path / "corpus").iterdir()
    assert run(script, "--replay", found).returncode == 1
