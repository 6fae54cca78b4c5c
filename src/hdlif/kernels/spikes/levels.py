"""Which spikes Triton's kernel quantises, and their gradient."""

from typing import Any

import torch
from torch import Tensor

from hdlif.functional import StraightThrough
from hdlif.kernels import devices
from hdlif.kernels.gpu import launching
from hdlif.kernels.plain import is_plain, is_watched

BLOCK = 1024
"""Spikes that an instance takes: a power of two."""
_MODULE = f"{__package__}.triton_kernels"


def serves(spike: Tensor) -> bool:
    """Whether these spikes, of any shape, are for the kernel: plain float32 on a GPU."""
    return (
        devices.kernels_for(spike.device) == "triton"
        and spike.dtype == torch.float32
        and spike.numel() > 0
        and is_plain(spike, spike.device)
        and not is_watched()
    )


def quantised(spike: Tensor, *, bits: int, step: float, offset: float, gradient: StraightThrough) -> Tensor:
    """`functional.quantize_spike` of a step that is a number, of spikes that the kernel serves; the same bits.

    For the identity's gradient nothing is saved, for the clip's a byte a spike.
    """
    saves = gradient == "clip" and torch.is_grad_enabled() and spike.requires_grad
    spikes: Tensor = _Quantised.apply(spike, bits, step, offset, saves)  # type: ignore[no-untyped-call]
    return spikes


class _Quantised(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, spike: Tensor, bits: int, step: float, offset: float, saves: bool) -> Tensor:
        spikes = torch.empty_like(spike)
        # An `empty_like` has the same order in memory if that has no gaps.
        if spikes.stride() != spike.stride():
            spike = spike.contiguous()
            spikes = torch.empty_like(spike)
        inside = torch.empty_like(spike, dtype=torch.bool) if saves else None
        most = 2**bits - 1
        with launching.on(spike.device):
            launching.launch_from(
                _MODULE,
                "quantised_spikes",
                -(-spike.numel() // BLOCK),
                {
                    "spike": spike,
                    "spikes": spikes,
                    "inside": inside,
                    "inverse": 1 / step,
                    "offset": float(offset),
                    "most": float(most),
                    "step": float(step),
                    "largest": most * step,
                    "entries": spike.numel(),
                    "BLOCK": BLOCK,
                },
            )
        if inside is not None:
            ctx.save_for_backward(inside)
        return spikes

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (grad,) = grads
        return grad * ctx.saved_tensors[0] if ctx.saved_tensors else grad, None, None, None, None
