"""Decode the outputs of a detector into boxes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hdlif.graph.detection import split_levels

Floats = NDArray[np.float32]
MOST_BOXES = 100
"""Largest number of boxes per image; those with the highest scores are kept."""
MOST_PEAKS = 300
"""Largest number of candidates per image, those with the highest scores, before overlapping boxes are dropped."""
LARGEST_LOG = 10.0
"""Largest raw distance; its exp, in strides, exceeds any image."""
SAME_BOX = 0.9
"""Intersection over union from which two boxes of a class count as equal."""


@dataclass(frozen=True)
class Boxes:
    """The predicted boxes of one image, with the highest score first.

    Attributes:
        corners: left, top, right and bottom, float32 [N, 4].
        scores: in 0..1, float32 [N].
        labels: classes, int64 [N].
    """

    corners: Floats
    scores: Floats
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.scores)

    def where(self, chosen: NDArray[np.bool_] | NDArray[np.int64]) -> "Boxes":
        """Return the boxes that a boolean mask or an array of indices selects."""
        return Boxes(self.corners[chosen], self.scores[chosen], self.labels[chosen])


def decode_boxes(
    outputs: Floats,
    *,
    classes: int,
    strides: Sequence[int],
    size: tuple[int, int],
    threshold: float,
    overlap: float = 1.0,
) -> Boxes:
    """Decode a detector's mean outputs for one image into boxes.

    Row i and column j of a level with stride s correspond to the location (x, y) = (s·(j + ½), s·(i + ½)). The score of
    a location for class k is σ(z_k). The box of a location is (x - s·e^l, y - s·e^t, x + s·e^r, y + s·e^b), clipped to
    the input. A location yields a box if z_k is the maximum for class k in its 3x3 neighbourhood and σ(z_k) is at least
    `threshold`.

    >>> import numpy as np
    >>> from hdlif.runtime.boxes import decode_boxes
    >>> level = np.full((1 + 4, 2, 2), -9, np.float32)
    >>> level[:, 1, 0] = 2, 0, 0, 0.25, 0
    >>> found = decode_boxes(level.ravel(), classes=1, strides=(8,), size=(16, 16), threshold=0.5)
    >>> [round(side, 1) for side in found.corners[0].tolist()], round(float(found.scores[0]), 2), found.labels.tolist()
    ([0.0, 4.0, 14.3, 16.0], 0.88, [0])

    Args:
        outputs: float32 [n], with the levels in the order of `hdlif.graph.detection`.
        classes: K.
        strides: distance between neighbouring places of each level, in pixels.
        size: height and width of the network's input.
        threshold: minimum score.
        overlap: minimum intersection over union at which the lower-scoring of two boxes of one class is dropped; 1
            keeps all boxes.
    Returns:
        at most `MOST_BOXES` boxes, in pixels of the network's input.
    """
    height, width = size
    least = np.log(threshold / (1 - threshold)) if threshold > 0 else -np.inf
    logits, corners, labels = [], [], []
    for stride, (scores, distances) in zip(strides, split_levels(outputs, classes, strides, *size), strict=True):
        label, row, column = np.nonzero((scores >= least) & (scores == _largest_around(scores)))
        reach = stride * np.exp(np.minimum(distances[:, row, column].astype(np.float32), LARGEST_LOG))
        x, y = stride * (column + np.float32(0.5)), stride * (row + np.float32(0.5))
        corners.append(np.stack([x - reach[0], y - reach[1], x + reach[2], y + reach[3]], 1))
        logits.append(scores[label, row, column])
        labels.append(label)
    all_logits = np.concatenate(logits)
    order = np.argsort(-all_logits, kind="stable")[:MOST_PEAKS]
    cut = np.concatenate(corners)[order].clip(0, [width, height] * 2).astype(np.float32)
    found = Boxes(cut, _scores(all_logits[order]), np.concatenate(labels)[order].astype(np.int64))
    found = found.where(np.flatnonzero((cut[:, 2] > cut[:, 0]) & (cut[:, 3] > cut[:, 1])))
    found = found if overlap >= 1 else without_overlaps(found, overlap)
    return found.where(np.arange(min(len(found), MOST_BOXES)))


def highest_score(outputs: Floats, classes: int, strides: Sequence[int], size: tuple[int, int]) -> float:
    """Return the highest score of any location and class; the arguments are as in `decode_boxes`."""
    logits = [scores.max() for scores, _ in split_levels(outputs, classes, strides, *size)]
    return float(_scores(np.array(logits)).max())


def _scores(logits: Floats) -> Floats:
    scores: Floats = (1 / (1 + np.exp(-logits.clip(-80, 80)))).astype(np.float32)
    return scores


def _largest_around(scores: Floats) -> Floats:
    """Return the maximum in the 3x3 neighbourhood of each entry of maps [K, h, w]."""
    rows, columns = scores.shape[1:]
    framed = np.pad(scores, ((0, 0), (1, 1), (1, 1)), constant_values=-np.inf)
    shifted = [framed[:, i : i + rows, j : j + columns] for i in range(3) for j in range(3)]
    largest: Floats = np.max(shifted, axis=0)
    return largest


def overlaps(first: Floats, second: Floats) -> NDArray[np.float64]:
    """Return the intersection over union [N, M] of all pairs of boxes in [N, 4] and [M, 4].

    >>> import numpy as np
    >>> from hdlif.runtime.boxes import overlaps
    >>> overlaps(np.array([[0, 0, 2, 2]]), np.array([[0, 0, 2, 2], [1, 0, 3, 2], [5, 5, 6, 6]])).round(3).tolist()
    [[1.0, 0.333, 0.0]]

    Args:
        first, second: left, top, right and bottom of each box.
    """
    # [4, N, 1] and [4, 1, M].
    a, b = first.T.astype(np.float64)[:, :, None], second.T.astype(np.float64)[:, None]
    widths, heights = (np.minimum(a[axis + 2], b[axis + 2]) - np.maximum(a[axis], b[axis]) for axis in (0, 1))
    shared = widths.clip(0) * heights.clip(0)
    areas = [(one[2] - one[0]) * (one[3] - one[1]) for one in (a, b)]
    found: NDArray[np.float64] = shared / np.maximum(areas[0] + areas[1] - shared, 1e-12)
    return found


def agreement(first: Boxes, second: Boxes) -> float:
    """Return the fraction of boxes in two sets that match a box in the other set, or 1 if there are no boxes.

    Args:
        first, second: two sets of boxes for the same image.
    """
    if not len(first) + len(second):
        return 1.0
    same = (overlaps(first.corners, second.corners) >= SAME_BOX) & (first.labels[:, None] == second.labels)
    return float(same.any(1).sum() + same.any(0).sum()) / (len(first) + len(second))


def without_overlaps(boxes: Boxes, overlap: float) -> Boxes:
    """Drop each box that overlaps a higher-scoring box of the same class (non-maximum suppression).

    Args:
        boxes: boxes with the highest score first.
        overlap: intersection over union from which boxes are dropped.
    """
    close = overlaps(boxes.corners, boxes.corners) >= overlap
    close &= boxes.labels[:, None] == boxes.labels
    kept = np.ones(len(boxes), bool)
    for place in range(len(boxes)):
        if kept[place]:
            kept[place + 1 :] &= ~close[place, place + 1 :]
    return boxes.where(kept)
