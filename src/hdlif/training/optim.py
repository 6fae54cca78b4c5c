"""SGD with Nesterov momentum, and its learning rate as a function of the step."""

import math

import torch
from torch import nn

from hdlif.nn import step_parameters


def parameter_groups(model: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """The parameters that weight decay acts on, and those it leaves alone, each in the model's order.

    Left alone are vectors and scalars (biases, batch norm's affine) and what belongs to time steps, of any shape:
    decay would pull λ and θ to the middle of their range.
    """
    per_step = set(map(id, step_parameters(model)))
    decayed: list[nn.Parameter] = []
    kept: list[nn.Parameter] = []
    for parameter in model.parameters():
        (kept if parameter.ndim <= 1 or id(parameter) in per_step else decayed).append(parameter)
    return decayed, kept


def sgd(model: nn.Module, *, learning_rate: float, momentum: float, weight_decay: float) -> torch.optim.SGD:
    """SGD over `parameter_groups`, with Nesterov momentum; plain where `momentum` is 0."""
    decayed, kept = parameter_groups(model)
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": kept, "weight_decay": 0.0}]
    return torch.optim.SGD(groups, lr=learning_rate, momentum=momentum, nesterov=momentum > 0)


def cosine(step: int, total: int, warmup: int) -> float:
    """The factor of the learning rate at `step` (from 0) of `total`: linear warm-up, then half a cosine to 0.

    (step + 1)/warmup for step < warmup, then (1 + cos(π·(step - warmup)/(total - warmup)))/2.

    >>> [round(cosine(step, 6, 2), 3) for step in range(7)]
    [0.5, 1.0, 1.0, 0.854, 0.5, 0.146, 0.0]
    """
    if step < warmup:
        return (step + 1) / warmup
    return (1 + math.cos(math.pi * (step - warmup) / max(total - warmup, 1))) / 2
