"""Multilabel classification: any number of labels per sample."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from hdlif.graph.graph import TaskRecord
from hdlif.learning import Criterion
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


@dataclass(frozen=True)
class Multilabel(Measured):
    """A task with any number of labels per sample; a label is predicted if its sigmoid output is at least `threshold`.

    >>> import torch
    >>> from hdlif.training.tasks import Multilabel
    >>> task = Multilabel(("cat", "dog", "bird"), time_steps=2)
    >>> tally = task.tally()
    >>> labels = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
    >>> tally((6 * labels - 3).expand(2, 2, 3), labels)
    >>> tally.evaluation().metrics[task.metric]
    1.0

    Args:
        outputs: the label names.
        time_steps: T.
        combine: "mean" of the outputs over time, or "last" for the last step's outputs.
        learn_from: as in `Classify`.
        threshold: smallest probability of a predicted label.
        metrics, best: as in `Measured`; metrics receive probabilities [N, L] and true labels, int64 [N, L] of 0 and 1.
    """

    combine: Literal["mean", "last"] = "mean"
    threshold: float = 0.5
    learn_from: LearnFrom | None = None

    target: ClassVar[Target] = "labels"
    figures: ClassVar[Mapping[str, bool]] = {"f1": True, "labels_right": True, "exact": True}
    right_by: ClassVar[RightBy] = "mean"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.threshold < 1:
            raise ValueError(f"threshold = {self.threshold}; it must lie between 0 and 1")

    @property
    def record(self) -> TaskRecord:
        return TaskRecord("multilabel", self.combine, threshold=self.threshold)

    @property
    def first(self) -> int:
        """The first step that contributes to the prediction."""
        return self.time_steps - 1 if self.combine == "last" else 0

    def criterion(self) -> Criterion:
        """Return the binary cross-entropy, averaged over the labels."""
        steps = chosen_steps(self.learn_from, self.combine)
        return timed(F.binary_cross_entropy_with_logits, steps, self.time_steps)

    def tally(self) -> Tally:
        """Return a tally of the mean F1 and the fractions of correct labels and of samples with all labels correct."""
        return _Tally(self)

    def drawing(self) -> Labels:
        """Return a collector that counts true and false predictions per label."""
        return Labels(self)

    def right(self, outputs: Tensor, steps: tuple[int, ...], target: Tensor) -> tuple[Tensor, int]:
        taken = outputs[counted_from(steps, self.first) :].mean(0)
        return (self.said(taken) == (target > 0.5)).sum(), target.numel()

    def said(self, logits: Tensor) -> Tensor:
        """Return the predicted labels."""
        return logits.sigmoid() >= self.threshold

    def after_each(self, outputs: Tensor) -> Tensor:
        """Return the predicted labels after each step, [T, B, L]."""
        counts = torch.arange(1, len(outputs) + 1, device=outputs.device)
        counts = torch.where(counts > self.first, counts - self.first, 1)
        return self.said(so_far(outputs, self.first) / counts[:, None, None])

    def scored(self, outputs: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        sums = so_far(outputs, self.first)[-1]
        return (sums / (len(outputs) - self.first)).double().sigmoid(), (target > 0.5).long()

    def noise(self, samples: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        drawn = torch.rand(2, samples, len(self.outputs), generator=generator, dtype=torch.float64)
        return drawn[0], (drawn[1] > 0.5).long()


def counted(said: Tensor, target: Tensor) -> Tensor:
    """Count the true positives, false positives, false negatives and true negatives of each label, [4, L]."""
    true = target > 0.5
    pairs = (said & true, said & ~true, ~said & true, ~said & ~true)
    return torch.stack([pair.sum(0) for pair in pairs])


class _Tally(Tally):
    def __init__(self, task: Multilabel) -> None:
        super().__init__(task.asked(), task.criterion(), right=task.time_steps, exact=1, counts=4 * len(task.outputs))
        self._task = task

    def _added(self, outputs: Tensor, target: Tensor) -> Mapping[str, Tensor]:
        said = self._task.after_each(outputs)
        right = said == (target > 0.5)
        return {
            "right": right.double().mean(-1).sum(1),
            "exact": right[-1].all(-1).sum()[None],
            "counts": counted(said[-1], target).flatten(),
        }

    def _score(self, sums: Mapping[str, Tensor]) -> float:
        return float(_f1(sums["counts"].view(4, -1)).mean())

    def _evaluation(self, sums: Mapping[str, Tensor], loss: float, n: int) -> Evaluation:
        per_step = tuple(total / n for total in sums["right"].tolist())
        metrics = {"f1": self._score(sums), "labels_right": per_step[-1], "exact": float(sums["exact"]) / n}
        return Evaluation(None, per_step, loss, n, metrics)


def _f1(counts: Tensor) -> Tensor:
    """Return the F1 of each label, 2·tp/(2·tp + fp + fn), or 0 if a label is neither present nor predicted."""
    tp, fp, fn, _ = counts.double()
    return torch.where(tp > 0, 2 * tp / (2 * tp + fp + fn).clamp_min(1), torch.zeros(()).double())


class Labels:
    """The counts of true and false positives and negatives for each label of a test set."""

    def __init__(self, task: Multilabel) -> None:
        self._task = task
        self.counts = torch.zeros(4, len(task.outputs), dtype=torch.int64)

    def __call__(self, outputs: Tensor, target: Tensor) -> None:
        """Add a batch of outputs [T, B, L] and targets [B, L]."""
        self.counts += counted(self._task.after_each(outputs)[-1], target).cpu()

    def files(self) -> Mapping[str, Any]:
        """Return the data for labels.json."""
        names = ("true_positives", "false_positives", "false_negatives", "true_negatives")
        rows = dict(zip(names, self.counts.tolist(), strict=True))
        return {"labels": {"names": list(self._task.outputs), **rows, "f1": _f1(self.counts).tolist()}}
