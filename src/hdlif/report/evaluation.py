"""Evaluate a trained network with PyTorch or as a deployed graph, and choose a confidence threshold for early exit."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from hdlif.data import DataSets, Samples
from hdlif.errors import AllocationError, ArtefactError, InputError, LimitError
from hdlif.graph.artefact import Graph
from hdlif.runtime import Session
from hdlif.runtime.answers import alike
from hdlif.training import answered, progress_bar
from hdlif.training.tasks import Classify, Evaluation, Measured, Tally, Task, task_of

if TYPE_CHECKING:
    from rich.progress import Progress

SAMPLED = 1000
"""Number of samples that PyTorch and the deployed form run before the deployed form may continue alone."""
AGREEMENT = 0.999
"""Minimum fraction of these samples with the same prediction."""
TOGETHER = 64
"""Number of images per batch of the deployed form. Both are timed on as many images, twice, alternately."""
WORTH = 0.9
"""Fraction of PyTorch's time that the deployed form must stay below to be used."""

Batches = Iterable[tuple[Tensor, Tensor]]
"""Batches of outputs [T, B, n] and targets."""
Observer = Callable[[Tensor, Tensor], None]


@dataclass(frozen=True)
class Evaluated:
    """The results of a network on a data set, and the method used to compute them.

    Attributes:
        by: "pytorch", or "deployed" if the deployed form ran all samples except the compared ones.
        agreement: fraction of compared samples with the same prediction from both (`runtime.answers.alike`); None if
            PyTorch was faster or ran alone.
        ms_per_image: time per image with PyTorch and with the deployed form, if both were timed.
    """

    result: Evaluation
    by: str
    agreement: float | None
    ms_per_image: dict[str, float]

    def as_dict(self) -> dict[str, Any]:
        """Return the evaluation's method and speed for summary.json."""
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
    """Evaluate a network on all samples after each time step, like `training.evaluate`.

    If the deployed graph has low-bit weights and is faster than PyTorch, PyTorch runs only `SAMPLED` samples, and the
    graph runs the others. If the fraction of equal predictions for the `SAMPLED` samples is below `AGREEMENT`, PyTorch
    runs all samples.

    Args:
        graph: the deployed form of a network on the CPU, or None to use only PyTorch.
        observe: called with the outputs [T, B, n] and the target of every batch.
        bar: progress bar, which gets a task called `name`.
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
            # A finished training must not fail if the session exceeds a limit or the memory.
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
) -> Evaluation:
    """Evaluate a deployed graph on all samples after each time step."""
    with _counting(task, len(samples), observe, bar, "test") as (count, tally):
        count(_answered_by(Session(graph), samples, TOGETHER, torch.arange(len(samples))))
        return tally.evaluation()


@dataclass(frozen=True)
class EarlyExit:
    """The effect of early exit on accuracy and time steps, measured on validation samples.

    Attributes:
        confidence: probability at which a sample is classified.
        steps, accuracy: mean number of time steps, and accuracy, with early exit.
        all_steps, accuracy_of_all: number of time steps, and accuracy, without early exit.
        samples: size of the validation part.
    """

    confidence: float
    steps: float
    accuracy: float
    all_steps: int
    accuracy_of_all: float
    samples: int

    def as_dict(self) -> dict[str, Any]:
        return dict(vars(self))

    def __str__(self) -> str:
        return (
            f"early exit: confidence {self.confidence:g}, accuracy {self.accuracy:.2%} after {self.steps:.2f} steps on "
            f"average; {self.accuracy_of_all:.2%} after all {self.all_steps} ({self.samples:,} validation samples)"
        )


def choose_on_validation(graph: Graph, sets: DataSets, source: Path | str, *, max_drop: float) -> EarlyExit:
    """Return the smallest confidence threshold for early exit that preserves accuracy on the validation samples.

    The threshold is below 1, because only float32 rounds a probability to 1.

    Args:
        source: the file of the graph, for messages.
        max_drop: percentage points by which accuracy on the validation part may drop compared with all steps.
    Raises:
        InputError: there is no validation part, or each confidence loses too much accuracy.
    """
    fix = "give --confidence a number, such as 0.95"
    if not len(sets.validation):
        raise InputError(f"{source}: its data have no validation part to choose a confidence on; {fix}")
    task = task_of(graph)
    assert isinstance(task, Classify)
    drawing = task.drawing()
    whole = evaluate_deployed(graph, sets.validation, task=task, observe=drawing)
    found, all_steps = drawing.early.as_dict(), whole.accuracy_per_step[-1]
    for confidence, steps, accuracy in zip(found["confidence"], found["steps"], found["accuracy"], strict=True):
        # Round, because 0.94 - 0.935 is slightly more than 0.005 in floating point.
        if confidence < 1 and round(100 * (all_steps - accuracy), 9) <= max_drop:
            return EarlyExit(confidence, steps, accuracy, graph.time_steps, all_steps, whole.n)
    raise InputError(f"{source}: each confidence loses more than {max_drop:g} points of {all_steps:.2%}; {fix}")


@contextlib.contextmanager
def _counting(
    task: Task, images: int, observe: Observer | None, bar: Progress | None, name: str
) -> Iterator[tuple[Callable[[Batches], None], Tally]]:
    """Yield a tally and a function that adds the results of batches to the tally."""
    tally = task.tally()
    # The bar shows the first metric of the tally, regardless of the metric that selects the best epoch.
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
    """Yield batches unchanged and append each batch's outputs to `kept`."""
    for outputs, target in batches:
        kept.append(outputs.cpu())
        yield outputs, target


def _spread(count: int) -> tuple[Tensor, Tensor]:
    """Split the sample indices into `SAMPLED` evenly spaced indices and the remaining indices."""
    # Data sets may be sorted by class.
    sample = torch.linspace(0, count - 1, SAMPLED).long()
    rest = torch.ones(count, dtype=torch.bool)
    rest[sample] = False
    return sample, rest.nonzero().squeeze(1)


def _has_low_bits(graph: Graph) -> bool:
    """Return whether any layer has low-bit weights; the runtime has fast kernels for these."""
    return any(node.attributes.get("encoding", "float32") != "float32" for node in graph.nodes)


def _ms_per_image(runs: dict[str, Callable[[], object]], images: int) -> dict[str, float]:
    """After a warm-up, time functions alternately and return each function's shortest time in ms per image."""
    best = dict.fromkeys(runs, math.inf)
    for number in range(3):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            if number:
                best[name] = min(best[name], time.perf_counter() - start)
    return {name: 1e3 * seconds / images for name, seconds in best.items()}
