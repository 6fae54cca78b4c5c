"""Segmentation: predict a class or an object at each pixel."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from hdlif.graph.graph import TaskRecord
from hdlif.inputs import objects
from hdlif.inputs.fitting import IGNORED
from hdlif.learning import Criterion
from hdlif.training.tasks.classify import Confusion
from hdlif.training.tasks.measured_task import Measured
from hdlif.training.tasks.task import (
    Evaluation,
    LearnFrom,
    RightBy,
    Shown,
    Tally,
    Target,
    chosen_steps,
    counted_from,
    keep_worst,
    so_far,
    timed,
)


@dataclass(frozen=True)
class CrossEntropyAndDice:
    """The cross-entropy plus `dice` times the mean of 1 - Dice over classes, averaged over images.

    The Dice of class c is (2·Σ p_c·g_c + 1)/(Σ p_c + Σ g_c + 1), summed over an image's pixels (Milletari et al. 2016).
    Here, p_c is the probability of class c, and g_c is 1 at pixels of class c. Ignored pixels do not contribute to the
    loss.

    >>> import torch
    >>> from hdlif.training.tasks.segment import CrossEntropyAndDice
    >>> target = torch.tensor([[[0, 1, -1]]])
    >>> logits = 100.0 * torch.tensor([[[[1, 0, 0]], [[0, 1, 0]]]])
    >>> CrossEntropyAndDice()(logits, target).item()
    0.0
    """

    dice: float = 1.0

    def __call__(self, logits: Tensor, target: Tensor) -> Tensor:
        valid = (target >= 0).to(logits.dtype)
        losses = F.cross_entropy(logits, target, ignore_index=IGNORED, reduction="none").sum((1, 2))
        loss = (losses / valid.sum((1, 2)).clamp_min(1)).mean()
        if not self.dice:
            return loss
        shares = logits.softmax(1) * valid[:, None]
        true = F.one_hot(target.clamp_min(0), logits.shape[1]).movedim(-1, 1) * valid[:, None]
        common, both = (shares * true).sum((2, 3)), (shares + true).sum((2, 3))
        return loss + self.dice * (1 - (2 * common + 1) / (both + 1)).mean()


@dataclass(frozen=True)
class Segment(Measured):
    """A task with a class per pixel: the argmax of the outputs' mean over time or of the last step's outputs.

    >>> import torch
    >>> from hdlif.training.tasks import Segment
    >>> task = Segment(("ground", "cell"), time_steps=2)
    >>> tally = task.tally()
    >>> target = torch.tensor([[[0, 1], [1, -1]]])
    >>> tally(torch.stack([target == 0, target == 1], 1).float().expand(2, -1, -1, -1, -1), target)
    >>> tally.evaluation().metrics
    {'miou': 1.0, 'dice': 1.0, 'pixel_accuracy': 1.0}

    Args:
        outputs: the class names.
        time_steps: T.
        combine: "mean" of the outputs over time, or "last" for the last step's outputs.
        learn_from: as in `Classify`.
        dice: weight of the Dice loss, which is added to cross-entropy.
        metrics, best: as in `Measured`; metrics receive probabilities [N, classes] and classes [N] of all pixels that
            are not ignored.
    """

    combine: Literal["mean", "last"] = "mean"
    learn_from: LearnFrom | None = None
    dice: float = 1.0

    target: ClassVar[Target] = "map"
    figures: ClassVar[Mapping[str, bool]] = {"miou": True, "dice": True, "pixel_accuracy": True}
    right_by: ClassVar[RightBy] = "mean"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.dice < float("inf"):
            raise ValueError(f"dice = {self.dice}; it must be at least 0")

    @property
    def record(self) -> TaskRecord:
        return TaskRecord("segment", self.combine)

    @property
    def first(self) -> int:
        """The first step that contributes to the prediction."""
        return self.time_steps - 1 if self.combine == "last" else 0

    @property
    def measured(self) -> tuple[str, ...]:
        """The names of the pixel classes in the metrics."""
        return self.outputs

    def criterion(self) -> Criterion:
        """Return the sum of cross-entropy and Dice loss."""
        return timed(self.loss, chosen_steps(self.learn_from, self.combine), self.time_steps)

    def loss(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the loss for the logits [B, classes, H, W] of one step."""
        return CrossEntropyAndDice(self.dice)(logits, self.learned(target))

    def learned(self, target: Tensor) -> Tensor:
        """Return the target class of each pixel, [B, H, W]."""
        return target

    def answers(self, outputs: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Return the predicted class of each pixel after each step, [T, B, H, W], and the true class."""
        return so_far(outputs, self.first).argmax(2), target

    def tally(self) -> Tally:
        """Return a tally of intersection over union and Dice, over all pixels."""
        return _Tally(self)

    def drawing(self) -> Pixels:
        """Return a collector of the confusion matrix over pixels, and of the images with the worst predictions."""
        return Pixels(self)

    def right(self, outputs: Tensor, steps: tuple[int, ...], target: Tensor) -> tuple[Tensor, int]:
        chosen, wanted = outputs[counted_from(steps, self.first) :].mean(0).argmax(1), self.learned(target)
        return (chosen == wanted).sum(), int((wanted >= 0).sum())

    def shown(self, outputs: Tensor, target: Tensor) -> Iterator[tuple[float, Tensor]]:
        """Yield the mean intersection over union and the predicted map, int64 [H, W], of each image."""
        predicted, true = self.answers(outputs, target)
        for answer, one in zip(predicted[-1], true, strict=True):
            yield float(_overlaps(_counts(answer, one, len(self.measured)))[0].nanmean()), answer.cpu()

    def scored(self, outputs: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        wanted = self.learned(target)
        mean = so_far(outputs, self.first)[-1].double() / (len(outputs) - self.first)
        valid = wanted >= 0
        return mean.softmax(1).movedim(1, -1)[valid], wanted[valid]


@dataclass(frozen=True)
class Instances(Segment):
    """A task with an object number per pixel, which is found from outputs for background, boundary and interior.

    An object's boundary consists of those of its pixels that share an edge with another object or the background.

    >>> import torch
    >>> from hdlif.training.tasks import Instances
    >>> task = Instances(("background", "boundary", "inside"), time_steps=1)
    >>> numbers = torch.zeros(1, 7, 9, dtype=torch.int64)
    >>> numbers[:, 1:6, 1:4], numbers[:, 1:6, 4:8] = 1, 2
    >>> tally = task.tally()
    >>> tally(8.0 * torch.nn.functional.one_hot(task.learned(numbers), 3).movedim(-1, 1)[None], numbers)
    >>> tally.evaluation().metrics
    {'ap50': 1.0, 'iou': 1.0, 'dice': 1.0}

    Args:
        outputs: `objects.PARTS`.
        time_steps, combine, learn_from, dice, metrics, best: as in `Segment`; metrics receive the parts of objects.
    """

    target: ClassVar[Target] = "instances"
    figures: ClassVar[Mapping[str, bool]] = {"ap50": True, "iou": True, "dice": True}

    @property
    def record(self) -> TaskRecord:
        return TaskRecord("instances", self.combine)

    @property
    def measured(self) -> tuple[str, ...]:
        return ("background", "object")

    def learned(self, target: Tensor) -> Tensor:
        """Convert each pixel's object number to the class background, boundary or interior, [B, H, W]."""
        differs = torch.zeros_like(target, dtype=torch.bool)
        for axis in (1, 2):
            first, second = (
                target.narrow(axis, 0, target.shape[axis] - 1),
                target.narrow(axis, 1, target.shape[axis] - 1),
            )
            apart = (first != second) & (first >= 0) & (second >= 0)
            differs.narrow(axis, 0, target.shape[axis] - 1).logical_or_(apart)
            differs.narrow(axis, 1, target.shape[axis] - 1).logical_or_(apart)
        parts = torch.where(differs, objects.BOUNDARY, objects.INSIDE)
        return torch.where(target > 0, parts, target)

    def answers(self, outputs: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Return the predicted object mask after each step, [T, B, H, W], and the true mask."""
        counts = torch.arange(1, len(outputs) + 1, device=outputs.device)
        counts = torch.where(counts > self.first, counts - self.first, 1)
        mean = so_far(outputs, self.first) / counts.view(-1, 1, 1, 1, 1)
        return (mean.softmax(2)[:, :, objects.BACKGROUND] < 0.5).long(), target.clamp_max(1)

    def matched(self, outputs: Tensor, target: Tensor) -> Iterator[tuple[tuple[int, int, int], Tensor]]:
        """Yield each image's number of true positives, false positives and missed objects, and its predicted map."""
        last = (so_far(outputs, self.first)[-1] / (len(outputs) - self.first)).float().cpu().numpy()
        for one, true in zip(last, target.cpu().numpy(), strict=True):
            found = objects.objects_of(one)
            yield objects.matched(found, true), torch.from_numpy(found).long()

    def shown(self, outputs: Tensor, target: Tensor) -> Iterator[tuple[float, Tensor]]:
        """Yield for each image TP/(TP + FP + FN), or 1 if there are no objects, and the map of object numbers."""
        for counts, found in self.matched(outputs, target):
            yield counts[0] / sum(counts) if any(counts) else 1.0, found

    def tally(self) -> Tally:
        """Return a tally of TP/(TP + FP + FN) and of the object pixels' intersection over union and Dice."""
        return _ObjectTally(self)


def _counts(predicted: Tensor, true: Tensor, classes: int) -> Tensor:
    """Return the number of pixels per true and predicted class, [classes, classes], without ignored pixels."""
    valid = true >= 0
    pairs = true[valid] * classes + predicted[valid]
    return torch.bincount(pairs, minlength=classes**2).view(classes, classes)


def _overlaps(counts: Tensor) -> tuple[Tensor, Tensor]:
    """Return each class's intersection over union and Dice, [..., classes], from counts [..., classes, classes].

    Both values are NaN for a class that is neither present nor predicted.
    """
    common = counts.diagonal(dim1=-2, dim2=-1).double()
    both = counts.sum(-1) + counts.sum(-2)
    return common / (both - common), 2 * common / both


class _Tally(Tally):
    def __init__(self, task: Segment, **sizes: int) -> None:
        self._classes = len(task.measured)
        super().__init__(task.asked(), task.criterion(), counts=task.time_steps * self._classes**2, **sizes)
        self._task = task

    def _added(self, outputs: Tensor, target: Tensor) -> Mapping[str, Tensor]:
        predicted, true = self._task.answers(outputs, target)
        return {"counts": torch.stack([_counts(one, true, self._classes) for one in predicted]).flatten()}

    def _by_step(self, sums: Mapping[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Return the counts, the intersection over union and the Dice of each class after each step."""
        counts = sums["counts"].view(-1, self._classes, self._classes)
        return counts, *_overlaps(counts)

    def _score(self, sums: Mapping[str, Tensor]) -> float:
        return float(self._by_step(sums)[1][-1].nanmean())

    def _evaluation(self, sums: Mapping[str, Tensor], loss: float, n: int) -> Evaluation:
        counts, iou, dice = self._by_step(sums)
        accuracy = float(counts[-1].diagonal().sum() / counts[-1].sum())
        metrics = {"miou": float(iou[-1].nanmean()), "dice": float(dice[-1].nanmean()), "pixel_accuracy": accuracy}
        return Evaluation(None, tuple(iou.nanmean(1).tolist()), loss, n, metrics)


class _ObjectTally(_Tally):
    def __init__(self, task: Instances) -> None:
        super().__init__(task, objects=3)
        self._matched = task.matched

    def _added(self, outputs: Tensor, target: Tensor) -> Mapping[str, Tensor]:
        return {
            **super()._added(outputs, target),
            "objects": torch.tensor([counts for counts, _ in self._matched(outputs, target)]).sum(0),
        }

    def _score(self, sums: Mapping[str, Tensor]) -> float:
        """Return TP/(TP + FP + FN), or 0 if there is neither a true nor a predicted object."""
        return float(sums["objects"][0] / sums["objects"].sum().clamp_min(1))

    def _evaluation(self, sums: Mapping[str, Tensor], loss: float, n: int) -> Evaluation:
        _, iou, dice = self._by_step(sums)
        metrics = {"ap50": self._score(sums), "iou": float(iou[-1, 1]), "dice": float(dice[-1, 1])}
        return Evaluation(None, tuple(iou[:, 1].tolist()), loss, n, metrics)


class Pixels(Confusion):
    """The number of pixels per true class and per predicted class after the last step.

    Attributes:
        worst: the images with the worst predictions, the worst first.
    """

    def __init__(self, task: Segment) -> None:
        super().__init__(task.measured)
        self._task, self._seen = task, 0
        self.worst: list[Shown] = []

    def __call__(self, outputs: Tensor, target: Tensor) -> None:
        """Add a batch of outputs [T, B, classes, H, W] and targets [B, H, W]."""
        predicted, true = self._task.answers(outputs, target)
        self.counts += _counts(predicted[-1], true, len(self.counts)).cpu()
        scored = enumerate(self._task.shown(outputs, target), self._seen)
        self.worst = keep_worst(self.worst, (Shown(score, index, answer) for index, (score, answer) in scored))
        self._seen += len(target)

    def files(self) -> Mapping[str, Any]:
        """Return the data for confusion.json, with counts of pixels."""
        return {"confusion": {**super().files()["confusion"], "of": "pixels"}}
