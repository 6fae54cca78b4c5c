"""Choose the memory layout of images and weights, and find convolutions that need contiguous inputs.

For the weight gradient of a strided 1×1 convolution, oneDNN copies the required pixels to a buffer of (pixels × input
channels) values. The copy is split into parts whose offsets assume a full vector register of channels: 8 for AVX2, 16
for AVX-512. With fewer input channels, oneDNN writes beyond the buffer, which causes wrong gradients, crashes or hangs.
Writes beyond the buffer occur only in channels-last layout (see docs/reference/installing.md).

Convolutions of one-pixel maps, such as the steps of a time series, run as matrix products. For one pixel, the setup of
a convolution takes longer than the matrix product itself.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.modules.module import _has_any_global_hook

from hdlif.nn.kernels import winograd
from hdlif.nn.kernels.tensors import is_plain, is_watched

REGISTER_CHANNELS = 16
"""Number of float32 values in the widest vector register that oneDNN uses."""


def must_stay_contiguous(layer: nn.Module) -> bool:
    """Return whether oneDNN may write beyond a buffer in this layer's weight gradient in channels-last layout.

    The result depends only on the layer's shape, so the choice of layout is the same on every processor and device.
    """
    return (
        isinstance(layer, nn.Conv2d)
        and layer.kernel_size == (1, 1)
        and max(layer.stride) > 1
        and layer.groups == 1
        and layer.in_channels < REGISTER_CHANNELS
    )


def laid_out(maps: Tensor, layout: torch.memory_format) -> Tensor:
    """Return maps [K, B, C, H, W] with each frame in the given memory layout."""
    return maps.flatten(0, 1).contiguous(memory_format=layout).view(maps.shape)


def learns_in_channels_last(maps: Tensor) -> bool:
    """Return whether to convert maps [K, B, C, H, W] to channels last for convolutions that keep this layout."""
    return _may_be_laid_out(maps) and maps.shape[2] % winograd.CHANNELS == 0


def reads_channels_last(stem: nn.Module, images: Tensor) -> bool:
    """Return whether to convert images [K, B, C, H, W] to channels last before the first convolution.

    In channels-last layout, the first convolution is faster and returns maps in the layout that body convolutions need.
    With one channel, no conversion is needed, because both layouts have the same strides.
    """
    if not _may_be_laid_out(images) or images.shape[2] == 1:
        return False
    convolutions = [layer for layer in stem.modules() if isinstance(layer, nn.Conv2d)]
    if not convolutions or any(map(must_stay_contiguous, convolutions)):
        return False
    return convolutions[0].out_channels % winograd.CHANNELS == 0


def _may_be_laid_out(maps: Tensor) -> bool:
    return (
        maps.ndim == 5
        # PyTorch 2.13 gives wrong gradients of a batch norm of one image with channels last.
        and maps.shape[1] > 1
        and maps.dtype == torch.float32
        and is_plain(maps, torch.device("cpu"))
        and maps.is_contiguous()
        and maps.shape[3:].numel() > 1
        and not is_watched()
    )


def lay_out(model: nn.Module, layout: torch.memory_format) -> None:
    """Convert weights and buffers to the given layout, except in layers that must stay contiguous."""
    model.to(memory_format=layout)  # type: ignore[call-overload]
    for layer in model.modules():
        if must_stay_contiguous(layer):
            assert isinstance(layer, nn.Conv2d)
            layer.weight.data = contiguous(layer.weight.data)
            if _contiguous_input not in layer._forward_pre_hooks.values():
                layer.register_forward_pre_hook(_contiguous_input)


def contiguous(x: Tensor) -> Tensor:
    """Return `x` with the strides of the contiguous layout.

    `Tensor.contiguous` keeps the strides of a 1×1 kernel in channels last, because such a kernel is also contiguous.
    PyTorch, however, infers the layout from the strides.
    """
    strides, step = [], 1
    for size in reversed(x.shape):
        strides.append(step)
        step *= size
    return x if x.stride() == tuple(reversed(strides)) else x.clone(memory_format=torch.contiguous_format)


def _contiguous_input(layer: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return contiguous(args[0]), *args[1:]


def is_product(layer: _ConvNd, x: Tensor) -> bool:
    """Return whether a convolution of x [N, C, H, W] has a 1x1 kernel and one-pixel maps, and thus equals W·x + b."""
    return (
        x.ndim == 4
        and x.shape[1:] == (layer.in_channels, 1, 1)
        and layer.kernel_size == (1, 1)
        and layer.groups == 1
        and layer.padding in ((0, 0), "valid", "same")
    )


def product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return W·x + b, [N, D, 1, 1], for x [N, C, 1, 1] and a kernel [D, C, 1, 1]."""
    return F.linear(x.flatten(1), weight.flatten(1), bias)[:, :, None, None]


def runs_as_product(module: nn.Module, x: Tensor) -> bool:
    """Return whether `is_product` holds and the module is an unmodified PyTorch `Conv2d` without hooks."""
    return (
        type(module) is nn.Conv2d and is_product(module, x) and "forward" not in vars(module) and not has_hooks(module)
    )


def has_hooks(module: nn.Module) -> bool:
    """Return whether any hooks exist, either on a module or globally."""
    own = (module._forward_pre_hooks, module._forward_hooks, module._backward_pre_hooks, module._backward_hooks)
    return any(own) or _has_any_global_hook()  # type: ignore[no-untyped-call]
