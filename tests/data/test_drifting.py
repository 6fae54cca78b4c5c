"""A field of view that drifts over images: what is in it at each step, and where it goes."""

import numpy as np
import pytest
import torch
from torch import Tensor

from hdlif.data.draws import random_bits
from hdlif.data.image_targets import clipped, drifting
from hdlif.errors import ShapeError

T, SIZE, COUNT = 5, (12, 20), 40


def made(count: int = COUNT) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Images whose pixels state their place, a box and a row without one in each, and what is shown of them."""
    x = torch.arange(30 * 40.0).view(1, 1, 30, 40).expand(count, -1, -1, -1)
    boxes = torch.tensor([[1.0, 8, 9, 22, 17], [-1.0] * 5]).expand(count, -1, -1)
    bits = random_bits(np.arange(count), seed=3, epoch=0, stream=2**32)
    return x, boxes, *drifting(x, boxes, bits, time_steps=T, size=SIZE)


def test_the_view_moves_evenly_over_the_image_with_the_boxes_that_are_in_it() -> None:
    x, boxes, frames, inside = made()
    assert (frames.shape, inside.shape) == ((COUNT, T, 1, *SIZE), (COUNT, T, 2, 5))
    paths = torch.stack([frames[:, :, 0, 0, 0] // 40, frames[:, :, 0, 0, 0] % 40], -1).long()
    for sample, path in enumerate(paths.tolist()):
        for step, (top, left) in enumerate(path):
            assert torch.equal(frames[sample, step], x[sample, :, top : top + 12, left : left + 20])
            own = boxes[sample, :1] - torch.tensor([0, left, top, left, top])
            # Of 14 columns from 8 on and 8 rows from 9 on, a quarter is in view.
            columns, rows = min(22, left + 20) - max(8, left), min(17, top + 12) - max(9, top)
            seen = max(columns, 0) * max(rows, 0) >= 14 * 8 / 4
            assert torch.equal(inside[sample, step], clipped(own[: int(seen)], *SIZE, 2))
    # Each step is as long as the others, but for whole pixels.
    steps = paths.diff(dim=1).float()
    assert (steps - steps.mean(1, keepdim=True)).abs().max() <= 1
    assert steps.abs().max() > 3
    # Ends are anywhere in the image, 0..18 and 0..20.
    assert (paths.amin((0, 1)) <= 1).all()
    assert (paths.amax((0, 1)) >= torch.tensor([17, 19])).all()
    assert (inside[..., 0, 0] == -1).any()
    assert inside.dtype == torch.float32
    # A path is of its sample alone.
    assert torch.equal(made(7)[2], frames[:7])
    assert len(frames.flatten(1).unique(dim=0)) > COUNT - 3


def test_a_view_that_is_larger_than_the_image_is_refused() -> None:
    with pytest.raises(ShapeError, match="images are 8x9, smaller than the field of view, 9x9"):
        drifting(torch.zeros(1, 1, 8, 9), torch.zeros(1, 0, 5), np.zeros(1, np.uint64), time_steps=1, size=(9, 9))
