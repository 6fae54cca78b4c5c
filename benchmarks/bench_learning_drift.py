"""Accuracy along a stream whose sensor wears out, with and without learning (HAPT, each of 30 people left out in turn).

    OMP_NUM_THREADS=1 python benchmarks/bench_learning_drift.py --data-root DIR --runs DIR [--gain G] [--out FILE]

`--runs` is what `bench_learning.py --trained-on N` has left: a network for each person, trained on others. A person's
windows come in the order of recording, in batches of 8. The gain of the three axes of acceleration falls linearly from
1 to G over the stream. Each batch is first classified, and then learned from with its labels. "undisturbed" is the
network as it is, without a drift. Accuracies are of each quarter of the stream; gains are against "none" in the last
one, with the 95 % interval of their mean over people (t distribution).
"""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench_learning import BATCH, PEOPLE, RECIPE, Windows, windows_of
from hdlif.graph.artefact import Graph
from hdlif.graph.learning import LEVELS, Level
from hdlif.recipe.runs.checkpoints import load_trained
from hdlif.runtime import Session
from hdlif.runtime.learning import Learner
from intervals import half_interval
from recorded import write_record

AXES, QUARTERS = 3, 4


def worn(graph: Graph, windows: Windows, gain: float) -> Windows:
    """Return windows [T, N, C, 1, 1] with a falling gain of the first axes; it is one of the raw values."""
    mean, std = (np.float32(part)[:AXES, None, None] for part in (graph.input.mean, graph.input.std))
    gains = np.linspace(1, gain, len(windows.y), dtype=np.float32)[:, None, None, None]
    x = windows.x.copy()
    x[:, :, :AXES] = ((x[:, :, :AXES] * std + mean) * gains - mean) / std
    return Windows(x, windows.y)


def along(graph: Graph, windows: Windows, level: Level | None) -> NDArray[np.bool_]:
    """Return whether each window is classified correctly by the network that has learned from all batches before it."""
    session, learner = Session(graph, 1), None if level is None else Learner(graph, level)
    right = list[NDArray[np.bool_]]()
    for first in range(0, len(windows.y), BATCH):
        batch = windows.take(slice(first, first + BATCH))
        logits = session.run(batch.x) if learner is None else learner.learn(batch.x, batch.y)
        right.append(logits.mean(0).argmax(1) == batch.y)
    return np.concatenate(right)


def measure(person: int, runs: Path, data_root: Path, gain: float) -> dict[str, list[float]]:
    graph = load_trained(runs / f"p{person:02}" / "run").graph()
    whole = windows_of(graph, data_root / "hapt", lambda group: np.flatnonzero(group == f"person {person}"))
    drifting = worn(graph, whole, gain)
    right = {"undisturbed": along(graph, whole, None), "none": along(graph, drifting, None)}
    right |= {level: along(graph, drifting, level) for level in LEVELS[:3]}
    return {arm: [float(part.mean()) for part in np.array_split(one, QUARTERS)] for arm, one in right.items()}


def summary(people: Mapping[str, Mapping[str, list[float]]]) -> dict[str, Any]:
    found = {}
    for arm in next(iter(people.values())):
        rows = np.array([one[arm] for one in people.values()])
        gains = rows[:, -1] - np.array([one["none"][-1] for one in people.values()])
        found[arm] = {
            "accuracy": rows.mean(0).tolist(),
            "gain": float(gains.mean()),
            "gain_interval": half_interval(gains.tolist()),
        }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", type=Path, required=True)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--gain", type=float, default=0.5)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    people = {str(person): measure(person, given.runs, given.data_root, given.gain) for person in range(1, PEOPLE + 1)}
    for arm, row in summary(people).items():
        shown = ", ".join(f"{100 * one:.1f}" for one in row["accuracy"])
        print(f"{arm}: {shown}; gain {100 * row['gain']:+.1f} +- {100 * row['gain_interval']:.1f}", flush=True)
    if given.out:
        record = {"recipe": RECIPE, "least_gain": given.gain, "people": people, "summary": summary(people)}
        write_record(given.out, record, seeds=[42])


if __name__ == "__main__":
    main()
