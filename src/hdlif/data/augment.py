"""Random image transforms, each a pure function of a batch and of 64 random bits per image.

`torchvision.transforms.v2.RandomHorizontalFlip` and its like draw once per call from the global generator: a
batch would share its draw, and an image's would depend on those before it. So the draw is ours, from
`hdlif.data.draws`, and the images that drew the same are handed together to torchvision's functional form,
which is also faster than a call for each image.
"""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from hdlif.data.draws import Bits

Augmentation = Callable[[Tensor, Bits], Tensor]


def flip(pixels: Tensor, bits: Bits) -> Tensor:
    """Mirror left and right with probability 1/2 (RandomHorizontalFlip); pixels [B, C, H, W], bits [B]."""
    mirrored = torch.from_numpy(bits >> np.uint64(63) == 1)
    return torch.where(mirrored[:, None, None, None], F.horizontal_flip(pixels), pixels)


def shift(pixels: Tensor, bits: Bits) -> Tensor:
    """Move by up to 1/14 of the side, at least 1 pixel, over zeros (RandomCrop with padding).

    28x28: 2 pixels, 32x32: 2, 8x8: 1. Every offset in -p..p is equally likely, in each direction by itself.
    """
    height, width = pixels.shape[-2:]
    low, high = bits & np.uint64(0xFFFFFFFF), bits >> np.uint64(32)
    top, left = _offset(low, side=height), _offset(high, side=width)
    moved = torch.empty_like(pixels)
    for y, x in np.unique(np.stack([top, left], axis=1), axis=0).tolist():
        drew_it = torch.from_numpy((top == y) & (left == x))
        # crop fills with zeros what lies outside, which is the padding.
        moved[drew_it] = F.crop(pixels[drew_it], y, x, height, width)
    return moved


def _offset(bits: Bits, *, side: int) -> NDArray[np.int64]:
    """An offset in -p..p from 32 random bits (their remainder is uneven by less than one in 10**8)."""
    padding = max(1, round(side / 14))
    return (bits % np.uint64(2 * padding + 1)).astype(np.int64) - padding


AUGMENTATIONS: dict[str, Augmentation] = {"flip": flip, "shift": shift}
