"""Layout of detector outputs: class scores and four distances at every grid position of each level."""

from collections.abc import Sequence
from typing import Any

SIDES = 4
"""Number of distances: to the left, upper, right and lower sides of a box."""


def level_shapes(strides: Sequence[int], height: int, width: int) -> list[tuple[int, int]]:
    """Return the number of rows and columns of each level's grid for an input of `height` x `width` pixels.

    >>> level_shapes((8, 16), 20, 32)
    [(3, 4), (2, 2)]
    """
    return [(-(-height // stride), -(-width // stride)) for stride in strides]


def count_outputs(classes: int, strides: Sequence[int], height: int, width: int) -> int:
    """Return the number of outputs of a detector, which is the sum of (classes + 4)·rows·columns over all levels."""
    return (classes + SIDES) * sum(rows * columns for rows, columns in level_shapes(strides, height, width))


def split_levels(outputs: Any, classes: int, strides: Sequence[int], height: int, width: int) -> list[tuple[Any, Any]]:
    """Split outputs [..., n] into class logits [..., K, h, w] and raw distances [..., 4, h, w] per level.

    The outputs of each level form a map [K + 4, h, w] in C order, and all levels are concatenated.

    Args:
        outputs: a NumPy array or a tensor.
    """
    levels, begin = [], 0
    for rows, columns in level_shapes(strides, height, width):
        end = begin + (classes + SIDES) * rows * columns
        level = outputs[..., begin:end].reshape(*outputs.shape[:-1], classes + SIDES, rows, columns)
        levels.append((level[..., :classes, :, :], level[..., classes:, :, :]))
        begin = end
    return levels
