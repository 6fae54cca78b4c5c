"""A trained network on a whole set: by PyTorch, or by its deployed form where that is faster and says the same."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hdlif.artefact import Graph
from hdlif.data import Samples
from hdlif.errors import AllocationError, ArtefactError, LimitError
from hdlif.runtime import Session
from hdlif.training import Evaluation, Tally, classified, progress_bar

if TYPE_CHECKING:
    from rich.progress import Progress

SAMPLED = 1000
"""Images that both classify before the deployed form may go on alone."""
AGREEMENT = 0.999
"""The share of them that must get the same class."""
TOGETHER = 64
"""Images that the deployed form takes at once, and that both are timed on, twice in turns."""
WORTH = 0.9
"""The deployed form must need less than this share of PyTorch's time."""

Batches = Iterable[tuple[Tensor, Tensor]]
"""Logits [T, B, classes] and targets [B]."""
Observer = Callable[[Tensor, Tensor], None]


@dataclass(frozen=True)
class Evaluated:
    """How a set was classified.

    Attributes:
        by: "pytorch", or "deployed" where the deployed form classified all but the sample.
        agreement: share of the sample that both gave the same class; None where PyTorch was faster or alone.
        ms_per_image: of each, where both were timed.
    """

    result: Evaluation
    by: str
    agreement: float | None
    ms_per_image: dict[str, float]

    def as_dict(self) -> dict[str, Any]:
        """As it stands in summary.json."""
        return {"by": self.by, "agreement": self.agreement, "ms_per_image": self.ms_per_image}


def evaluate_network(
    network: nn.Module,
    samples: Samples,
    *,
    time_steps: int,
    batch_size: int,
    graph: Graph | None = None,
    observe: Observer | None = None,
    device: torch.device | None = None,
    bar: Progress | None = None,
    name: str = "test",
) -> Evaluated:
    """Classify all samples after each step, as `training.evaluate` does.

    The deployed form takes over where it has low-bit weights, is measured to be faster, and gives `AGREEMENT` of
    `SAMPLED` images, spread over the set, the class that PyTorch gives them; the sample is counted as PyTorch has it.

    Args:
        graph: the deployed form, for a network on the CPU; None leaves all to PyTorch.
        observe: gets the logits [T, B, classes] and the target [B] of every batch.
        bar: gets a task of that name.
    """

    def by_torch(indices: Tensor) -> Batches:
        batches = samples.sequences(batch_size, indices)
        return classified(network, batches, time_steps=time_steps, device=device)

    with _Counting(time_steps, len(samples), observe, bar, name) as counting:
        if graph is None or len(samples) < 2 * SAMPLED or not _has_low_bits(graph):
            counting(by_torch(torch.arange(len(samples))))
            return Evaluated(counting.evaluation(), "pytorch", None, {})
        sample, rest = _spread(len(samples))
        few = sample[: min(TOGETHER, batch_size)]
        try:
            session = Session(graph, threads=torch.get_num_threads())
            by_runtime = partial(_classified_by, session, samples, min(TOGETHER, batch_size))
            times = _ms_per_image(
                {"pytorch": lambda: list(by_torch(few)), "deployed": lambda: list(by_runtime(few))}, len(few)
            )
        # More than a session grants, or than there is: not what a finished training is to end with.
        except (ArtefactError, LimitError, AllocationError):
            times = {}
        if not times or times["deployed"] >= WORTH * times["pytorch"]:
            counting(by_torch(torch.arange(len(samples))))
            return Evaluated(counting.evaluation(), "pytorch", None, times)
        chosen: list[Tensor] = []
        counting(_with_classes(by_torch(sample), chosen))
        again = [logits.sum(0).argmax(-1) for logits, _ in by_runtime(sample)]
        agreement = float((torch.cat(chosen) == torch.cat(again)).double().mean())
        by = "deployed" if agreement >= AGREEMENT else "pytorch"
        counting((by_runtime if by == "deployed" else by_torch)(rest))
        return Evaluated(counting.evaluation(), by, agreement, times)


def evaluate_deployed(
    graph: Graph,
    samples: Samples,
    *,
    observe: Observer | None = None,
    bar: Progress | None = None,
    name: str = "test",
) -> Evaluation:
    """Classify all samples after each step by the deployed form alone; arguments as those of `evaluate_network`."""
    with _Counting(graph.time_steps, len(samples), observe, bar, name) as counting:
        counting(_classified_by(Session(graph), samples, TOGETHER, torch.arange(len(samples))))
        return counting.evaluation()


class _Counting:
    """Counts the batches that it is called with, in view of an observer and of a bar's task, which ends with it."""

    def __init__(self, time_steps: int, images: int, observe: Observer | None, bar: Progress | None, name: str) -> None:
        self._tally, self._observe = Tally(time_steps, F.cross_entropy), observe
        self._bar = bar or progress_bar(enabled=False)
        self._task = self._bar.add_task(name, total=images, loss=math.nan, accuracy=math.nan)

    def __enter__(self) -> _Counting:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.remove_task(self._task)

    def __call__(self, batches: Batches) -> None:
        for logits, target in batches:
            self._tally(logits, target)
            if self._observe is not None:
                self._observe(logits, target)
            self._bar.update(self._task, advance=len(target), loss=self._tally.loss, accuracy=self._tally.accuracy)

    def evaluation(self) -> Evaluation:
        """What was counted."""
        return self._tally.evaluation()


def _classified_by(session: Session, samples: Samples, batch_size: int, indices: Tensor) -> Batches:
    for x, target in samples.sequences(batch_size, indices):
        yield torch.from_numpy(session.run(x.contiguous().numpy())), target


def _with_classes(batches: Batches, chosen: list[Tensor]) -> Batches:
    """`batches`, as they are; `chosen` gets the classes of each."""
    for logits, target in batches:
        chosen.append(logits.sum(0).argmax(-1))
        yield logits, target


def _spread(count: int) -> tuple[Tensor, Tensor]:
    """`SAMPLED` of so many numbers, spread evenly (sets may be sorted by class), and the others."""
    sample = torch.linspace(0, count - 1, SAMPLED).long()
    rest = torch.ones(count, dtype=torch.bool)
    rest[sample] = False
    return sample, rest.nonzero().squeeze(1)


def _has_low_bits(graph: Graph) -> bool:
    """Without, the runtime has its scalar kernels alone."""
    return any(node.attributes.get("encoding", "float32") != "float32" for node in graph.nodes)


def _ms_per_image(runs: dict[str, Callable[[], object]], images: int) -> dict[str, float]:
    """The shorter of two timed runs of each on so many images, in turns, after one that is not counted."""
    best = dict.fromkeys(runs, math.inf)
    for number in range(3):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            if number:
                best[name] = min(best[name], time.perf_counter() - start)
    return {name: 1e3 * seconds / images for name, seconds in best.items()}
