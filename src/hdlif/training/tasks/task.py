"""Interface of tasks, which define the meaning of a target, from the loss to metrics and reports."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from hdlif.errors import DataError
from hdlif.graph.graph import TaskRecord
from hdlif.learning import Criterion, Timed, late_weights, loss_over, mean_logits
from hdlif.training.tasks.extra_metrics import Each, ExtraMetrics, finite

Target = Literal[
    "class",
    "class_and_steps",
    "classes",
    "values",
    "values_each",
    "labels",
    "map",
    "instances",
    "boxes",
    "boxes_each",
    "own",
]
"""Kind of target of a sample: its class, int64 []; its class and its number of time steps, int64 [2]; a class per step,
int64 [T]; normalised values, float32 [V], or normalised values per step, float32 [T, V]; or 1 for each of its labels
and 0 for other labels, float32 [L]. Targets of images are described in `hdlif.data.image_targets`: "map", the class of
each pixel, int64 [H, W]; "instances", the number of the object at each pixel or 0, int64 [H, W]; "boxes", float32
[M, 5]; or "boxes_each", for a sequence of images, float32 [T, M, 5]. "own" is any other target of your own task, int64
or float32 [...], such as a map."""
Total = Callable[[Tensor], Tensor]
"""Function that sums a tensor over the ranks, each of which has its own part of the samples."""


@dataclass(frozen=True)
class Evaluation:
    """Results of a network on a data set.

    >>> from hdlif.training.tasks import Evaluation
    >>> Evaluation(accuracy=0.75, per_step=(0.5, 0.75), loss=0.6, n=200).as_dict()
    {'accuracy': 0.75, 'accuracy_per_step': [0.5, 0.75], 'loss': 0.6, 'n': 200}

    Attributes:
        accuracy: of a classification, after the last step, a fraction in 0..1; None of another task.
        per_step: how good the answers are at or after each step that has one: of a classification, its accuracy [T].
        loss: of the outputs of all steps, mean over samples.
        n: samples.
        metrics: by name, `Task.metric` among them; NaN of one that is not a number.
    """

    accuracy: float | None
    per_step: tuple[float, ...]
    loss: float
    n: int
    metrics: Mapping[str, float] = field(default_factory=dict)

    @property
    def accuracy_per_step(self) -> tuple[float, ...]:
        """After each step, of a classification; of another task there is none."""
        return () if self.accuracy is None else self.per_step

    def as_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {**figures_as_json(self.accuracy, self.per_step, self.metrics), "loss": self.loss, "n": self.n}


def figures_as_json(accuracy: float | None, per_step: Sequence[float], metrics: Mapping[str, float]) -> dict[str, Any]:
    """What is measured, as JSON has it: of a classification its metrics only where there are others than accuracy.

    Args:
        accuracy, per_step, metrics: as in `Evaluation`.
    """
    if accuracy is None:
        return {
            "accuracy": None,
            "accuracy_per_step": [],
            "metrics": finite(metrics),
            "per_step": list(per_step),
        }
    figures: dict[str, Any] = {"accuracy": accuracy, "accuracy_per_step": list(per_step)}
    return figures | ({"metrics": finite(metrics)} if metrics.keys() - {"accuracy"} else {})


class Tally(ABC):
    """Adds up, over batches of outputs, what an `Evaluation` is computed from.

    A task's own figures are in sums of float64, so that ranks add theirs.

    An example is at `Classify`.

    Args:
        asked: what adds up further metrics.
        criterion: the loss.
        sizes: of each sum.
    """

    def __init__(
        self, asked: ExtraMetrics | None = None, criterion: Criterion = F.cross_entropy, /, **sizes: int
    ) -> None:
        self._asked, self._criterion = asked, criterion
        self._sums = {name: torch.zeros(size, dtype=torch.float64) for name, size in (sizes | {"seen": 2}).items()}

    def __call__(self, outputs: Tensor, target: Tensor) -> None:
        """Add a batch: outputs [T, B, n], target [B, ...]."""
        loss, batch = float(self._loss(outputs, target)), len(target)
        self._sums["seen"] += torch.tensor([loss * batch, batch], dtype=torch.float64)
        for name, sums in self._added(outputs, target).items():
            self._sums[name] += sums.cpu()
        if self._asked is not None:
            self._asked(outputs, target)

    @property
    def loss(self) -> float:
        """The mean over the samples so far; NaN before the first."""
        loss, n = self._sums["seen"].tolist()
        return loss / n if n else math.nan

    @property
    def score(self) -> float:
        """The task's first figure of the samples so far; NaN before the first."""
        return self._score(self._sums) if self._sums["seen"][1] else math.nan

    def evaluation(self, total: Total = lambda sums: sums, each: Each | None = None) -> Evaluation:
        """What was added up.

        Args:
            total, each: the sum over ranks of a tensor, and all of theirs, where each has its own part of the samples.
        Raises:
            DataError: there was no sample.
            InputError: a further metric fails.
        """
        packed = total(torch.cat(list(self._sums.values())))
        parts = torch.split(packed, [len(sums) for sums in self._sums.values()])
        sums = dict(zip(self._sums, parts, strict=True))
        loss, n = sums["seen"].tolist()
        if not n:
            raise DataError("there is no sample to evaluate; give at least one")
        found = self._evaluation(sums, loss / n, int(n))
        if self._asked is None or not (asked := self._asked.figures(each)):
            return found
        return replace(found, metrics={**found.metrics, **asked})

    def _loss(self, outputs: Tensor, target: Tensor) -> Tensor:
        """Mean over the batch."""
        return loss_over(self._criterion, outputs, target, mean_logits)

    @abstractmethod
    def _added(self, outputs: Tensor, target: Tensor) -> Mapping[str, Tensor]:
        """What a batch adds to the sums."""

    @abstractmethod
    def _score(self, sums: Mapping[str, Tensor]) -> float: ...

    @abstractmethod
    def _evaluation(self, sums: Mapping[str, Tensor], loss: float, n: int) -> Evaluation: ...


