"""Convert torch layers, and those torchvision and timm layers that are not composed of torch layers."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

from hdlif.models.spiking.turning import ACTIVATIONS, Fed, Turned, Turning, turns
from hdlif.nn import BatchNorm1d, BatchNorm2d, Sequential
from hdlif.nn.state import inside
from hdlif.nn.synapses import quant_like


@turns(nn.Sequential)
def _sequence(turning: Turning, module: nn.Sequential, path: str, fed: Fed) -> Turned:
    made: dict[str, nn.Module] = {}
    for name, child in module.named_children():
        made[name], fed = turning.turn(child, inside(path, name), fed)
    return Turned(Sequential(made), fed)


@turns(nn.Conv1d, nn.Conv2d)
def _convolution(turning: Turning, module: nn.Conv1d | nn.Conv2d, path: str, fed: Fed) -> Turned:
    if module.padding_mode != "zeros":
        return turning.refuse(path, f"pads by {module.padding_mode!r}; only 'zeros' is accepted")
    return _with_values(turning, module, path, module.out_channels)


@turns(nn.Linear, "timm.layers.linear.Linear")
def _linear(turning: Turning, module: nn.Linear, path: str, fed: Fed) -> Turned:
    return _with_values(turning, module, path, module.out_features)


def _with_values(turning: Turning, module: nn.Conv1d | nn.Conv2d | nn.Linear, path: str, channels: int) -> Turned:
    # No values are initialised, because the module's values replace them.
    with torch.device("meta"):
        made = quant_like(module)
    made.weight, made.bias = module.weight, module.bias
    turning.synapses[path] = made, module
    return Turned(made, Fed(channels, point=isinstance(module, nn.Linear)))


@turns(nn.BatchNorm1d, nn.BatchNorm2d)
def _norm(turning: Turning, module: nn.BatchNorm1d | nn.BatchNorm2d, path: str, fed: Fed) -> Turned:
    if module.running_mean is None or module.running_var is None:
        return turning.refuse(path, "is a batch norm without running statistics; set track_running_stats=True")
    make = BatchNorm1d if isinstance(module, nn.BatchNorm1d) else BatchNorm2d
    try:
        made = make(module.num_features, eps=module.eps, momentum=module.momentum)
    except ValueError as error:
        return turning.refuse(path, f"is a batch norm with {error}")
    made.to(module.running_mean.device, module.running_mean.dtype)
    if module.affine:
        made.weight, made.bias = module.weight, module.bias
    else:
        made.requires_grad_(False)
    made.running_mean, made.running_var = module.running_mean, module.running_var
    if module.num_batches_tracked is not None:
        made.num_batches_tracked = module.num_batches_tracked.reshape(made.num_batches_tracked.shape)
    return Turned(made, Fed(module.num_features, fed.point))


@turns("BatchNormAct2d")
def _norm_and_activation(turning: Turning, module: Any, path: str, fed: Fed) -> Turned:
    """Convert timm's combined module of batch norm, dropout and activation."""
    norm, gives = _norm(turning, module, path, fed)
    made = {"norm": norm}
    for name in ("drop", "act"):
        child = getattr(module, name)
        if not isinstance(child, nn.Identity):
            made[name], gives = turning.turn(child, f"{path}.{name}", gives)
    return Turned(Sequential(made), gives)


@turns(nn.ReLU, nn.ReLU6)
def _activation(turning: Turning, module: nn.Module, path: str, fed: Fed) -> Turned:
    return turning.fire(path, fed)


@turns(nn.Hardtanh)
def _bounded(turning: Turning, module: nn.Hardtanh, path: str, fed: Fed) -> Turned:
    if module.min_val != 0:
        return turning.refuse(path, f"is a Hardtanh from {module.min_val}; supported activations are {ACTIVATIONS}")
    return turning.fire(path, fed)


@turns(nn.Identity, nn.AvgPool1d, nn.AvgPool2d, nn.Upsample, nn.UpsamplingNearest2d)
def _kept(turning: Turning, module: nn.Module, path: str, fed: Fed) -> Turned:
    return Turned(copy.deepcopy(module), fed)


@turns(nn.MaxPool1d, nn.MaxPool2d)
def _max_pool(turning: Turning, module: nn.MaxPool1d | nn.MaxPool2d, path: str, fed: Fed) -> Turned:
    if module.return_indices:
        return turning.refuse(path, "is a max pool that also returns indices")
    return Turned(copy.deepcopy(module), fed)


@turns(nn.Dropout, nn.Dropout1d, nn.Dropout2d)
def _dropout(turning: Turning, module: nn.Dropout, path: str, fed: Fed) -> Turned:
    made = copy.deepcopy(module)
    # Other modules may read the same input.
    made.inplace = False
    return Turned(made, fed)


@turns(nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d)
def _adaptive_pool(
    turning: Turning, module: nn.AdaptiveAvgPool1d | nn.AdaptiveAvgPool2d, path: str, fed: Fed
) -> Turned:
    return Turned(copy.deepcopy(module), Fed(fed.channels, point=module.output_size in (1, (1,), (1, 1), [1, 1])))


@turns(nn.Flatten)
def _flatten(turning: Turning, module: nn.Flatten, path: str, fed: Fed) -> Turned:
    if module.start_dim != 1 or module.end_dim not in (-1, 3):
        return turning.refuse(path, f"flattens from axis {module.start_dim} to {module.end_dim}, not all but the batch")
    return Turned(nn.Flatten(), Fed(fed.channels if fed.point else None, point=True))


@turns("StochasticDepth", "DropPath")
def _depth(turning: Turning, module: Any, path: str, fed: Fed) -> Turned:
    """Convert the stochastic-depth modules of torchvision and timm."""
    share = module.p if hasattr(module, "p") else module.drop_prob
    if share:
        return turning.refuse(path, "drops branches at random; only a probability of 0 is accepted")
    return Turned(nn.Identity(), fed)
