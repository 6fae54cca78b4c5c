"""The interface of tasks; each task defines the loss, metrics and report data for one kind of target."""

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
"""Kind of target that the data provide for each sample. "class": its class, int64 []. "class_and_steps": its class and
its number of time steps, int64 [2]. "classes": a class per step, int64 [T]. "values": normalised values, float32 [V].
"values_each": normalised values per step, float32 [T, V]. "labels": its labels, float32 [L] of 0 and 1. For images, see
`hdlif.data.image_targets`. "map": class of each pixel, int64 [H, W]. "instances": object number at each pixel, 0 for
none, int64 [H, W]. "boxes": float32 [M, 5]. "boxes_each": boxes in a sequence of images, float32 [T, M, 5]. "own": any
other target of your own task, int64 or float32 [...]."""
Total = Callable[[Tensor], Tensor]
"""Function that sums a tensor over ranks, each with its own part of the samples."""


@dataclass(frozen=True)
class Evaluation:
    """The results of a network on a data set.

    >>> from hdlif.training.tasks import Evaluation
    >>> Evaluation(accuracy=0.75, per_step=(0.5, 0.75), loss=0.6, n=200).as_dict()
    {'accuracy': 0.75, 'accuracy_per_step': [0.5, 0.75], 'loss': 0.6, 'n': 200}

    Attributes:
        accuracy: accuracy after the last step, a fraction in 0..1; None unless the task is a classification.
        per_step: figure at or after each step with a prediction; for a classification, the accuracy, [T].
        loss: loss of the outputs of all steps, averaged over samples.
        n: number of samples.
        metrics: figures and metrics by name, including `Task.metric`; undefined values are NaN.
        mean_rmse: for values, the rmse of always predicting the training mean.
    """

    accuracy: float | None
    per_step: tuple[float, ...]
    loss: float
    n: int
    metrics: Mapping[str, float] = field(default_factory=dict)
    mean_rmse: float | None = None

    @property
    def accuracy_per_step(self) -> tuple[float, ...]:
        """The accuracy after each step, or () if the task is not a classification."""
        return () if self.accuracy is None else self.per_step

    def as_dict(self) -> dict[str, Any]:
        """Return the results as a JSON-serialisable dict."""
        return {**figures_as_json(self.accuracy, self.per_step, self.metrics), "loss": self.loss, "n": self.n}


def figures_as_json(accuracy: float | None, per_step: Sequence[float], metrics: Mapping[str, float]) -> dict[str, Any]:
    """Return results as a JSON-serialisable dict, without "metrics" if accuracy is the only metric.

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
    """Base class for tallies, which add up sums over batches and compute an `Evaluation` from them.

    The sums for a task's own metrics are float64, and hdlif can add them up over ranks.

    See `Classify` for an example.

    Args:
        asked: accumulator of additional metrics.
        criterion: the loss.
        sizes: number of elements of each sum.
    """

    def __init__(
        self, asked: ExtraMetrics | None = None, criterion: Criterion = F.cross_entropy, /, **sizes: int
    ) -> None:
        self._asked, self._criterion = asked, criterion
        self._sums = {name: torch.zeros(size, dtype=torch.float64) for name, size in (sizes | {"seen": 2}).items()}

    def __call__(self, outputs: Tensor, target: Tensor) -> None:
        """Add a batch of outputs [T, B, n] and targets [B, ...]."""
        loss, batch = float(self._loss(outputs, target)), len(target)
        self._sums["seen"] += torch.tensor([loss * batch, batch], dtype=torch.float64)
        for name, sums in self._added(outputs, target).items():
            self._sums[name] += sums.cpu()
        if self._asked is not None:
            self._asked(outputs, target)

    @property
    def loss(self) -> float:
        """The mean loss over the samples so far, or NaN if there are no samples."""
        loss, n = self._sums["seen"].tolist()
        return loss / n if n else math.nan

    @property
    def score(self) -> float:
        """The value of the task's first own metric on the samples so far, or NaN if there are no samples."""
        return self._score(self._sums) if self._sums["seen"][1] else math.nan

    def evaluation(self, total: Total = lambda sums: sums, each: Each | None = None) -> Evaluation:
        """Return the results for all batches.

        Args:
            total, each: sum a tensor over ranks, and gather it from all ranks, each with its own part of the samples.
        Raises:
            DataError: there was no sample.
            InputError: an additional metric fails.
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
        """Return the mean loss of the batch."""
        return loss_over(self._criterion, outputs, target, mean_logits)

    @abstractmethod
    def _added(self, outputs: Tensor, target: Tensor) -> Mapping[str, Tensor]:
        """Return the contribution of a batch to each sum."""

    @abstractmethod
    def _score(self, sums: Mapping[str, Tensor]) -> float: ...

    @abstractmethod
    def _evaluation(self, sums: Mapping[str, Tensor], loss: float, n: int) -> Evaluation: ...


class Drawing(Protocol):
    """A collector of test-set data for a report's plots."""

    def __call__(self, outputs: Tensor, target: Tensor) -> None:
        """Add a batch of outputs [T, B, n] and targets [B, ...]."""

    def files(self) -> Mapping[str, Any]:
        """Return the data to write into the run folder as JSON, keyed by filename."""


