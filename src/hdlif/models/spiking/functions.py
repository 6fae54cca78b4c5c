"""Functions of torch for which a module stands: each is turned as that module is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn


def _mean(dim: Any = None, keepdim: bool = False, **_: object) -> nn.Module:
    axes = sorted(dim) if isinstance(dim, list | tuple) else None
    if axes not in ([2, 3], [-2, -1]):
        raise ValueError
    pool = nn.AdaptiveAvgPool2d(1)
    return pool if keepdim else nn.Sequential(pool, nn.Flatten())


def _flat(start_dim: int = 0, end_dim: int = -1) -> nn.Module:
    return nn.Flatten(start_dim, end_dim)


def _max_pool(
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> nn.Module:
    return nn.MaxPool2d(kernel_size, stride, padding, dilation, return_indices, ceil_mode)


def _same(*_: object, **__: object) -> None:
    return None


def _activation(kind: type[nn.Module]) -> Callable[..., nn.Module]:
    return lambda *arguments, inplace=False, **named: kind(*arguments, **named)


MODULES: Mapping[Any, Callable[..., nn.Module | None]] = {
    **dict.fromkeys((F.relu, torch.relu, torch.relu_, "relu", "relu_"), _activation(nn.ReLU)),
    F.relu6: _activation(nn.ReLU6),
    F.hardtanh: _activation(nn.Hardtanh),
    **dict.fromkeys((F.sigmoid, torch.sigmoid, "sigmoid"), _activation(nn.Sigmoid)),
    **dict.fromkeys((F.tanh, torch.tanh, "tanh"), _activation(nn.Tanh)),
    **dict.fromkeys((F.softmax, torch.softmax, "softmax"), lambda *_, **__: nn.Softmax()),
    F.gelu: lambda *_, **__: nn.GELU(),
    F.silu: _activation(nn.SiLU),
    F.hardswish: _activation(nn.Hardswish),
    F.leaky_relu: _activation(nn.LeakyReLU),
    F.elu: _activation(nn.ELU),
    F.adaptive_avg_pool2d: lambda output_size: nn.AdaptiveAvgPool2d(output_size),
    F.avg_pool2d: lambda *arguments, **named: nn.AvgPool2d(*arguments, **named),
    F.max_pool2d: _max_pool,
    F.dropout: lambda p=0.5, training=True, inplace=False: nn.Dropout(p) if training else None,
    **dict.fromkeys((torch.mean, "mean"), _mean),
    **dict.fromkeys((torch.flatten, "flatten"), _flat),
    **dict.fromkeys(("contiguous", "clone"), _same),
}
"""What makes the module from the other arguments of a function or method; None where the value stays as it is."""
