"""Classification: one class per sample."""

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
    *(0.9, 0.93, 0.95, 0.97, 0.98, 0.99, 0.995, 0.999, 0.9999, 1.0),
)
"""Confidences for early exit; at 0, every sample exits after the first step."""


class EarlyAnswers:
    """Counts of time steps and correct predictions with early exit.

    Let z_t be the mean of the outputs from step `first` to step t. A sample exits at the first step t with max
    softmax(z_t) >= c, or after the last step. The predicted class is the argmax of z_t, as in `hdlif run --stream
    --confidence c`.

    Args:
        time_steps: T.
        first: first step in the mean; earlier predictions use the outputs of their own step.
    """

    def __init__(self, time_steps: int, first: int = 0) -> None:
        self._time_steps, self._first, self._n = time_steps, first, 0
        self._steps = torch.zeros(len(CONFIDENCES), dtype=torch.int64)
        self._right = torch.zeros(len(CONFIDENCES), dtype=torch.int64)

    def __call__(self, outputs: Tensor, target: Tensor) -> None:
        """Add a batch of outputs [T, B, classes] and targets [B]."""
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
        """Return the mean number of steps and the accuracy at each confidence."""
        return {
            "time_steps": self._time_steps,
            "confidence": list(CONFIDENCES),
            "steps": [steps / self._n for steps in self._steps.tolist()],
            "accuracy": [right / self._n for right in self._right.tolist()],
        }

    def files(self) -> Mapping[str, Any]:
        """Return the data for early.json, or {} if there is only one time step or there are no samples."""
        return {"early": self.as_dict()} if self._time_steps > 1 and self._n else {}


