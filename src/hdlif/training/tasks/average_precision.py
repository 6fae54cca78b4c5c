"""Average precision of boxes, as COCO has it."""

import numpy as np
from numpy.typing import NDArray

from hdlif.runtime.boxes import Boxes, overlaps

IOUS = tuple(round(0.5 + 0.05 * n, 2) for n in range(10))
"""The overlaps from which a box counts as right, of the mean average precision."""
_RECALLS = np.linspace(0, 1, 101)


def match_boxes(found: Boxes, corners: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which of the boxes of an image are right, at each of `IOUS`: [N, 10].

    In the order of their scores, each takes the true box of its class that it overlaps most, of those that no box
    before it has taken and that it overlaps enough.

    Args:
        found: the highest score first.
        corners, labels: of the true boxes, [M, 4] and [M].
    """
    right = np.zeros((len(found), len(IOUS)), bool)
    shared = np.where(found.labels[:, None] == labels, overlaps(found.corners, corners), -1.0)
    if not len(labels):
        return right
    # At each overlap, whether a true box is still free and is overlapped enough.
    free, every = np.ones((len(IOUS), len(labels)), bool), np.arange(len(IOUS))
    enough = shared[:, None] >= np.array(IOUS)[:, None] - 1e-10
    for row in np.flatnonzero(enough.any((1, 2))):
        candidates = np.where(free & enough[row], shared[row], -1.0)
        best = candidates.argmax(1)
        right[row] = candidates[every, best] >= 0
        free[every[right[row]], best[right[row]]] = False
    return right


def average_precision(scores: NDArray[np.float64], right: NDArray[np.bool_], true: int) -> NDArray[np.float64]:
    """Mean over 101 recalls in 0..1 of the best precision at that recall or a higher one, at each of `IOUS`: [10].

    Two boxes of two objects, and between them a wrong one:

    >>> import numpy as np
    >>> from hdlif.training.tasks.average_precision import average_precision
    >>> right = np.repeat([[True], [False], [True]], 10, axis=1)
    >>> float(average_precision(np.array([0.9, 0.8, 0.7]), right, 2)[0].round(4))
    0.835

    Args:
        scores: of the boxes of one class in all images, [N].
        right: as `match_boxes` gives it.
        true: number of true boxes; NaN for none.
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