class Drawing(Protocol):
    """Collects data of a test set for a report's plots."""

    def __call__(self, outputs: Tensor, target: Tensor) -> None:
        """Add a batch: outputs [T, B, n], target [B, ...]."""

    def files(self) -> Mapping[str, Any]:
        """By name, what is written into the run folder as JSON."""


@dataclass(frozen=True)
class Shown:
    """An image of a test set, and the answer to it.

    Attributes:
        score: how good the answer is; the larger the better.
        index: the image's place in the set.
        answer: a target at places of the image, as `hdlif.data.image_targets` has it.
    """

    score: float
    index: int
    answer: Tensor


SHOWN = 6
"""Number of images in a report: those with the worst predictions."""


def keep_worst(worst: Iterable[Shown], more: Iterable[Shown]) -> list[Shown]:
    """The `SHOWN` worst answers of both, the worst first."""
    return sorted([*worst, *more], key=lambda one: (one.score, one.index))[:SHOWN]


class Task(Protocol):
    """What is learned: what the targets mean, the loss, and what is measured, drawn and reported of a sample.

    `Classify`, `LabelSequence`, `Multilabel` and `Regress` are four; `Measured` is what they derive from.
    """

    @property
    def metric(self) -> str:
        """What the best epoch is chosen by."""

    @property
    def target(self) -> Target:
        """What data must give."""

    @property
    def time_steps(self) -> int:
        """T."""

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of the network's outputs."""

    @property
    def record(self) -> TaskRecord:
        """Return the record of the task for a model file."""

    def criterion(self) -> Criterion:
        """What a rule minimises."""

    def tally(self) -> Tally:
        """What measures a data set."""

    def drawing(self) -> Drawing:
        """What collects what a report draws of a test set."""

    def better(self, evaluation: Evaluation) -> float:
        """A number that is the larger the better: `metric`, or minus it."""

    def right(self, outputs: Tensor, steps: tuple[int, ...], target: Tensor) -> tuple[Tensor, int]:
        """How many answers of a training batch are right, and out of how many; of values, 0 out of 0.

        A task with an attribute `right_by` gets the outputs as `AnswerCounter` describes, and none of earlier
        steps are kept; any other gets those of all steps in one call.

        Args:
            outputs: [len(steps), B, n], of the steps that were learned from.
            target: [B, ...], or mixed.
        """


def so_far(outputs: Tensor, first: int) -> Tensor:
    """The sum of the outputs so far, [T, B, n], by which the answer after each step is chosen; from `first` on.

    Before it, an answer is of the step's own outputs.
    """
    return torch.cat([outputs[:first], outputs[first:].cumsum(0)])