@dataclass(frozen=True)
class Shown:
    """An image of a test set, with its prediction.

    Attributes:
        score: quality of the prediction; larger is better.
        index: index of the image in the set.
        answer: the predicted map or boxes, in the format of `hdlif.data.image_targets`.
    """

    score: float
    index: int
    answer: Tensor


SHOWN = 6
"""Number of images with the worst predictions in a report."""


def keep_worst(worst: Iterable[Shown], more: Iterable[Shown]) -> list[Shown]:
    """Return the `SHOWN` images with the lowest scores in `worst` and `more`, sorted by score."""
    return sorted([*worst, *more], key=lambda one: (one.score, one.index))[:SHOWN]


class Task(Protocol):
    """The interface of a task: kind of target, loss, metrics, and data for reports.

    Examples are `Classify`, `LabelSequence`, `Multilabel` and `Regress`, all derived from `Measured`.
    """

    @property
    def metric(self) -> str:
        """The name of the figure or metric that selects the best epoch."""

    @property
    def target(self) -> Target:
        """The kind of target that the data must provide."""

    @property
    def time_steps(self) -> int:
        """The number of time steps, T."""

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of the network's outputs."""

    @property
    def record(self) -> TaskRecord:
        """Return the task's record for a model file."""

    def criterion(self) -> Criterion:
        """Return the training loss."""

    def tally(self) -> Tally:
        """Return a tally that accumulates the metrics of a data set."""

    def drawing(self) -> Drawing:
        """Return a collector of test-set data for a report."""

    def better(self, evaluation: Evaluation) -> float:
        """Return the value of `metric`, negated if smaller values are better."""

    def right(self, outputs: Tensor, steps: tuple[int, ...], target: Tensor) -> tuple[Tensor, int]:
        """Return how many predictions in a batch are correct and how many there are; both are 0 for regression.

        If the task has an attribute `right_by`, hdlif passes the outputs as `RightBy` describes. Otherwise, hdlif
        passes the outputs of all steps in one call.

        Args:
            outputs: outputs of the steps with a loss, [len(steps), B, n].
            target: [B, ...], or mixed.
        """


def so_far(outputs: Tensor, first: int) -> Tensor:
    """Return the running sum of the outputs from step `first` on, [T, B, n], for the predictions after each step.

    For earlier steps, return the step's own outputs.
    """
    return torch.cat([outputs[:first], outputs[first:].cumsum(0)])


RightBy = Literal["all", "mean", "each"]
"""How `Task.right` uses the outputs of several steps: "mean", averaged from `Task.first` on; "each", every step
separately; "all", in any other way, so they are kept until the batch ends."""


class AnswerCounter:
    """A counter of a batch's correct predictions; call it with the outputs of the steps with a loss, in order.

    If the task has an attribute `right_by` other than "all", memory use does not grow with the number of steps.

    Args:
        steps: the steps with a loss.
        target: target of the batch, in the format of `Task.right`.
        task: the task with the method `right`.
    Attributes:
        losses: number of calls, one per loss.
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
        """Add the outputs [K, B, n] of the next K steps."""
        self.losses += 1
        start, self._heard = self._heard, self._heard + len(outputs)
        if self._by == "all":
            self._kept.append(outputs)
        elif self._by == "each":
            self._count(outputs, self._steps[start : self._heard])
        else:
            self._add(outputs[max(0, self._begin - start) :])

    def right(self) -> tuple[int, int]:
        """Return how many predictions in the batch are correct and how many there are; both are 0 for regression."""
        if self._by == "each":
            # If the numbers of outputs and steps differ, outputs cannot be assigned to steps.
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
    """Return the index in `steps` of the earliest step at or after `first`, or 0 if all steps are before `first`."""
    return next((place for place, step in enumerate(steps) if step >= first), 0)


LearnFrom = Literal["every", "last", "late"]
"""Steps with a loss: "every" step, equally weighted; only the "last" step; or "late", every step with a weight
proportional to its number. Rules that draw random steps use these weights as probabilities."""


def chosen_steps(learn_from: LearnFrom | None, combine: str) -> LearnFrom:
    """Return `learn_from` or, if it is None, the value for the steps that contribute to the prediction."""
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
    """Restrict a criterion to steps with a loss from `first` on, or return `criterion` if all steps count equally.

    Args:
        each: whether every step has its own target, which is read `first` steps later.
        own: whether each sample has its own number of steps, as in `Timed`.
    """
    delay = first if each else 0
    if learn_from == "last":
        return Timed(criterion, time_steps - 1, each, delay, own=own)
    weights = late_weights(time_steps - first) if learn_from == "late" else None
    if weights is None and not first and not each and not own:
        return criterion
    return Timed(criterion, first, each, delay, weights, own)
