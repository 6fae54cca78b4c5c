"""Training processes that are killed again and again, and resumed each time."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from hdlif.training import checkpoint
from training import several_ranks, tiny
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


def elastic(out: Path, *, restarts: int) -> subprocess.Popen[bytes]:
    """Two workers that torchrun starts again from the last checkpoint where one of them dies."""
    paths = os.pathsep.join(p for p in sys.path if p)
    settings = {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
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


@pytest.mark.kill
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