@dataclass(frozen=True)
class Classify(Measured):
    """A task with one class per sample: the argmax of the outputs' mean over time or of the last step's outputs.

    >>> import torch
    >>> from hdlif.training.tasks import Classify
    >>> task = Classify(("cat", "dog"), time_steps=2)
    >>> tally = task.tally()
    >>> tally(torch.tensor([[[2.0, 0.0], [1.0, 0.0]], [[2.0, 0.0], [0.0, 3.0]]]), torch.tensor([0, 1]))
    >>> tally.evaluation().accuracy_per_step
    (0.5, 1.0)

    Args:
        outputs: the class names.
        time_steps: T.
        combine: "mean" or "last".
        learn_from: steps with a loss, see `LearnFrom`. None means the last step only if `combine` is "last", and every
            step otherwise.
        label_smoothing: label smoothing of the training loss.
        class_weights: class weights of the training loss; evaluation weights all samples equally.
        own_steps: whether each sample has its own number of steps. The target is then int64 [B, 2], the class and the
            number of steps, and the prediction uses the mean of the outputs over these steps.
        metrics, best: as in `Measured`; metrics receive probabilities [N, classes] and classes [N].
    Raises:
        ValueError: `own_steps` is combined with "last" for `combine` or `learn_from`.
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
                "samples of unequal lengths are classified by the mean of their own steps' outputs; remove combine "
                "and learn_from, or give samples of one length"
            )

    @property
    def right_by(self) -> RightBy:
        return "all" if self.own_steps else "mean"

    @property
    def target(self) -> Target:
        return "class_and_steps" if self.own_steps else "class"

    def own(self, outputs: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Return outputs [T, B, n] and classes, int64 [B]; with `own_steps`, `after_own` averages the outputs."""
        if not self.own_steps:
            return outputs, target
        return after_own(outputs, target[:, 1]), target[:, 0]

    @property
    def record(self) -> TaskRecord:
        return TaskRecord("classify", self.combine)

    @property
    def first(self) -> int:
        """The first step that contributes to the prediction."""
        return self.time_steps - 1 if self.combine == "last" else 0

    def counted(self, labels: Tensor) -> Classify:
        """Return a copy of the task with `balanced_weights` computed from training targets, int64 [N, ...]."""
        labels = labels[:, 0] if self.own_steps else labels
        return replace(self, class_weights=balanced_weights(labels, len(self.outputs)))

    def criterion(self) -> Criterion:
        """Return the cross-entropy loss; a rule applies it to each step's outputs or to the mean output."""
        return self.timed(cross_entropy(self.class_weights, self.label_smoothing))

    def timed(self, criterion: Criterion) -> Criterion:
        """Return a criterion that covers only the steps that have a loss."""
        steps = chosen_steps(self.learn_from, self.combine)
        return timed(criterion, steps, self.time_steps, own=self.own_steps)

    def tally(self) -> Tally:
        """Return a tally of the accuracy after each step."""
        return _Tally(self)

    def drawing(self) -> Chosen:
        """Return a collector of the confusion matrix and of early-exit results."""
        return Chosen(self)

    def right(self, outputs: Tensor, steps: tuple[int, ...], target: Tensor) -> tuple[Tensor, int]:
        """Return how many predictions from the mean output of steps with a loss are correct, and how many there are.

        The label of a mixed sample is the class with the largest fraction. With `own_steps`, a sample is not counted if
        none of its steps has a loss.
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
        # Sum in the same order as the tally; float64 preserves the ranking of probabilities near 1.
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
        # Use counts, because torchmetrics' float32 accuracy would report 0.955 as 0.9549999833106995.
        per_step = tuple(count / n for count in sums["correct"].tolist())
        return Evaluation(per_step[-1], per_step, loss, n, {"accuracy": per_step[-1]})


class Confusion:
    """A confusion matrix, [classes, classes]: rows are true classes, columns are predictions after all time steps.

    >>> import torch
    >>> from hdlif.training.tasks import Confusion
    >>> confusion = Confusion(("cat", "dog"))
    >>> confusion(torch.tensor([[[2.0, 0.0], [1.0, 0.0]]]), torch.tensor([0, 1]))
    >>> confusion.counts.tolist(), confusion.accuracy_per_class
    ([[1, 0], [1, 0]], [1.0, 0.0])

    Args:
        first: first step that the prediction uses.
        classes: the class names.
    """

    def __init__(self, classes: tuple[str, ...], first: int = 0) -> None:
        self.classes, self._first = classes, first
        self.counts = torch.zeros(len(classes), len(classes), dtype=torch.int64)

    def __call__(self, outputs: Tensor, target: Tensor) -> None:
        """Add a batch of outputs [T, B, classes] and targets [B]."""
        # Sum in the same order as the tally: other rounding could break a tie differently.
        self.add(target.cpu(), so_far(outputs, self._first)[-1].argmax(-1).cpu())

    def add(self, true: Tensor, chosen: Tensor) -> None:
        """Add pairs of true and predicted classes, int64 [N] each."""
        self.counts.index_put_((true, chosen), torch.ones(len(true), dtype=torch.int64), accumulate=True)

    @property
    def accuracy_per_class(self) -> list[float | None]:
        """The recall of each class; it is None for a class without samples."""
        shown = self.counts.sum(1).tolist()
        right = self.counts.diagonal().tolist()
        return [hits / n if n else None for hits, n in zip(right, shown, strict=True)]

    def files(self) -> Mapping[str, Any]:
        """Return the data for confusion.json."""
        return {"confusion": {"labels": list(self.classes), "counts": self.counts.tolist()}}


class Chosen(Confusion):
    """A collector of the confusion matrix and of early-exit results (accuracy and number of steps).

    Args:
        task: task of the outputs and targets.
    """

    def __init__(self, task: Classify) -> None:
        super().__init__(task.outputs, task.first)
        self.early, self._own = EarlyAnswers(task.time_steps, task.first), task.own

    def __call__(self, outputs: Tensor, target: Tensor) -> None:
        """Add a batch of outputs [T, B, classes] and targets [B, ...]."""
        outputs, target = self._own(outputs, target)
        super().__call__(outputs, target)
        self.early(outputs, target)

    def files(self) -> Mapping[str, Any]:
        """Return the data for confusion.json and early.json."""
        return {**super().files(), **self.early.files()}
