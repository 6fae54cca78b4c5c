"""Boxes around objects in an image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hdlif.graph.ops import TaskRecord
from hdlif.graph.ops.detection import count_outputs
from hdlif.learning import Criterion, loss_over, mean_logits
from hdlif.runtime.boxes import Boxes, decode_boxes
from hdlif.training.tasks.average_precision import IOUS, average_precision, match_boxes
from hdlif.training.tasks.box_loss import BoxLoss
from hdlif.training.tasks.extra_metrics import Each
from hdlif.training.tasks.measured_task import Measured
from hdlif.training.tasks.segment import SHOWN
from hdlif.training.tasks.task import (
    Evaluation,
    LearnFrom,
    RightBy,
    Shown,
    Tally,
    Target,
    Total,
    chosen_steps,
    timed,
)

LEAST_SCORE = 0.01
"""Of the boxes that precision is averaged over."""


@dataclass(frozen=True)
class Detect(Measured):
    """Boxes of classes, decoded from the mean of the outputs over time.

    The outputs are those of `hdlif.models.detector`: at every place of a grid, or of two, a logit of each class and the
    distances to the sides of a box; see `hdlif.runtime.boxes.decode_boxes`.

    >>> import torch
    >>> from hdlif.training.tasks import Detect
    >>> task = Detect(("cell",), time_steps=2, size=(16, 16), strides=(8,))
    >>> outputs = torch.full((2, 1, 20), -9.0)
    >>> outputs[..., [0, 4, 8, 12, 16]] = torch.tensor([5.0, -0.5, -0.5, 0.2, 0.2])
    >>> tally = task.tally()
    >>> tally(outputs, torch.tensor([[[0.0, 0, 0, 14, 14]]]))
    >>> round(tally.evaluation().metrics["ap50"], 3)
    1.0

    Args:
        outputs: the classes.
        time_steps: T.
        size: height and width of the network's input.
        strides: pixels between the places of each grid, from small to large.
        threshold: the least score of a box that is given; what is measured counts those with lower scores too.
        overlap: of two boxes of one class that overlap by this or more, the one with the lower score is dropped.
        box_weight: factor of the loss of the boxes; that of their classes has 1.
        learn_from: as in `Classify`.
        metrics, best: as in `Measured`; a metric gets predicted and true boxes as those of `torchmetrics.detection` do.
    Raises:
        ValueError: an argument is out of range.
    """

    size: tuple[int, int]
    strides: Sequence[int] = (8,)
    threshold: float = 0.3
    overlap: float = 0.6
    box_weight: float = 1.0
    learn_from: LearnFrom | None = None

    target: ClassVar[Target] = "boxes"
    figures: ClassVar[Mapping[str, bool]] = {"ap50": True, "ap": True}
    right_by: ClassVar[RightBy] = "mean"
    first: ClassVar[int] = 0

    def __post_init__(self) -> None:
        strides = tuple(self.strides)
        object.__setattr__(self, "strides", strides)
        if not strides or min(strides) < 1 or list(strides) != sorted(set(strides)):
            raise ValueError(f"strides = {list(strides)}; give one or more, each larger than the one before")
        if not 0 < self.threshold < 1:
            raise ValueError(f"threshold = {self.threshold}; it must lie between 0 and 1")
        if not 0 < self.overlap <= 1:
            raise ValueError(f"overlap = {self.overlap}; it must be above 0, and at most 1")
        if not self.box_weight > 0:
            raise ValueError(f"box_weight = {self.box_weight}; it must be above 0")
        super().__post_init__()

    @property
    def output_count(self) -> int:
        """Number of outputs of the network."""
        return count_outputs(len(self.outputs), self.strides, *self.size)

    @property
    def record(self) -> TaskRecord:
        return TaskRecord("detect", threshold=self.threshold, strides=tuple(self.strides), overlap=self.overlap)

    def criterion(self) -> Criterion:
        """Focal loss of the classes and complete-IoU loss of the boxes."""
        loss = BoxLoss(len(self.outputs), self.strides, self.size, self.box_weight)
        return timed(loss, chosen_steps(self.learn_from, "mean"), self.time_steps)

    def tally(self) -> Tally:
        """Average precision."""
        return _Tally(self)

    def drawing(self) -> FoundBoxes:
        """The images with the worst answers."""
        return FoundBoxes(self)

    def right(self, outputs: Tensor, steps: tuple[int, ...], target: Tensor) -> tuple[Tensor, int]:
        return torch.zeros(()), 0

    def boxes(self, outputs: Tensor, least: float | None = None) -> list[Boxes]:
        """The boxes of each sample, from the mean of the outputs [B, n] over time; `least` replaces `threshold`."""
        decode = partial(
            decode_boxes,
            classes=len(self.outputs),
            strides=self.strides,
            size=self.size,
            threshold=self.threshold if least is None else least,
            overlap=self.overlap,
        )
        return [decode(one) for one in outputs.detach().float().cpu().numpy()]

    def scored(self, outputs: Tensor, target: Tensor) -> Any:
        found = [
            {
                "boxes": torch.from_numpy(one.corners),
                "scores": torch.from_numpy(one.scores),
                "labels": torch.from_numpy(one.labels),
            }
            for one in self.boxes(outputs.mean(0), LEAST_SCORE)
        ]
        there = [one[one[:, 0] >= 0] for one in target]
        return found, [{"boxes": one[:, 1:], "labels": one[:, 0].long()} for one in there]

    def noise(self, samples: int, generator: torch.Generator) -> Any:
        outputs = torch.randn(1, samples, self.output_count, generator=generator)
        corners = torch.tensor([0, 0, self.size[1], self.size[0]])
        labels = torch.arange(samples) % len(self.outputs)
        target = torch.cat([labels[:, None], corners.expand(samples, 4)], 1).float()
        return self.scored(outputs, target[:, None])


class _Tally(Tally):
    """Keeps of each box its class, score, and whether it is right at each overlap, after each step: [N, 3 + 10]."""

    def __init__(self, task: Detect) -> None:
        super().__init__(task.asked(), true=len(task.outputs))
        self._task, self._criterion, self._rows = task, task.criterion(), [np.zeros((0, 3 + len(IOUS)), np.float32)]

    def _loss(self, outputs: Tensor, target: Tensor) -> Tensor:
        return loss_over(self._criterion, outputs, target, mean_logits)

    def _added(self, outputs: Tensor, target: Tensor) -> Mapping[str, Tensor]:
        steps = torch.arange(1, len(outputs) + 1, device=outputs.device)[:, None, None]
        true = _there(target)
        for step, mean in enumerate(outputs.cumsum(0) / steps):
            for found, one in zip(self._task.boxes(mean, LEAST_SCORE), true, strict=True):
                right = match_boxes(found, one[:, 1:], one[:, 0].astype(np.int64))
                columns = [np.full(len(found), step), found.labels, found.scores, right]
                self._rows.append(np.column_stack(columns).astype(np.float32))
        labels = target[..., 0][target[..., 0] >= 0].long()
        return {"true": torch.bincount(labels, minlength=len(self._task.outputs))}

    def _score(self, sums: Mapping[str, Tensor]) -> float:
        last = self._precisions(np.concatenate(self._rows), sums)[-1]
        return float(np.nanmean(last[:, 0])) if not np.isnan(last).all() else float("nan")

    def evaluation(self, total: Total = lambda sums: sums, each: Each | None = None) -> Evaluation:
        rows = torch.from_numpy(np.concatenate(self._rows))
        if each is not None:
            rows = torch.cat(each(rows))
        self._rows = [rows.numpy()]
        return super().evaluation(total, each)

    def _precisions(self, rows: Any, sums: Mapping[str, Tensor]) -> Any:
        """After each step, of each class and at each overlap: [T, K, 10]."""
        true = [int(count) for count in sums["true"]]

        def of(step: int, label: int) -> Any:
            own = rows[(rows[:, 0] == step) & (rows[:, 1] == label)]
            return average_precision(own[:, 2], own[:, 3:] > 0, true[label])

        return np.array([[of(step, label) for label in range(len(true))] for step in range(self._task.time_steps)])

    def _evaluation(self, sums: Mapping[str, Tensor], loss: float, n: int) -> Evaluation:
        precisions = self._precisions(np.concatenate(self._rows), sums)
        known = precisions[:, ~np.isnan(precisions[0, :, 0])]
        # Of no true box at all there is no precision.
        means = known.mean(1) if known.size else np.full((len(precisions), len(IOUS)), np.nan)
        metrics = {"ap50": float(means[-1, 0]), "ap": float(means[-1].mean())}
        metrics |= {
            f"ap50.{name}": float(value) for name, value in zip(self._task.outputs, precisions[-1, :, 0], strict=True)
        }
        return Evaluation(None, tuple(means[:, 0].tolist()), loss, n, metrics)


class FoundBoxes:
    """The images with the worst answers, by F1: 2·right/(found + true), a box being right at an overlap of 0.5.

    Attributes:
        worst: the worst first; boxes as rows (class, corners), those with a score of the task's threshold.
    """

    def __init__(self, task: Detect) -> None:
        self._task, self._seen = task, 0
        self.worst: list[Shown] = []

    def __call__(self, outputs: Tensor, target: Tensor) -> None:
        """Add a batch: outputs [T, B, n], target [B, M, 5]."""
        for found, one in zip(self._task.boxes(outputs.mean(0)), _there(target), strict=True):
            right, both = match_boxes(found, one[:, 1:], one[:, 0].astype(np.int64))[:, 0].sum(), len(found) + len(one)
            answer = torch.from_numpy(np.column_stack([found.labels, found.corners]).astype(np.float32))
            self.worst.append(Shown(float(2 * right / both) if both else 1.0, self._seen, answer))
            self._seen += 1
        self.worst = sorted(self.worst, key=lambda shown: (shown.score, shown.index))[:SHOWN]

    def files(self) -> Mapping[str, Any]:
        """None."""
        return {}


def _there(target: Tensor) -> list[NDArray[np.float32]]:
    """The boxes of each sample, without the rows that have none."""
    return [one[one[:, 0] >= 0].cpu().numpy() for one in target]
