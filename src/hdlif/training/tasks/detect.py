"""Detection: boxes around objects in an image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hdlif.graph.detection import count_outputs
from hdlif.graph.graph import TaskRecord
from hdlif.learning import Criterion
from hdlif.runtime.boxes import Boxes, decode_boxes, overlaps
from hdlif.training.tasks.box_loss import BoxLoss
from hdlif.training.tasks.extra_metrics import Each
from hdlif.training.tasks.measured_task import Measured
from hdlif.training.tasks.task import (
    Evaluation,
    LearnFrom,
    RightBy,
    Shown,
    Tally,
    Target,
    Total,
    chosen_steps,
    keep_worst,
    timed,
)

IOUS = tuple(round(0.5 + 0.05 * n, 2) for n in range(10))
"""Smallest overlaps of a correct box, which the mean average precision is averaged over."""
_RECALLS = np.linspace(0, 1, 101)
LEAST_SCORE = 0.01
"""Lowest score of the boxes in the average precision."""


@dataclass(frozen=True)
class Detect(Measured):
    """A task that predicts boxes and their classes, either from the outputs' mean over time or at each step.

    At every location of one or two grids, `hdlif.models.detector` outputs a logit per class and the distances to a
    box's sides. `hdlif.runtime.boxes.decode_boxes` converts the outputs to boxes.

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
        outputs: the class names.
        time_steps: T.
        size: height and width of the network's input.
        strides: pixels between the places of each grid, in ascending order.
        threshold: lowest score of a predicted box; the evaluation also counts boxes with lower scores.
        overlap: if two boxes of one class overlap by this or more, the one with the lower score is dropped.
        box_weight: factor of the complete-IoU loss; the focal loss has factor 1.
        combine: "mean", or "each" for targets [T, M, 5].
        learn_from: as in `Classify`.
        metrics, best: as in `Measured`; metrics receive predicted and true boxes in the format of
            `torchmetrics.detection`.
    Raises:
        ValueError: an argument is out of range.
    """

    size: tuple[int, int]
    strides: Sequence[int] = (8,)
    threshold: float = 0.3
    overlap: float = 0.6
    box_weight: float = 1.0
    combine: Literal["mean", "each"] = "mean"
    learn_from: LearnFrom | None = None

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
    def target(self) -> Target:
        return "boxes_each" if self.combine == "each" else "boxes"

    @property
    def output_count(self) -> int:
        """The number of the network's outputs."""
        return count_outputs(len(self.outputs), self.strides, *self.size)

    @property
    def record(self) -> TaskRecord:
        strides = tuple(self.strides)
        return TaskRecord("detect", self.combine, threshold=self.threshold, strides=strides, overlap=self.overlap)

    def criterion(self) -> Criterion:
        """Return the focal loss of the classes plus the complete-IoU loss of the boxes."""
        loss = BoxLoss(len(self.outputs), self.strides, self.size, self.box_weight)
        steps = chosen_steps(self.learn_from, self.combine)
        return timed(loss, steps, self.time_steps, each=self.combine == "each")

    def tally(self) -> Tally:
        """Return a tally of the average precision."""
        return _Tally(self)

    def drawing(self) -> FoundBoxes:
        """Return a collector of the images with the worst predictions."""
        return FoundBoxes(self)

    def right(self, outputs: Tensor, steps: tuple[int, ...], target: Tensor) -> tuple[Tensor, int]:
        return torch.zeros(()), 0

    def answers(self, outputs: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Return the outputs to decode to boxes after each step, [T, B, n], and the true boxes, [T, B, M, 5]."""
        if self.combine == "each":
            return outputs, target.transpose(0, 1)
        steps = torch.arange(1, len(outputs) + 1, device=outputs.device)[:, None, None]
        return outputs.cumsum(0) / steps, target.expand(len(outputs), *target.shape)

    def boxes(self, outputs: Tensor, least: float | None = None) -> list[Boxes]:
        """Decode the boxes of each sample from outputs [B, n]; `least`, if given, replaces the task's `threshold`."""
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
        asked = slice(None) if self.combine == "each" else slice(-1, None)
        decoded, true = (part[asked].flatten(0, 1) for part in self.answers(outputs, target))
        found = [
            {
                "boxes": torch.from_numpy(one.corners),
                "scores": torch.from_numpy(one.scores),
                "labels": torch.from_numpy(one.labels),
            }
            for one in self.boxes(decoded, LEAST_SCORE)
        ]
        there = [one[one[:, 0] >= 0] for one in true]
        return found, [{"boxes": one[:, 1:], "labels": one[:, 0].long()} for one in there]

    def noise(self, samples: int, generator: torch.Generator) -> Any:
        outputs = torch.randn(1, samples, self.output_count, generator=generator)
        corners = torch.tensor([0, 0, self.size[1], self.size[0]])
        labels = torch.arange(samples) % len(self.outputs)
        target = torch.cat([labels[:, None], corners.expand(samples, 4)], 1).float()
        return self.scored(outputs, target[:, None, None] if self.combine == "each" else target[:, None])


class _Tally(Tally):
    """A tally with one row per predicted box, [N, 3 + 10]: step, class, score, and correctness at 10 IoU thresholds."""

    def __init__(self, task: Detect) -> None:
        super().__init__(task.asked(), task.criterion(), true=task.time_steps * len(task.outputs))
        self._task, self._rows = task, [np.zeros((0, 3 + len(IOUS)), np.float32)]

    def _added(self, outputs: Tensor, target: Tensor) -> Mapping[str, Tensor]:
        answers, true = self._task.answers(outputs, target)
        for step, (answer, asked) in enumerate(zip(answers, true, strict=True)):
            for found, one in zip(self._task.boxes(answer, LEAST_SCORE), _there(asked), strict=True):
                right = match_boxes(found, one[:, 1:], one[:, 0].astype(np.int64))
                columns = [np.full(len(found), step), found.labels, found.scores, right]
                self._rows.append(np.column_stack(columns).astype(np.float32))
        count = len(self._task.outputs)
        labels = true[..., 0] + count * torch.arange(len(true), device=true.device)[:, None, None]
        counted = torch.bincount(labels[true[..., 0] >= 0].long(), minlength=len(true) * count)
        return {"true": counted}

    def _score(self, sums: Mapping[str, Tensor]) -> float:
        asked = self._precisions(np.concatenate(self._rows), sums)[-1]
        return float(np.nanmean(asked[:, 0])) if not np.isnan(asked).all() else float("nan")

    def evaluation(self, total: Total = lambda sums: sums, each: Each | None = None) -> Evaluation:
        rows = torch.from_numpy(np.concatenate(self._rows))
        if each is not None:
            rows = torch.cat(each(rows))
        self._rows = [rows.numpy()]
        return super().evaluation(total, each)

    def _precisions(self, rows: Any, sums: Mapping[str, Tensor]) -> Any:
        """Return the average precision per class and IoU threshold, after each step and last overall: [T + 1, K, 10].

        The overall value uses the boxes of all steps if `combine` is "each", otherwise the boxes after the last step.
        """
        true = sums["true"].view(self._task.time_steps, -1).int().numpy()
        steps = [[step] for step in range(len(true))]
        asked = list(range(len(true))) if self._task.combine == "each" else steps[-1]

        def of(steps: list[int], label: int) -> Any:
            own = rows[np.isin(rows[:, 0], steps) & (rows[:, 1] == label)]
            return average_precision(own[:, 2], own[:, 3:] > 0, int(true[steps, label].sum()))

        return np.array([[of(some, label) for label in range(true.shape[1])] for some in (*steps, asked)])

    def _evaluation(self, sums: Mapping[str, Tensor], loss: float, n: int) -> Evaluation:
        precisions = self._precisions(np.concatenate(self._rows), sums)
        # Without true boxes, the precision is undefined.
        known = ~np.isnan(precisions).all(-1)
        means = np.array(
            [one[has].mean(0) if has.any() else one[0] for one, has in zip(precisions, known, strict=True)]
        )
        metrics = {"ap50": float(means[-1, 0]), "ap": float(means[-1].mean())}
        metrics |= {
            f"ap50.{name}": float(value) for name, value in zip(self._task.outputs, precisions[-1, :, 0], strict=True)
        }
        return Evaluation(None, tuple(means[:-1, 0].tolist()), loss, n, metrics)


class FoundBoxes:
    """The images with the lowest F1, 2·correct/(predicted + true); a correct box has an IoU of at least 0.5.

    For a sequence of images, only the last image counts.

    Attributes:
        worst: the worst first; boxes as rows (class, corners), with scores from the task's threshold.
    """

    def __init__(self, task: Detect) -> None:
        self._task, self._seen = task, 0
        self.worst: list[Shown] = []

    def __call__(self, outputs: Tensor, target: Tensor) -> None:
        """Add a batch of outputs [T, B, n] and targets [B, M, 5] or [B, T, M, 5]."""
        answer, true = (part[-1] for part in self._task.answers(outputs, target))
        shown: list[Shown] = []
        for found, one in zip(self._task.boxes(answer), _there(true), strict=True):
            right, both = match_boxes(found, one[:, 1:], one[:, 0].astype(np.int64))[:, 0].sum(), len(found) + len(one)
            boxes = torch.from_numpy(np.column_stack([found.labels, found.corners]).astype(np.float32))
            shown.append(Shown(float(2 * right / both) if both else 1.0, self._seen, boxes))
            self._seen += 1
        self.worst = keep_worst(self.worst, shown)

    def files(self) -> Mapping[str, Any]:
        """Return no files."""
        return {}


def _there(target: Tensor) -> list[NDArray[np.float32]]:
    """Return the true boxes of each sample, without the padding."""
    return [one[one[:, 0] >= 0].cpu().numpy() for one in target]


def match_boxes(found: Boxes, corners: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return whether each predicted box of an image is correct at each IoU threshold in `IOUS`, [N, 10].

    In descending order of score, each predicted box is matched to the unmatched true box of the same class with the
    largest overlap that reaches the threshold.

    Args:
        found: the predicted boxes, the highest score first.
        corners, labels: corners and labels of the true boxes, [M, 4] and [M].
    """
    right = np.zeros((len(found), len(IOUS)), bool)
    shared = np.where(found.labels[:, None] == labels, overlaps(found.corners, corners), -1.0)
    if not len(labels):
        return right
    # For each threshold, whether a true box is still free, and whether the overlap is large enough.
    free, every = np.ones((len(IOUS), len(labels)), bool), np.arange(len(IOUS))
    enough = shared[:, None] >= np.array(IOUS)[:, None] - 1e-10
    for row in np.flatnonzero(enough.any((1, 2))):
        candidates = np.where(free & enough[row], shared[row], -1.0)
        best = candidates.argmax(1)
        right[row] = candidates[every, best] >= 0
        free[every[right[row]], best[right[row]]] = False
    return right


def average_precision(scores: NDArray[np.float64], right: NDArray[np.bool_], true: int) -> NDArray[np.float64]:
    """Return the average precision at each IoU threshold in `IOUS`, [10], interpolated at 101 recall values in 0..1.

    In this example, there are two objects, and a wrong box ranks between two correct boxes:

    >>> import numpy as np
    >>> from hdlif.training.tasks.detect import average_precision
    >>> right = np.repeat([[True], [False], [True]], 10, axis=1)
    >>> float(average_precision(np.array([0.9, 0.8, 0.7]), right, 2)[0].round(4))
    0.835

    Args:
        scores: scores of the boxes of one class in all images, [N].
        right: result of `match_boxes`, [N, 10].
        true: number of true boxes; the result is NaN if it is 0.
    """
    if not true:
        return np.full(len(IOUS), np.nan)
    order = np.argsort(-scores, kind="stable")
    hits = right[order].cumsum(0, dtype=np.float64)
    recall, precision = hits / true, hits / np.arange(1, len(hits) + 1)[:, None]
    best = np.maximum.accumulate(precision[::-1], axis=0)[::-1]
    means = np.zeros(len(IOUS))
    for column in range(len(IOUS)):
        places = np.searchsorted(recall[:, column], _RECALLS, side="left")
        means[column] = best[places[places < len(recall)], column].sum() / len(_RECALLS)
    return means
