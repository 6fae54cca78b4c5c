"""Training processes that are killed again and again, and resumed each time."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from hdlif.training import checkpoint
from training import killed, several_ranks, tiny
from training.test_interruption import curves
from training.tiny import events, model_bytes


@pytest.mark.slow
def test_training_killed_at_fifty_random_moments_ends_with_the_same_bytes(tmp_path: Path) -> None:
    straight, out = tmp_path / "straight", tmp_path / "killed"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, killed.__file__, str(out), "50", "15"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    fell = json.loads(done.stdout)
    met = {kind: sum(counts.get(phase, 0) for phase in killed.PHASES) for kind, counts in fell.items()}
    assert met == {"random": 50, "aimed": 15}, "the training had ended before the last kill"
    assert set(killed.PHASES) <= fell["random"].keys() | fell["aimed"].keys(), "some stage of the writing was never hit"
    tiny.train(straight, epochs=killed.EPOCHS)
    assert model_bytes(out) == model_bytes(straight)
    # A kill between the two names leaves the one before, which the metrics say.
    assert [event for event in events(out) if event["event"] != "fallback"] == events(straight)
    assert curves(out) == curves(straight)
    assert {path.name for path in out.iterdir()} == {path.name for path in straight.iterdir()}
    for path in out.glob("*.safetensors"):
        checkpoint.load(path)


def last_written(out: Path) -> int:
    """When last.safetensors was written, in nanoseconds; 0 where there is none."""
    path = out / "last.safetensors"
    return path.stat().st_mtime_ns if path.exists() else 0


def elastic(out: Path, *, restarts: int) -> subprocess.Popen[bytes]:
    """Two workers that torchrun starts again from the last checkpoint where one of them dies."""
    paths = os.pathsep.join(p for p in sys.path if p)
    settings = {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
    settings |= several_ranks.NO_GPUS
    launcher = ["torch.distributed.run", "--standalone", "--nproc-per-node=2", f"--max-restarts={restarts}"]
    return subprocess.Popen(
        [sys.executable, "-m", *launcher, several_ranks.__file__, str(out)],
        env=os.environ | settings,
    )


def eventually(condition: Callable[[], object]) -> None:
    """Wait for `condition`, on a busy machine too, but not for ever."""
    deadline = time.monotonic() + 200
    while not condition():
        assert time.monotonic() < deadline, "the job does not go on"
        time.sleep(0.005)


def worker(out: Path, rank: int, *, besides: str = "") -> str:
    """The process of a rank, once there is one, and another than `besides`."""
    path = out.with_suffix(f".{rank}")
    eventually(lambda: path.exists() and path.read_text() not in ("", besides))
    return path.read_text()


@pytest.mark.slow
def test_job_whose_workers_are_killed_restarts_by_itself_and_ends_with_the_same_bytes(tmp_path: Path) -> None:
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    assert elastic(straight, restarts=0).wait(timeout=600) == 0
    job = elastic(killed, restarts=2)
    try:
        steps, first = [], [worker(killed, rank) for rank in range(2)]
        # The second kill is of the first rank, which torchrun has started again.
        for rank, besides in ((1, ""), (0, first[0])):
            victim, before = worker(killed, rank, besides=besides), last_written(killed)
            eventually(lambda before=before: last_written(killed) != before)
            os.kill(int(victim), signal.SIGKILL)
            steps.append(checkpoint.load(killed / "last.safetensors")[1]["counters"]["step"])
        assert job.wait(timeout=600) == 0
    finally:
        job.terminate()
    assert steps[0] < steps[1] < checkpoint.load(killed / "last.safetensors")[1]["counters"]["step"]
    assert (killed / "model.safetensors").read_bytes() == (straight / "model.safetensors").read_bytes()
    assert events(killed) == events(straight)
