"""Frames of a field of view that drifts over images, with the boxes of each frame."""

from collections.abc import Callable

import numpy as np
from torch import Tensor

from hdlif.data.draws import Bits, expanded
from hdlif.data.image_targets import clipped
from hdlif.errors import ShapeError

Drift = Callable[[Tensor, Tensor, Bits], tuple[Tensor, Tensor]]
"""Maps images [B, C, H, W], their targets and bits to sequences [B, T, ...] of both."""
DRIFT_STREAM = 2**32
"""Stream of the draws of a drift; augmentations have small numbers."""
LEAST_SEEN = 0.25
"""Least visible fraction of a box's area; other boxes are dropped from the frame."""


def drifting(x: Tensor, boxes: Tensor, bits: Bits, *, time_steps: int, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Return the visible part of each image at each time step, and its boxes.

    The upper left corner of the view moves evenly along a line, at step t to whole pixels next to
    a + (b - a)·t/(T - 1). Its ends a and b are drawn evenly from all places within the image.

    >>> import numpy as np
    >>> import torch
    >>> from hdlif.data.drifting import drifting
    >>> image, box = torch.arange(4.0).view(1, 1, 1, 4), torch.tensor([[[0.0, 1, 0, 3, 1]]])
    >>> frames, boxes = drifting(image, box, np.array([1], np.uint64), time_steps=3, size=(1, 2))
    >>> frames[0, :, 0, 0].tolist(), boxes[0, :, 0, 1:].tolist()
    ([[0.0, 1.0], [1.0, 2.0], [2.0, 3.0]], [[1.0, 0.0, 2.0, 1.0], [0.0, 0.0, 2.0, 1.0], [0.0, 0.0, 1.0, 1.0]])

    Args:
        x: images [B, C, H, W].
        boxes: float32 [B, M, 5], as `hdlif.data.image_targets` has them.
        bits: of each image, [B].
        time_steps: T.
        size: height and width of the view.
    Returns:
        frames [B, T, C, h, w] and boxes [B, T, M, 5] in pixels of the frame, clipped to it, without those of which less
        than `LEAST_SEEN` of the area, or less than a pixel of a side, is visible.
    Raises:
        ShapeError: images are smaller than the view.
    """
    height, width = size
    room = np.array([x.shape[-2] - height, x.shape[-1] - width])
    if (room < 0).any():
        raise ShapeError(f"images are {x.shape[-2]}x{x.shape[-1]}, smaller than the field of view, {height}x{width}")
    # [B, 2 ends, 2 axes], and [B, T, 2].
    ends = (expanded(bits, 4).reshape(-1, 2, 2) % (room + 1).astype(np.uint64)).astype(np.float64)
    share = np.linspace(0, 1, time_steps)[:, None]
    corners = np.floor(ends[:, :1] + (ends[:, 1:] - ends[:, :1]) * share + 0.5).astype(np.int64)
    frames = x.new_empty(len(x), time_steps, x.shape[1], height, width)
    edges = boxes.new_tensor([width, height, width, height])
    inside = boxes.new_empty(len(x), time_steps, *boxes.shape[1:])
    for place, path in enumerate(corners.tolist()):
        own = boxes[place][boxes[place, :, 0] >= 0]
        for step, (top, left) in enumerate(path):
            frames[place, step] = x[place, :, top : top + height, left : left + width]
            moved = own - own.new_tensor([0, left, top, left, top])
            seen = _area(moved[:, 1:].clamp(min=0).minimum(edges)) >= LEAST_SEEN * _area(moved[:, 1:])
            inside[place, step] = clipped(moved[seen], height, width, boxes.shape[1])
    return frames, inside


def _area(corners: Tensor) -> Tensor:
    return (corners[:, 2:] - corners[:, :2]).clamp(min=0).prod(1)
