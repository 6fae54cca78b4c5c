"""Time and memory of an update of `Learner`, and of PyTorch's STBP, over sequences of growing length.

    OMP_NUM_THREADS=1 python benchmarks/bench_learning_time.py RUN [--out learning_time.json]

RUN is a finished training of a network of time series whose leaks and thresholds are shared over time. Both sides get
the same random sequences, 8 in an update, and one thread. `Learner` learns from every step; PyTorch trains all weights
by STBP with AdamW. They take turns, `ROUNDS` times. Memory is what an update adds to the resident memory of a fresh
process that has the network and the sequences; `Learner` takes them step by step there.
"""

import argparse
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from hdlif.graph.learning import LEVELS, Level
from hdlif.recipe.runs.checkpoints import Trained, load_trained
from hdlif.report.peak_memory import in_fresh_processes, resident_growth
from hdlif.report.tables import aligned
from hdlif.runtime.learning import Learner
from recorded import write_record

BATCH, ROUNDS = 8, 5
STEPS = (4, 16, 64, 256, 1024)
STBP = "STBP"
Update = Callable[[NDArray[np.float32], NDArray[np.int64]], object]
"""Trains a network on sequences [T, N, C, 1, 1] and their classes; the result is not used."""


def sequences(trained: Trained, steps: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    graph, rng = trained.graph(), np.random.default_rng(0)
    x = rng.standard_normal((steps, BATCH, *graph.input.shape), np.float32)
    return x, rng.integers(0, len(graph.labels), BATCH)


def by_stbp(trained: Trained) -> Update:
    network = trained.network.eval()
    optimizer = torch.optim.AdamW(network.parameters(), 1e-4)

    def update(x: NDArray[np.float32], y: NDArray[np.int64]) -> None:
        logits, _ = network(torch.from_numpy(x), steps=range(len(x)))
        optimizer.zero_grad()
        F.cross_entropy(logits.mean(0), torch.from_numpy(y)).backward()
        optimizer.step()

    return update


def step_by_step(trained: Trained, level: Level) -> Update:
    learner = Learner(trained.graph(), level, threads=1)

    def update(x: NDArray[np.float32], y: NDArray[np.int64]) -> None:
        state = None
        for frame in x:
            _, state = learner.step(frame, state, targets=y)
        learner.update()

    return update


def milliseconds(trained: Trained, steps: int) -> dict[str, list[float]]:
    x, y = sequences(trained, steps)
    updates: dict[str, Update] = {level: Learner(trained.graph(), level, threads=1).learn for level in LEVELS}
    updates[STBP] = by_stbp(trained)
    found: dict[str, list[float]] = {name: [] for name in updates}
    for turn in range(ROUNDS + 1):
        for name, update in updates.items():
            began = perf_counter()
            update(x, y)
            if turn > 0:
                found[name].append(1000 * (perf_counter() - began))
    return found


def child(run: Path, steps: int, name: str) -> None:
    """Print the bytes that updates add."""
    trained = load_trained(run)
    x, y = sequences(trained, steps)
    update = by_stbp(trained) if name == STBP else step_by_step(trained, name)  # type: ignore[arg-type]
    update(x[:2], y)
    print(resident_growth(lambda: update(x, y)))


def memory(run: Path, steps: int) -> dict[str, int]:
    here = [sys.executable, __file__, str(run), "--child", str(steps)]
    return {
        name: in_fresh_processes([*here, name], repeats=3, name=f"{name}, {steps} steps", threads=1)
        for name in ("last-block", STBP)
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--child", nargs=2, metavar=("STEPS", "NAME"), help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.child:
        child(given.run, int(given.child[0]), given.child[1])
        return 0
    found: dict[str, Any] = {}
    for steps in STEPS:
        found[str(steps)] = {"ms": milliseconds(load_trained(given.run), steps), "bytes": memory(given.run, steps)}
    rows = [
        [
            steps,
            *(f"{statistics.median(ms):.1f} ({min(ms):.1f} to {max(ms):.1f})" for ms in one["ms"].values()),
            *(f"{size / 1e6:.2f}" for size in one["bytes"].values()),
        ]
        for steps, one in found.items()
    ]
    print(aligned(["steps", *(f"{name}, ms" for name in (*LEVELS, STBP)), "last-block, MB", "STBP, MB"], rows))
    if given.out is not None:
        record = {"recipe": load_trained(given.run).recipe.name, "batch": BATCH, "rounds": ROUNDS, "steps": found}
        write_record(given.out, record, seeds="of random sequences: 0")
    return 0


if __name__ == "__main__":
    sys.exit(main())
