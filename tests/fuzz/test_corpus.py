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


@pytest.mark.parametrize("name", sorted(set(TARGETS) - {"checkpoint", "recipe"}))
def test_the_corpus_gives_no_finding(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    """Those of the two others, which take longer, begin the runs below."""
    corpus = sorted((FOLDER / "corpus" / name).iterdir())
    assert corpus, "a corpus without a seed"
    target = importlib.import_module(f"fuzz_{name}").target
    assert driver.replay(target, corpus) == 0, capfd.readouterr().out[-4000:]


@pytest.mark.slow
@pytest.mark.parametrize("name", TARGETS)
def test_ten_seconds_more(name: str) -> None:
    command = [sys.executable, str(FOLDER / f"fuzz_{name}.py"), "--seconds", "10"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, text=True, capture_output=True, timeout=300)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]


def faulty(data: bytes) -> None:
    assert data[:1] in (b"", b"a")


def test_a_fault_is_found_and_its_input_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["fuzz_faulty", "--plain", "--seconds", "30", "--corpus", str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        driver.main(faulty, "faulty", seeds=[b"abc"])
    (found,) = tmp_path.iterdir()
    assert ended.value.code == driver.replay(faulty, [found]) == 1
