"""Optimisers over a network's parameter groups, and learning-rate schedules."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from hdlif.config import TrainingConfig
from hdlif.nn import step_parameters
from hdlif.nn.kernels.tensors import is_plain

Groups = Iterable[dict[str, Any]]
Schedule = Callable[[int, int], float]
"""Function (step, total) -> factor of the learning rate at `step`, from 0, of `total` after the warm-up."""


def parameter_groups(model: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Return the parameters with weight decay and those without, each in the model's order.

    Vectors and scalars (biases, batch norm's affine) and per-step parameters of any shape have none: decay would pull λ
    and θ to the middle of their range.
    """
    per_step = set(map(id, step_parameters(model)))
    decayed: list[nn.Parameter] = []
    kept: list[nn.Parameter] = []
    for parameter in model.parameters():
        (kept if parameter.ndim <= 1 or id(parameter) in per_step else decayed).append(parameter)
    return decayed, kept


def groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Return `parameter_groups` in the format of torch's optimisers."""
    decayed, kept = parameter_groups(model)
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": kept, "weight_decay": 0.0}]


def sgd(model: nn.Module, *, learning_rate: float, momentum: float, weight_decay: float) -> torch.optim.SGD:
    """SGD over `parameter_groups`, with Nesterov momentum; plain where `momentum` is 0.

    >>> from torch import nn
    >>> from hdlif.training import sgd
    >>> optimizer = sgd(nn.Linear(3, 2), learning_rate=0.1, momentum=0.9, weight_decay=5e-4)
    >>> [group["weight_decay"] for group in optimizer.param_groups]
    [0.0005, 0.0]

    Args:
        model: the network; parameters that belong to time steps, and vectors and scalars, have no weight decay.
        learning_rate, momentum, weight_decay: of SGD; momentum in [0, 1).
    """
    return nesterov(groups(model, weight_decay), lr=learning_rate, momentum=momentum)


def nesterov(params: Groups, *, lr: float, momentum: float) -> torch.optim.SGD:
    return torch.optim.SGD(params, lr=lr, momentum=momentum, nesterov=momentum > 0)


def adam(params: Groups, *, lr: float, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8) -> torch.optim.Adam:
    return torch.optim.Adam(params, lr=lr, betas=(beta1, beta2), eps=eps)


def adamw(
    params: Groups, *, lr: float, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8
) -> torch.optim.AdamW:
    return torch.optim.AdamW(params, lr=lr, betas=(beta1, beta2), eps=eps)


OPTIMIZERS: Mapping[str, Callable[..., torch.optim.Optimizer]] = {"sgd": nesterov, "adam": adam, "adamw": adamw}
"""Optimisers, called with (params=, lr=), by their names in recipes and `TrainingConfig.optimizer`."""


def make_optimizer(
    config: TrainingConfig, model: nn.Module, make: Callable[..., torch.optim.Optimizer]
) -> torch.optim.Optimizer:
    """Call `make` with the groups of a model, and a config's learning rate, weight decay and momentum."""
    momentum = {"momentum": config.momentum} if config.optimizer.kind == "sgd" else {}
    return make(params=groups(model, config.weight_decay), lr=config.learning_rate, **momentum)


class OnePass:
    """Runs a step of PyTorch's SGD, Adam or AdamW as one pass over each parameter, for contiguous CPU tensors.

    This is PyTorch's `fused`, which is its default on a GPU only. It reads parameters, gradients and momentum by their
    addresses, so contiguity is checked before each step. An optimiser made with an explicit `fused` or `foreach`
    keeps it.
    """

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self._optimizer = optimizer
        is_known = type(optimizer) in (torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW)
        self._groups = [group for group in optimizer.param_groups if is_known and _has_no_choice(group)]

    def prepare(self) -> None:
        """Choose the implementation of the next step; gradients must exist."""
        for group in self._groups:
            group["fused"] = self._is_plain(group)

    def _is_plain(self, group: dict[str, Any]) -> bool:
        learning = [one for one in group["params"] if one.grad is not None]
        states = [self._optimizer.state.get(one, {}) for one in learning]
        # PyTorch makes momentum for all parameters of a group at once, or for none.
        momenta = {state.get("momentum_buffer") is None for state in states}
        tensors = (one for state in states for one in state.values() if isinstance(one, Tensor) and one.ndim)
        return (
            len(momenta) <= 1
            and all(_is_plain(one) and _is_plain(one.grad) and one.dtype == one.grad.dtype for one in learning)
            and all(_is_plain(one) for one in tensors)
        )


def _has_no_choice(group: dict[str, Any]) -> bool:
    others = (group.get(name) for name in ("differentiable", "maximize", "capturable"))
    return group.get("fused") is None and group.get("foreach") is None and not any(others)


def _is_plain(tensor: Tensor) -> bool:
    is_known = tensor.dtype in (torch.float32, torch.float64)
    return is_known and is_plain(tensor, torch.device("cpu")) and tensor.is_contiguous()


def cosine(step: int, total: int) -> float:
    """Half-cosine decay from 1 to 0: (1 + cos(π·step/total))/2.

    >>> [round(cosine(step, 4), 3) for step in range(5)]
    [1.0, 0.854, 0.5, 0.146, 0.0]
    """
    return (1 + math.cos(math.pi * step / max(total, 1))) / 2


def constant(step: int, total: int) -> float:
    """1 at every step."""
    return 1.0


@dataclass(frozen=True)
class Drops:
    """Step decay: multiplies the rate by `factor` after each of the fractions `at` of all steps.

    >>> [round(Drops([0.5, 0.75], 0.1)(step, 4), 3) for step in range(4)]
    [1.0, 1.0, 0.1, 0.01]
    """

    at: list[float]
    factor: float = 0.1

    def __post_init__(self) -> None:
        if not all(0 < share < 1 for share in self.at):
            raise ValueError(f"at = {self.at}; give fractions of the training, between 0 and 1")
        if not 0 < self.factor <= 1:
            raise ValueError(f"factor = {self.factor}; it must lie in (0, 1]")

    def __call__(self, step: int, total: int) -> float:
        return self.factor ** sum(step >= share * total for share in self.at)


SCHEDULES: Mapping[str, Callable[..., Schedule]] = {
    "cosine": lambda: cosine,
    "constant": lambda: constant,
    "drops": Drops,
}
"""Factories of schedules, by their names in recipes and `TrainingConfig.schedule` use."""


def warmed_up(schedule: Schedule, step: int, total: int, warmup: int) -> float:
    """Return the factor at `step` of `total`: (step + 1)/warmup for step < warmup, then the schedule of the rest.

    >>> [round(warmed_up(cosine, step, 6, 2), 3) for step in range(7)]
    [0.5, 1.0, 1.0, 0.854, 0.5, 0.146, 0.0]
    """
    return (step + 1) / warmup if step < warmup else schedule(step - warmup, total - warmup)
