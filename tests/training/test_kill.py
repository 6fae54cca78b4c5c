"""Training processes that are killed again and again, and resumed each time."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hdlif.training import checkpoint
from training import killed, tiny
from training.test_loop import events, model_bytes, scalars


@pytest.mark.kill
def test_training_killed_at_fifty_random_moments_ends_with_the_same_bytes(tmp_path: Path) -> None:
    straight, out = tmp_path / "straight", tmp_path / "killed"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, killed.__file__, str(out), "50"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    fell = json.loads(done.stdout)
    assert set(killed.PHASES) <= set(fell), "some stage of the writing was never hit"
    assert sum(fell[phase] for phase in killed.PHASES) == 50, "the training had ended before the last kill"
    tiny.train(straight, epochs=killed.EPOCHS)
    assert model_bytes(out) == model_bytes(straight)
    # A kill between the two names leaves the one before, which is told.
    assert [event for event in events(out) if event["event"] != "fallback"] == events(straight)
    for tag in ("train/loss", "validation/accuracy"):
        assert scalars(out, tag) == scalars(straight, tag)
    assert {path.name for path in out.iterdir()} == {path.name for path in straight.iterdir()}
    for path in out.glob("*.safetensors"):
        checkpoint.load(path)
