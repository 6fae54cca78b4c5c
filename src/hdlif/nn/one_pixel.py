"""Convolutions of maps of one pixel, such as a series gives at each step: they are matrix products, and run as such.

A convolution library prepares each call at a length that such small ones do not pay back.
"""

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.modules.module import _has_any_global_hook


def is_product(layer: _ConvNd, x: Tensor) -> bool:
    """Whether what a convolution gives of x [N, C, H, W] is W·x + b: of kernel 1, on maps of one pixel."""
    return (
        x.ndim == 4
        and x.shape[1:] == (layer.in_channels, 1, 1)
        and layer.kernel_size == (1, 1)
        and layer.groups == 1
        and layer.padding in ((0, 0), "valid", "same")
    )


def product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """W·x + b of [N, C, 1, 1] and a kernel [D, C, 1, 1], [N, D, 1, 1]."""
    return F.linear(x.flatten(1), weight.flatten(1), bias)[:, :, None, None]


def runs_as_product(module: nn.Module, x: Tensor) -> bool:
    """Whether a module is PyTorch's own `Conv2d`, as it is and with nothing that watches it, of such maps."""
    return (
        type(module) is nn.Conv2d
        and is_product(module, x)
        and "forward" not in vars(module)
        and not (
            module._forward_pre_hooks
            or module._forward_hooks
            or module._backward_pre_hooks
            or module._backward_hooks
            or _has_any_global_hook()  # type: ignore[no-untyped-call]
        )
    )
