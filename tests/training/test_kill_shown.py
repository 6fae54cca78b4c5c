"""A training process that is killed again and again, and resumed each time."""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hdlif.training import checkpoint
from training import tiny
from training.test_loop import events


def start(out: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    process = subprocess.Popen(
        [sys.executable, tiny.__file__, str(out)], env=environment, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def last_written(out: Path) -> int:
    """When last.safetensors was written, in nanoseconds; 0 where there is none."""
    path = out / "last.safetensors"
    return path.stat().st_mtime_ns if path.exists() else 0


@pytest.mark.kill
def test_training_killed_at_random_moments_ends_with_the_same_bytes(tmp_path: Path) -> None:
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    assert start(straight).wait(timeout=120) == 0
    moments, steps = random.Random(0), set()
    for kill in range(6):
        before = last_written(killed)
        process = start(killed)
        # The first kill comes before there is a checkpoint; the others after some progress, however slow.
        while kill > 0 and last_written(killed) == before and process.poll() is None:
            time.sleep(0.005)
        time.sleep(moments.uniform(0.0, 0.1))
        process.kill()
        process.wait()
        # Whatever is there under its final name is whole.
        records = {path.name: checkpoint.load(path)[1] for path in killed.glob("*.safetensors")}
        if "last.safetensors" in records:
            steps.add(records["last.safetensors"]["counters"]["step"])
    print(sorted(steps))
    assert len(steps) > 1, "all kills came before the training had begun, or after it had ended"
    assert start(killed).wait(timeout=120) == 0
    assert (killed / "model.safetensors").read_bytes() == (straight / "model.safetensors").read_bytes()
    assert events(killed) == events(straight)
    assert {path.name for path in killed.iterdir()} == {path.name for path in straight.iterdir()}


@pytest.mark.kill
def test_signal_from_outside_ends_the_process_with_its_exit_code(tmp_path: Path) -> None:
    process = start(tmp_path)
    while not (tmp_path / "last.safetensors").exists():
        time.sleep(0.01)
    process.terminate()
    assert process.wait(timeout=60) == 143
    assert checkpoint.load(tmp_path / "last.safetensors")[1]["counters"]["step"] > 0
