"""Latent weights that kernels may read by their address."""

import torch
from torch import Tensor

from hdlif.kernels import devices
from hdlif.kernels.gpu.launching import MOST_ENTRIES
from hdlif.kernels.plain import is_plain, is_watched


def lie_in_one_piece(weight: Tensor) -> bool:
    """Whether they are for kernels: plain float32 [out, ...] in one piece where there are some, output channel by
    output channel."""
    return (
        weight.dtype == torch.float32
        and 0 < weight.numel() < MOST_ENTRIES
        and not torch.compiler.is_compiling()
        and not is_watched()
        and is_plain(weight, weight.device)
        and (weight.is_contiguous() or (weight.ndim == 4 and weight.is_contiguous(memory_format=torch.channels_last)))
        and devices.kernels_for(weight.device) is not None
    )
