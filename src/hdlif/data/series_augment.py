"""Random changes of series (Um et al. 2017), of normalised ones [B, C, T, 1], each sample's from its own 64 bits."""

import torch
from torch import Tensor

from hdlif.data.draws import Bits, of_each


def jittered(x: Tensor, bits: Bits, *, deviation: float) -> Tensor:
    """Normal noise on each value, in units of its channel's deviation: x + σ·n."""
    return of_each(lambda one: one + deviation * torch.randn(one.shape), list(x), bits)


def scaled(x: Tensor, bits: Bits, *, deviation: float) -> Tensor:
    """Each channel of a series times a factor of its own, normal about 1: (1 + σ·n)·x."""
    return of_each(lambda one: one * (1 + deviation * torch.randn(len(one), 1, 1)), list(x), bits)
