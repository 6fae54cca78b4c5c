"""What learning where a network runs gains: a person who was not in the training (HAPT, each of 30 left out in turn).

    OMP_NUM_THREADS=1 python benchmarks/bench_learning.py --data-root DIR --runs DIR [--people 1,2,...] [--trained-on N]
        [--set A.B=V] [--out FILE]

DIR/hapt is what `hdlif data get hapt` leaves. For each person a network of `RECIPE` is trained on all others, or on
the next N of them (more where a class would be missing), in `--runs`; one that is finished is taken as it is. `--set`
changes the recipe. The first half of the person's windows, in the order of recording, is labelled and learned from
once, in batches of 8 in a random order; the second half tests. Nobody is omitted: nothing can be learned of classes
that the first half lacks; `lacking` counts their windows.

none: the network as it is. statistics: in PyTorch, the batch norms' running statistics go on with the first half,
without labels. classifier, affine, last-block: levels of `hdlif.runtime.learning.Learner` at its default rates, with a
loss at every step. classifier, fixed point: `hdlif.deploy.c.FixedLearner`, with formats for the windows of replay.
random step, last step: last-block, with a loss at one step only, a random one for each batch or the last one. replay:
last-block, each batch with 8 windows of other people. five passes: at the default rates of `hdlif adapt`, which were
chosen on all 30 people. retraining: in PyTorch, all weights by STBP with AdamW at a third of the recipe's rate, five
passes, batch norms with their statistics as they are.

"others" is the accuracy on 300 windows of people of the training, which shows what was forgotten. Rates and passes
were chosen on people 1 and 3 to 7, with networks of 29 people. A gain is against none, with the 95 % interval of its
mean over people (t distribution).
"""

import argparse
import copy
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from hdlif import run_folder
from hdlif.cli.adapt import RATE_OF_DATA
from hdlif.deploy.c import FixedLearner, fixed_point
from hdlif.graph.artefact import Graph
from hdlif.recipe.runs.checkpoints import Trained, load_trained
from hdlif.runtime import Session
from hdlif.runtime.learning import DEFAULT_RATE, Learner, LearningRate, Level
from intervals import half_interval
from recorded import write_record

RECIPE = "hapt_hdlif_companded_w1p5_s4"
PEOPLE, BATCH, PASSES, OTHERS = 30, 8, 5, 300
FIVE_PASSES: dict[str, Any] = {"passes": PASSES, "rate": LearningRate(RATE_OF_DATA, RATE_OF_DATA)}
"""The defaults of `hdlif adapt`."""


class Windows(NamedTuple):
    """Series [T, N, C, 1, 1], normalised, and their classes."""

    x: NDArray[np.float32]
    y: NDArray[np.int64]

    def take(self, which: Any) -> "Windows":
        return Windows(np.ascontiguousarray(self.x[:, which]), self.y[which])


def people_for(person: int, count: int) -> list[str]:
    """Return the groups of the next `count` people after a person, who begin again after the last one."""
    return [f"person {(person - 1 + k) % PEOPLE + 1}" for k in range(1, count + 1)]


def network_without(
    person: int, count: int, runs: Path, data_root: Path, changes: Sequence[str]
) -> tuple[Trained, list[str]]:
    """Return a network that was trained on `count` other people, and these; more where a class would be missing."""
    folder = runs / f"p{person:02}"
    source, own, run = data_root / "hapt", folder / "hapt", folder / "run"
    group = np.load(source / "group.npy")
    if (run / run_folder.SUMMARY).exists():
        others = people_for(person, len(np.unique(np.load(own / "group.npy"))) - 1)
        if len(others) < count:
            raise SystemExit(f"{run}: was trained on {len(others)} people; give other --runs, or a lower --trained-on")
        return load_trained(run), others
    for more in range(PEOPLE - count):
        others = people_for(person, count + more)
        own.mkdir(parents=True, exist_ok=True)
        kept = np.flatnonzero(np.isin(group, [*others, f"person {person}"]))
        for name in ("x.npy", "y.npy", "group.npy"):
            np.save(own / name, np.load(source / name)[kept])
        np.save(own / "part.npy", np.where(group[kept] == f"person {person}", "test", "train"))
        command = [sys.executable, "-m", "hdlif", "train", RECIPE, "--data-root", folder, "--out", run]
        command += [f"--set={change}" for change in changes]
        done = subprocess.run([str(part) for part in command], stderr=subprocess.PIPE, text=True)
        if done.returncode == 0:
            break
        if "is in no group of the training part" not in done.stderr:
            raise SystemExit(done.stderr)
    return load_trained(run), others


