"""Evaluate a trained network on a set: by PyTorch, or by its deployed form if that is faster and agrees."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from hdlif.data import Samples
from hdlif.errors import AllocationError, ArtefactError, LimitError
from hdlif.graph.artefact import Graph
from hdlif.runtime import Session
from hdlif.runtime.answers import alike
from hdlif.training import answered, progress_bar
from hdlif.training.tasks import Evaluation, Measured, Tally, Task

if TYPE_CHECKING:
    from rich.progress import Progress

SAMPLED = 1000
"""Samples that both answer before the deployed form may go on alone."""
AGREEMENT = 0.999
"""The share of them that must get the same answer."""
TOGETHER = 64
"""Images that the deployed form takes at once, and that both are timed on, twice in turns."""
WORTH = 0.9
"""The deployed form must need less than this share of PyTorch's time."""

Batches = Iterable[tuple[Tensor, Tensor]]
"""Outputs [T, B, n] and targets."""
Observer = Callable[[Tensor, Tensor], None]


@dataclass(frozen=True)
class Evaluated:
    """How a set was answered.

    Attributes:
        by: "pytorch", or "deployed" where the deployed form answered all but the sample.
        agreement: share of the sample that both gave the same answer (`runtime.answers.alike`); None where PyTorch was
            faster or alone.
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
    task: Task,
    batch_size: int,
    graph: Graph | None = None,
    observe: Observer | None = None,
    device: torch.device | None = None,
    bar: Progress | None = None,
    name: str = "test",
) -> Evaluated:
    """Answer all samples after each step, as `training.evaluate` does.

    The deployed form takes over if it has low-bit weights, is measured to be faster, and gives `AGREEMENT` of
    `SAMPLED` samples, spread over the set, the answer that PyTorch gives them; these are counted as PyTorch has them.

    Args:
        graph: the deployed form, for a network on the CPU; None leaves all to PyTorch.
        observe: gets the outputs [T, B, n] and the target of every batch.
        bar: gets a task of that name.
    """

    everything = torch.arange(len(samples))

    def by_torch(indices: Tensor) -> Batches:
        batches = samples.sequences(batch_size, indices)
        return answered(network, batches, time_steps=task.time_steps, device=device)

    with _counting(task, len(samples), observe, bar, name) as (count, tally):
        times: dict[str, float] = {}
        if graph is not None and len(samples) >= 2 * SAMPLED and _has_low_bits(graph):
            sample, rest = _spread(len(samples))
            few = sample[: min(TOGETHER, batch_size)]
            # More than a session grants, or than there is, must not end a finished training.
            with contextlib.suppress(ArtefactError, LimitError, AllocationError):
                session = Session(graph, threads=torch.get_num_threads())
                by_runtime = partial(_answered_by, session, samples, min(TOGETHER, batch_size))
                times = _ms_per_image(
                    {"pytorch": lambda: list(by_torch(few)), "deployed": lambda: list(by_runtime(few))}, len(few)
                )
        if graph is None or not times or times["deployed"] >= WORTH * times["pytorch"]:
            count(by_torch(everything))
            return Evaluated(tally.evaluation(), "pytorch", None, times)
        first: list[Tensor] = []
        count(_kept(by_torch(sample), first))
        again = [outputs for outputs, _ in by_runtime(sample)]
        pytorchs, deployed = (torch.cat(outputs, dim=1).float().numpy() for outputs in (first, again))
        agreement = float(alike(pytorchs, deployed, graph).mean())
        by = "deployed" if agreement >= AGREEMENT else "pytorch"
        count((by_runtime if by == "deployed" else by_torch)(rest))
        return Evaluated(tally.evaluation(), by, agreement, times)


def evaluate_deployed(
    graph: Graph,
    samples: Samples,
    *,
    task: Task,
    observe: Observer | None = None,
    bar: Progress | None = None,
    name: str = "test",
) -> Evaluation:
    """Answer all samples after each step by the deployed form alone; arguments as those of `evaluate_network`."""
    with _counting(task, len(samples), observe, bar, name) as (count, tally):
        count(_answered_by(Session(graph), samples, TOGETHER, torch.arange(len(samples))))
        return tally.evaluation()


@contextlib.contextmanager
def _counting(
    task: Task, images: int, observe: Observer | None, bar: Progress | None, name: str
) -> Iterator[tuple[Callable[[Batches], None], Tally]]:
    """Give what counts batches and its tally, in view of an observer and of a bar's task, which ends with the block."""
    tally = task.tally()
    # What a tally says meanwhile is the first figure, whatever the best epoch is chosen by.
    shows_accuracy = (next(iter(task.figures)) if isinstance(task, Measured) else task.metric) == "accuracy"
    shown = bar or progress_bar(enabled=False)
    begun = shown.add_task(name, total=images, loss=math.nan, accuracy=math.nan)

    def count(batches: Batches) -> None:
        for outputs, target in batches:
            tally(outputs, target)
            if observe is not None:
                observe(outputs, target)
            accuracy = tally.score if shows_accuracy else math.nan
            shown.update(begun, advance=len(target), loss=tally.loss, accuracy=accuracy)

    try:
        yield count, tally
    finally:
        shown.remove_task(begun)


def _answered_by(session: Session, samples: Samples, batch_size: int, indices: Tensor) -> Batches:
    for x, target in samples.sequences(batch_size, indices):
        yield torch.from_numpy(session.run(x.contiguous().numpy())), target


def _kept(batches: Batches, kept: list[Tensor]) -> Batches:
    """`batches`, as they are; `kept` gets the outputs of each."""
    for outputs, target in batches:
        kept.append(outputs.cpu())
        yield outputs, target


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
