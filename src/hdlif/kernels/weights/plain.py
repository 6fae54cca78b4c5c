"""Latent weights that kernels may read by their address."""

import torch
from torch import Tensor

from hdlif.kernels import devices
from hdlif.kernels.plain import is_plain, is_watched

MOST_WEIGHTS = 2**30
"""Of a layer: kernels count them in 32 bits, and a little beyond the last one."""


def lie_in_one_piece(weight: Tensor) -> bool:
    """Whether there are kernels for them: plain float32 [out, ...] on a device that has some, output channel behind
    output channel."""
    return (
        weight.dtype == torch.float32
        and 0 < weight.numel() < MOST_WEIGHTS
        and devices.kernels_for(weight.device) is not None
        and not is_watched()
        and is_plain(weight, weight.device)
        and (weight.is_contiguous() or (weight.ndim == 4 and weight.is_contiguous(memory_format=torch.channels_last)))
    )