def windows_of(graph: Graph, source: Path, chosen: Callable[[NDArray[Any]], NDArray[Any]]) -> Windows:
    """Return the windows that `chosen` picks by the group of each."""
    which = chosen(np.load(source / "group.npy"))
    x, labels = np.load(source / "x.npy", mmap_mode="r")[which], np.load(source / "y.npy")[which]
    x = (x - np.float32(graph.input.mean)) / np.float32(graph.input.std)
    y = np.array([graph.labels.index(label) for label in labels])
    return Windows(np.ascontiguousarray(x.astype(np.float32).transpose(1, 0, 2)[..., None, None]), y)


def accuracy(network: Graph | FixedLearner, windows: Windows) -> float:
    if isinstance(network, FixedLearner):
        logits = network.run(windows.x).mean(0)
    else:
        logits = Session(network, 1).run(windows.x).mean(0)
    return float((logits.argmax(1) == windows.y).mean())


def joined(windows: Sequence[Windows]) -> Windows:
    return Windows(np.concatenate([one.x for one in windows], 1), np.concatenate([one.y for one in windows]))


def batches(own: Windows, rng: np.random.Generator, size: int = BATCH) -> Iterator[Windows]:
    order = rng.permutation(len(own.y))
    return (own.take(order[first : first + size]) for first in range(0, len(order), size))


def learned(
    graph: Graph,
    level: Level,
    own: Windows,
    replay: Windows | None = None,
    step_of: Callable[[np.random.Generator], int] | None = None,
    *,
    passes: int = 1,
    rate: LearningRate = DEFAULT_RATE,
    batch_size: int = BATCH,
    replayed: int = BATCH,
) -> Graph:
    """Return the trained network, with a loss at every step, or at the step that `step_of` chooses per batch.

    Each batch has `batch_size` windows of `own` and, with `replay`, `replayed` random windows of it.
    """
    learner, rng = Learner(graph, level, rate=rate), np.random.default_rng(0)
    for _ in range(passes):
        for batch in batches(own, rng, batch_size):
            if replay is not None:
                batch = joined([batch, replay.take(rng.integers(0, len(replay.y), replayed))])
            step = None if step_of is None else step_of(rng)
            learner.learn(batch.x, batch.y, steps=None if step is None else range(step, step + 1))
    return learner.graph


def learned_in_fixed(graph: Graph, own: Windows, seen: Windows) -> FixedLearner:
    """Return the learner after one pass, with formats chosen on the windows `seen`."""
    learner = FixedLearner(fixed_point(graph, seen.x, len(seen.x)))
    for batch in batches(own, np.random.default_rng(0)):
        learner.learn(batch.x, batch.y)
    return learner


def with_statistics(trained: Trained, own: Windows) -> Graph:
    network = copy.deepcopy(trained.network).train()
    with torch.no_grad():
        for batch in torch.randperm(len(own.y), generator=torch.Generator().manual_seed(0)).split(4 * BATCH):
            x = torch.from_numpy(own.take(batch.numpy()).x)
            network(x, steps=range(len(x)))
    return lowered(trained, network)


def retrained(trained: Trained, own: Windows) -> Graph:
    # Batch norms keep their statistics: with those of so few windows it is far less accurate.
    network = copy.deepcopy(trained.network).eval()
    rate = trained.recipe.training.learning_rate / 3
    optimizer = torch.optim.AdamW(network.parameters(), rate)
    generator = torch.Generator().manual_seed(0)
    for _ in range(PASSES):
        for batch in torch.randperm(len(own.y), generator=generator).split(4 * BATCH):
            part = own.take(batch.numpy())
            logits, _ = network(torch.from_numpy(part.x), steps=range(len(part.x)))
            optimizer.zero_grad()
            F.cross_entropy(logits.mean(0), torch.from_numpy(part.y)).backward()
            optimizer.step()
    return lowered(trained, network)


def lowered(trained: Trained, network: nn.Module) -> Graph:
    return Trained(trained.path, trained.recipe, network.eval()).graph()


