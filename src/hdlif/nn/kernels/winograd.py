"""Compute 3x3 convolutions in float32 with Winograd's F(4x4, 3x3) on a CPU (`native/training/winograd.h`).

A tile of 6x6 pixels and a kernel are transformed to 36 numbers each, Bᵀ·d·B and G·g·Gᵀ. The products m of the
transformed tile and kernel yield 4x4 output pixels, Aᵀ·m·A. Each pair of an input and an output channel takes 36
products instead of 144 (Lavin and Gray, arXiv 1509.09308). The gradients of x and the weight also use Winograd's
algorithm. PyTorch sums in a different order, and `tests/nn/kernels/test_winograd.py` bounds the difference between the
results.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.grad import conv2d_input, conv2d_weight

from hdlif import _native
from hdlif.nn.kernels.tensors import is_plain, is_watched

CHANNELS = 16
"""Number that must divide the numbers of input and output channels."""
TILE, FEWEST_TILES = 4, 48
"""Output pixels of a tile per axis, and the smallest number of tiles for which transforming the kernels saves time."""
_CPU = torch.device("cpu")


def can_convolve(x: Tensor, weight: Tensor) -> bool:
    """Return whether the kernels can convolve x [N, C, H, W] with a weight [D, C, 3, 3].

    The tensors must be plain float32, and C and D must be multiples of 16.
    """
    return (
        x.ndim == 4
        and can_convolve_sizes((x.shape[0], x.shape[2], x.shape[3]), weight)
        and x.shape[1] == weight.shape[1]
        and x.dtype == torch.float32
        and is_plain(x, _CPU)
    )


def can_convolve_sizes(sizes: tuple[int, int, int], weight: Tensor) -> bool:
    """Return whether the kernels can convolve inputs with the given numbers of images, rows and columns."""
    count, height, width = sizes
    return (
        weight.shape[2:] == (3, 3)
        and weight.shape[0] % CHANNELS == weight.shape[1] % CHANNELS == 0
        and count * -(height // -TILE) * -(width // -TILE) >= FEWEST_TILES
        and weight.dtype == torch.float32
        and is_plain(weight, _CPU)
        and not is_watched()
        and not (torch.is_autocast_enabled("cpu") and multiplies_bfloat16_fast())
    )


@cache
def multiplies_bfloat16_fast() -> bool:
    """Return whether bfloat16 convolutions are faster than Winograd's algorithm in float32, as on a CPU with AMX.

    Without AMX tiles, bfloat16 convolutions are slower, even with the bfloat16 products of AVX-512.
    """
    return torch.cpu._is_amx_tile_supported()


def convolve(x: Tensor, weight: Tensor) -> Tensor:
    """Return the convolution with stride 1 and padding 1, [N, D, H, W] in channels-last layout."""
    x = _channels_last(x)
    if torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad):
        y: Tensor = _Convolved.apply(x, weight)  # type: ignore[no-untyped-call]
        return y
    return convolution(x.detach(), weight.detach(), is_back=False)


def gradients(
    x: Tensor | None, weight: Tensor, dy: Tensor, which: tuple[bool, bool]
) -> tuple[Tensor | None, Tensor | None]:
    """Return the required gradients of `x` and the weight. Only the gradient of the weight depends on `x`."""
    dy = _channels_last(dy.detach().resolve_neg())
    dx = convolution(dy, weight.detach(), is_back=True) if which[0] else None
    dw = None
    if which[1]:
        assert x is not None
        dw = kernel_gradient(_channels_last(x.detach()), dy)
    return dx, dw


def _channels_last(maps: Tensor) -> Tensor:
    return maps.contiguous(memory_format=torch.channels_last)


def convolution(x: Tensor, weight: Tensor, *, is_back: bool, instructions: str = "") -> Tensor:
    """Convolve x, in channels-last layout, without a graph.

    Args:
        is_back: whether x is the gradient of the output; then return the gradient of the input.
        instructions: instruction set of the kernels; "" takes the best one of this machine.
    """
    weight = weight.contiguous()
    count, _, height, width = x.shape
    channels = weight.shape[0], weight.shape[1]
    shape = (count, channels[1] if is_back else channels[0], height, width)
    y = torch.empty(shape, dtype=torch.float32, device=_CPU, memory_format=torch.channels_last)
    _native.winograd_convolve(
        weight.data_ptr(),
        channels,
        is_back,
        x.data_ptr(),
        count,
        (height, width),
        y.data_ptr(),
        threads=torch.get_num_threads(),
        instruction_set=instructions,
    )
    return y


def kernel_gradient(x: Tensor, dy: Tensor, *, instructions: str = "") -> Tensor:
    """Return the gradient of the weight, given the input and the output gradient in channels-last layout."""
    count, _, height, width = x.shape
    channels = dy.shape[1], x.shape[1]
    gradient = torch.empty(*channels, 3, 3, dtype=torch.float32, device=_CPU)
    _native.winograd_kernel_gradient(
        x.data_ptr(),
        dy.data_ptr(),
        count,
        (height, width),
        channels,
        gradient.data_ptr(),
        threads=torch.get_num_threads(),
        instruction_set=instructions,
    )
    return gradient


class _Convolved(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x if ctx.needs_input_grad[1] else None, weight)
        ctx.sizes = x.shape
        return convolution(x, weight, is_back=False)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        which: tuple[bool, bool] = ctx.needs_input_grad
        if not torch.is_grad_enabled() and is_plain(dy, _CPU):
            return gradients(x, weight, dy, which)
        # Gradients may be differentiated again or batched.
        dx = conv2d_input(ctx.sizes, weight, dy, padding=1) if which[0] else None  # type: ignore[no-untyped-call]
        dw = conv2d_weight(x, weight.shape, dy, padding=1) if which[1] else None  # type: ignore[no-untyped-call]
        return dx, dw
