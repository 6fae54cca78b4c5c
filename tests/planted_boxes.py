"""Outputs of a detector from which given boxes are decoded."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hdlif.graph.detection import count_outputs, split_levels

NOTHING = -9.0


def planted(
    boxes: Sequence[tuple[int, tuple[float, float, float, float], float]],
    *,
    classes: int,
    strides: Sequence[int],
    size: tuple[int, int],
    level: int = 0,
) -> NDArray[np.float32]:
    """Outputs [n] in which each box, (class, corners, logit), is at the place nearest to its centre."""
    outputs = np.full(count_outputs(classes, strides, *size), NOTHING, np.float32)
    logits, distances = split_levels(outputs, classes, strides, *size)[level]
    stride = strides[level]
    for label, (x0, y0, x1, y1), logit in boxes:
        row, column = int((y0 + y1) / 2 // stride), int((x0 + x1) / 2 // stride)
        x, y = stride * (column + 0.5), stride * (row + 0.5)
        logits[label, row, column] = logit
        distances[:, row, column] = np.log(np.array([x - x0, y - y0, x1 - x, y1 - y]) / stride)
    return outputs
