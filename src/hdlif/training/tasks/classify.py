"""One class of a sample."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from hdlif.graph.graph import TaskRecord
from hdlif.learning import Criterion, after_own
from hdlif.training.tasks.class_weights import ClassWeights, balanced_weights, checked_weights, cross_entropy
from hdlif.training.tasks.measured_task import Measured
from hdlif.training.tasks.task import (
    Evaluation,
    LearnFrom,
    RightBy,
    Tally,
    Target,
    chosen_steps,
    counted_from,
    so_far,
    timed,
)

CONFIDENCES = (
    *(0.0, 0.3, 0.4, 0.5, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85),
    *(0.9, 0.93, 0.95, 0.97, 0.98, 0.99, 0.995, 0.999, 1.0),
)
"""Measured confidences of early exit; at 0, every sample exits after the first step."""


class EarlyAnswers:
    """Counts of steps and right classes where a sample is answered for at the first step that is confident enough.

    With z_t the sum of the outputs that count up to step t over their number, it is answered for at the first t with
    max softmax(z_t) >= c, or after the last step, by the largest of z_t; as `hdlif run --stream --confidence c` does.

    Args:
        time_steps: T.
        first: the first step whose outputs count; before it an answer is of the step's own.
    """

    def __init__(self, time_steps: int, first: int = 0) -> None:
        self._time_steps, self._first, self._n = time_steps, first, 0
        self._steps = torch.zeros(len(CONFIDENCES), dtype=torch.int64)
        self._right = torch.zeros(len(CONFIDENCES), dtype=torch.int64)

    def __call__(self, outputs: Tensor, target: Tensor) -> None:
        """Add a batch: outputs [T, B, classes], target [B]."""
        sums = so_far(outputs, self._first)
        counted = (torch.arange(len(outputs), device=outputs.device) - self._first).clamp(min=0) + 1
        sure = (sums / counted[:, None, None]).softmax(-1).amax(-1)
        right = sums.argmax(-1) == target
        last = torch.full_like(target, len(outputs) - 1)
        for place, confidence in enumerate(CONFIDENCES):
            reached = sure >= confidence
            step = torch.where(reached.any(0), reached.byte().argmax(0), last)
            self._steps[place] += int(step.sum()) + len(step)
            self._right[place] += int(right.gather(0, step[None]).sum())
        self._n += len(target)

    def as_dict(self) -> dict[str, Any]:
        """Of each confidence, the mean of the steps used and the accuracy."""
        return {
            "time_steps": self._time_steps,
            "confidence": list(CONFIDENCES),
            "steps": [steps / self._n for steps in self._steps.tolist()],
            "accuracy": [right / self._n for right in self._right.tolist()],
        }

    def files(self) -> Mapping[str, Any]:
        """early.json; none of a single step, which there is nothing to save of, nor without a sample."""
        return {"early": self.as_dict()} if self._time_steps > 1 and self._n else {}


@dataclass(frozen=True)
class Classify(Measured):
    """One class of a sample, by the largest of the outputs: of their mean over time, or of the last step's.

    >>> import torch
    >>> from hdlif.training.tasks import Classify
    >>> task = Classify(("cat", "dog"), time_steps=2)
    >>> tally = task.tally()
    >>> tally(torch.tensor([[[2.0, 0.0], [1.0, 0.0]], [[2.0, 0.0], [0.0, 3.0]]]), torch.tensor([0, 1]))
    >>> tally.evaluation().accuracy_per_step
    (0.5, 1.0)

    Args:
        outputs: the classes.
        time_steps: T.
        combine: "mean", or "last".
        learn_from: the steps that have a loss, see `LearnFrom`; None for the last alone where `combine` is "last", else
            for every step.
        label_smoothing: of the loss that is learned from.
        class_weights: of the loss that is learned from; what is measured counts all samples alike.
        own_steps: whether samples have numbers of steps of their own: the target is then int64 [B, 2], a sample's class
            and its steps, and its class is read off the mean of the outputs of these.
        metrics, best: as in `Measured`; a metric gets probabilities [N, classes] and classes [N].
    Raises:
        ValueError: `own_steps` with `combine` or `learn_from` that is "last".
    """

    combine: Literal["mean", "last"] = "mean"
    label_smoothing: float = 0.0
    learn_from: LearnFrom | None = None
    class_weights: ClassWeights | None = None
    own_steps: bool = False

    figures: ClassVar[Mapping[str, bool]] = {"accuracy": True}

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "class_weights", checked_weights(self.class_weights, self.outputs))
        if self.own_steps and chosen_steps(self.learn_from, self.combine) == "last":
            raise ValueError(
                "samples of unequal lengths are classified by the mean of their own steps' outputs; leave combine and "
                "learn_from out, or give samples of one length"
            )

    @property
    def right_by(self) -> RightBy:
        return "all" if self.own_steps else "mean"

    @property
    def target(self) -> Target:
        return "class_and_steps" if self.own_steps else "class"

    def own(self, outputs: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """The outputs [T, B, n], their mean held after a sample's own steps, and its class, int64 [B]."""
        if not self.own_steps:
            return outputs, target
        return after_own(outputs, target[:, 1]), target[:, 0]

    @property
    def record(self) -> TaskRecord:
        return TaskRecord("classify", self.combine)

    @property
    def first(self) -> int:
        """The first step that the answer is read off."""
        return self.time_steps - 1 if self.combine == "last" else 0

    def counted(self, labels: Tensor) -> Classify:
        """The same with `balanced_weights` of the targets of training samples, int64 [N, ...]."""
        labels = labels[:, 0] if self.own_steps else labels
        return replace(self, class_weights=balanced_weights(labels, len(self.outputs)))

    def criterion(self) -> Criterion:
        """Cross-entropy; at each step of its own outputs, or of the mean of all by a rule that sees all."""
        return self.timed(cross_entropy(self.class_weights, self.label_smoothing))

    def timed(self, criterion: Criterion) -> Criterion:
        """A criterion of the steps that are learned from."""
        steps = chosen_steps(self.learn_from, self.combine)
        return timed(criterion, steps, self.time_steps, own=self.own_steps)

    def tally(self) -> Tally:
        """Accuracy after each step."""
        return _Tally(self)

    def drawing(self) -> Chosen:
        """Return the collector of the confusion matrix and of early exit."""
        return Chosen(self)

    def right(self, outputs: Tensor, steps: tuple[int, ...], target: Tensor) -> tuple[Tensor, int]:
        """By the mean over the steps that were learned from; a mixed sample has the label of the larger share.

        Of samples with numbers of steps of their own, those that have none of these steps are not counted.
        """
        if self.own_steps:
            classes, lengths = target.unbind(1)
            is_own = torch.tensor(steps, device=target.device)[:, None] < lengths
            answered = is_own.any(0)
            chosen = torch.where(is_own[..., None], outputs, 0).sum(0).argmax(1)
            return ((chosen == classes) & answered).sum(), int(answered.sum())
        labels = target if target.ndim == 1 else target.argmax(1)
        return (outputs[counted_from(steps, self.first) :].mean(0).argmax(1) == labels).sum(), len(labels)

    def scored(self, outputs: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        outputs, target = self.own(outputs, target)
        # Sum in the order of the tally, and in float64, which keeps the order of probabilities near 1.
        sums = so_far(outputs, self.first)[-1].double()
        return (sums / (len(outputs) - self.first)).softmax(-1), target


class _Tally(Tally):
    def __init__(self, task: Classify) -> None:
        super().__init__(task.asked(), task.timed(F.cross_entropy), correct=task.time_steps)
        self._first, self._own = task.first, task.own

    def _added(self, outputs: Tensor, target: Tensor) -> Mapping[str, Tensor]:
        outputs, target = self._own(outputs, target)
        return {"correct": (so_far(outputs, self._first).argmax(-1) == target).sum(1)}

    def _score(self, sums: Mapping[str, Tensor]) -> float:
        return float(sums["correct"][-1] / sums["seen"][1])

    def _evaluation(self, sums: Mapping[str, Tensor], loss: float, n: int) -> Evaluation:
        # Counts, not torchmetrics: its accuracy is float32, and 0.955 would be reported as 0.9549999833106995.
        per_step = tuple(count / n for count in sums["correct"].tolist())
        return Evaluation(per_step[-1], per_step, loss, n, {"accuracy": per_step[-1]})


class Confusion:
    """Counts of samples, [classes, classes]: row the true class, column the predicted one after all time steps.

    >>> import torch
    >>> from hdlif.training.tasks import Confusion
    >>> confusion = Confusion(("cat", "dog"))
    >>> confusion(torch.tensor([[[2.0, 0.0], [1.0, 0.0]]]), torch.tensor([0, 1]))
    >>> confusion.counts.tolist(), confusion.accuracy_per_class
    ([[1, 0], [1, 0]], [1.0, 0.0])

    Args:
        first: the first step whose outputs count.
        classes: their names.
    """

    def __init__(self, classes: tuple[str, ...], first: int = 0) -> None:
        self.classes, self._first = classes, first
        self.counts = torch.zeros(len(classes), len(classes), dtype=torch.int64)

    def __call__(self, outputs: Tensor, target: Tensor) -> None:
        """Add a batch: outputs [T, B, classes], target [B]."""
        # Sum in step order, like the tally, because different rounding could break ties differently.
        self.add(target.cpu(), so_far(outputs, self._first)[-1].argmax(-1).cpu())

    def add(self, true: Tensor, chosen: Tensor) -> None:
        """Add pairs of classes, int64 [N]."""
        self.counts.index_put_((true, chosen), torch.ones(len(true), dtype=torch.int64), accumulate=True)

    @property
    def accuracy_per_class(self) -> list[float | None]:
        """Recall of each class; None for a class without samples."""
        shown = self.counts.sum(1).tolist()
        right = self.counts.diagonal().tolist()
        return [hits / n if n else None for hits, n in zip(right, shown, strict=True)]

    def files(self) -> Mapping[str, Any]:
        """confusion.json."""
        return {"confusion": {"labels": list(self.classes), "counts": self.counts.tolist()}}


class Chosen(Confusion):
    """Counts of samples by class, and the accuracy and steps of early exit.

    Args:
        task: whose outputs and targets come.
    """

    def __init__(self, task: Classify) -> None:
        super().__init__(task.outputs, task.first)
        self.early, self._own = EarlyAnswers(task.time_steps, task.first), task.own

    def __call__(self, outputs: Tensor, target: Tensor) -> None:
        """Add a batch: outputs [T, B, classes], target [B, ...]."""
        outputs, target = self._own(outputs, target)
        super().__call__(outputs, target)
        self.early(outputs, target)

    def files(self) -> Mapping[str, Any]:
        """confusion.json and early.json."""
        return {**super().files(), **self.early.files()}