def measure(person: int, count: int, runs: Path, data_root: Path, changes: Sequence[str]) -> dict[str, Any]:
    trained, people = network_without(person, count, runs, data_root, changes)
    graph, source, name = trained.graph(), data_root / "hapt", f"person {person}"
    whole = windows_of(graph, source, lambda group: np.flatnonzero(group == name))
    rng = np.random.default_rng(person)
    drawn = windows_of(
        graph, source, lambda group: rng.permutation(np.flatnonzero(np.isin(group, people)))[: 2 * OTHERS]
    )
    others, replay = drawn.take(slice(OTHERS)), drawn.take(slice(OTHERS, None))
    half = len(whole.y) // 2
    own, rest = whole.take(slice(half)), whole.take(slice(half, None))
    return {"trained_on": len(people)} | by_arm(trained, own, rest, others, replay)


def by_arm(trained: Trained, own: Windows, rest: Windows, others: Windows, replay: Windows) -> dict[str, Any]:
    """Return the accuracy on `rest` and on `others` of each arm, which learns from `own`."""
    graph, last = trained.graph(), len(own.x) - 1
    arms: dict[str, Callable[[], Graph | FixedLearner]] = {
        "none": lambda: graph,
        "statistics": lambda: with_statistics(trained, own),
        "classifier": lambda: learned(graph, "classifier", own),
        "classifier, fixed point": lambda: learned_in_fixed(graph, own, replay),
        "affine": lambda: learned(graph, "affine", own),
        "last-block": lambda: learned(graph, "last-block", own),
        "random step": lambda: learned(graph, "last-block", own, step_of=lambda rng: int(rng.integers(last + 1))),
        "last step": lambda: learned(graph, "last-block", own, step_of=lambda rng: last),
        "replay": lambda: learned(graph, "last-block", own, replay),
        "classifier, five passes": lambda: learned(graph, "classifier", own, **FIVE_PASSES),
        "affine, five passes": lambda: learned(graph, "affine", own, **FIVE_PASSES),
        "last-block, five passes": lambda: learned(graph, "last-block", own, **FIVE_PASSES),
        "replay, five passes": lambda: learned(graph, "last-block", own, replay, **FIVE_PASSES),
        "retraining": lambda: retrained(trained, own),
    }
    found: dict[str, Any] = {"windows": len(rest.y), "lacking": int((~np.isin(rest.y, own.y)).sum()), "arms": {}}
    for arm, make in arms.items():
        made = make()
        found["arms"][arm] = {"accuracy": accuracy(made, rest), "others": accuracy(made, others)}
    return found


def summary(people: dict[str, Any]) -> dict[str, Any]:
    """Return mean accuracies and gains by arm, with half of their 95 % intervals."""
    found = {}
    for arm in next(iter(people.values()))["arms"]:
        row: dict[str, float] = {}
        for key in ("accuracy", "others"):
            values = [one["arms"][arm][key] for one in people.values()]
            gains = [v - one["arms"]["none"][key] for v, one in zip(values, people.values(), strict=True)]
            row[key] = statistics.mean(values)
            row[f"{key}_gain"] = statistics.mean(gains)
            row[f"{key}_gain_interval"] = half_interval(gains)
        found[arm] = row
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", type=Path, required=True)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--people", default=",".join(map(str, range(1, 31))))
    parser.add_argument("--trained-on", type=int, default=PEOPLE - 1, metavar="N")
    parser.add_argument("--set", action="append", default=[], metavar="A.B=V")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    people: dict[str, Any] = {}
    for person in map(int, given.people.split(",")):
        people[str(person)] = measure(person, given.trained_on, given.runs, given.data_root, given.set)
        shown = ", ".join(f"{arm} {100 * one['accuracy']:.1f}" for arm, one in people[str(person)]["arms"].items())
        print(f"person {person}: {shown}", flush=True)
        if given.out:
            record = {"recipe": RECIPE, "changes": given.set, "trained_on": given.trained_on}
            record |= {"people": people, "summary": summary(people)}
            write_record(given.out, record, seeds=[load_trained(given.runs / f"p{person:02}" / "run").recipe.seed])
    for arm, row in summary(people).items():
        print(f"{arm}: {100 * row['accuracy']:.2f}, gain {100 * row['accuracy_gain']:+.2f}", flush=True)


if __name__ == "__main__":
    main()