RightBy = Literal["all", "mean", "each"]
"""Outputs that `Task.right` gets for several steps: "mean", the mean of the outputs from `Task.first` on; "each", each
step's outputs by themselves; "all", the outputs of all steps, which are kept until the batch ends."""


class AnswerCounter:
    """Takes the outputs of the steps that were learned from, in their order, and counts how many answers are right.

    For a task with the attribute `right_by`, which states how outputs are read, what is kept does not grow with the
    number of steps.

    Args:
        steps: that are learned from.
        target: of the batch, as `Task.right` takes it.
        task: whose `right` counts.
    Attributes:
        losses: how often it was called, once for each loss.
    """

    def __init__(self, task: Task, steps: tuple[int, ...], target: Tensor) -> None:
        self._task, self._steps, self._target = task, steps, target
        self._by: RightBy = getattr(task, "right_by", "all")
        self._begin = counted_from(steps, getattr(task, "first", 0))
        self._kept: list[Tensor] = []
        self._right = torch.zeros((), dtype=torch.int64, device=target.device)
        self._heard = self._counted = self._of = 0
        self.losses = 0

    def __call__(self, outputs: Tensor) -> None:
        """Hear the outputs [K, B, n] of the next K steps."""
        self.losses += 1
        start, self._heard = self._heard, self._heard + len(outputs)
        if self._by == "all":
            self._kept.append(outputs)
        elif self._by == "each":
            self._count(outputs, self._steps[start : self._heard])
        else:
            self._add(outputs[max(0, self._begin - start) :])

    def right(self) -> tuple[int, int]:
        """How many answers of the batch are right, and out of how many; of values, 0 out of 0."""
        if self._by == "each":
            # If the numbers of outputs and steps differ, the step of each output is unknown.
            return (int(self._right), self._of) if self._heard == len(self._steps) else (0, 0)
        if not self._kept:
            return 0, 0
        if self._by == "all":
            right, of = self._task.right(torch.cat(self._kept), self._steps, self._target)
        else:
            right, of = self._task.right(self._kept[0][None] / self._counted, self._steps[-1:], self._target)
        return int(right), of

    def _count(self, outputs: Tensor, steps: tuple[int, ...]) -> None:
        if len(steps) != len(outputs):
            return
        right, of = self._task.right(outputs, steps, self._target)
        self._right, self._of = self._right + right, self._of + of

    def _add(self, outputs: Tensor) -> None:
        if len(outputs):
            total = outputs.sum(0, dtype=torch.promote_types(outputs.dtype, torch.float32))
            self._kept = [total if not self._kept else self._kept[0] + total]
            self._counted += len(outputs)


def counted_from(steps: tuple[int, ...], first: int) -> int:
    """The place of the first step that counts, among steps that were learned from."""
    return next((place for place, step in enumerate(steps) if step >= first), 0)


LearnFrom = Literal["every", "last", "late"]
"""Steps that have a loss: "every" step, with equal weights; only the "last" step; or "late", every step with a weight
proportional to its number. Rules that draw steps draw them in proportion to their weights."""


def chosen_steps(learn_from: LearnFrom | None, combine: str) -> LearnFrom:
    """The steps that are learned from: those given, or by default those that the answer is read off."""
    if learn_from is None:
        return "last" if combine == "last" else "every"
    if learn_from not in ("every", "last", "late"):
        raise ValueError(f"learn_from = {learn_from!r}; choose one of every, last, late")
    return learn_from


def timed(
    criterion: Criterion,
    learn_from: LearnFrom,
    time_steps: int,
    *,
    first: int = 0,
    each: bool = False,
    own: bool = False,
) -> Criterion:
    """A criterion of the steps from `first` on that are learned from, which is itself where that is all.

    Args:
        each: whether every step has a target of its own, which is read `first` steps later.
        own: whether samples have numbers of steps of their own, as in `Timed`.
    """
    delay = first if each else 0
    if learn_from == "last":
        return Timed(criterion, time_steps - 1, each, delay, own=own)
    weights = late_weights(time_steps - first) if learn_from == "late" else None
    if weights is None and not first and not each and not own:
        return criterion
    return Timed(criterion, first, each, delay, weights, own)
