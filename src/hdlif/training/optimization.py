"""Optimisers and learning-rate schedules, given by the user or made from the config."""

from __future__ import annotations

import copy
import inspect
import math
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from hdlif.config import TrainingConfig
from hdlif.errors import CheckpointError, InputError, brief, first_line
from hdlif.nn import step_parameters
from hdlif.nn.kernels.tensors import is_plain

Groups = Iterable[dict[str, Any]]
Schedule = Callable[[int, int], float]
"""Function (step, total) -> factor of the learning rate; both count steps after the warm-up, and `step` begins at 0."""
OptimizerLike = torch.optim.Optimizer | Callable[[nn.Module], torch.optim.Optimizer]
"""An optimiser for the model's parameters, or a function that makes one for a model."""
SchedulerLike = LRScheduler | Callable[[torch.optim.Optimizer], LRScheduler] | Schedule
"""A scheduler of torch, a function that makes one for an optimiser, or a function of (step, total)."""


def parameter_groups(model: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Return the parameters with weight decay and those without, each group in the model's order.

    Vectors, scalars and per-step parameters have no weight decay, because it would pull λ and θ to the middle of their
    ranges.
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
    """Return an SGD optimiser over `parameter_groups`, with Nesterov momentum unless `momentum` is 0.

    >>> from torch import nn
    >>> from hdlif.training import sgd
    >>> optimizer = sgd(nn.Linear(3, 2), learning_rate=0.1, momentum=0.9, weight_decay=5e-4)
    >>> [group["weight_decay"] for group in optimizer.param_groups]
    [0.0005, 0.0]

    Args:
        model: the network; its per-step parameters, vectors and scalars have no weight decay.
        learning_rate, momentum, weight_decay: settings of SGD; momentum in [0, 1).
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
"""Optimisers by their names in recipes and `TrainingConfig.optimizer`; their arguments are (params=, lr=)."""


def make_optimizer(
    config: TrainingConfig, model: nn.Module, make: Callable[..., torch.optim.Optimizer]
) -> torch.optim.Optimizer:
    """Call `make` with a model's parameter groups, and with a config's learning rate, weight decay and momentum."""
    momentum = {"momentum": config.momentum} if config.optimizer.kind == "sgd" else {}
    return make(params=groups(model, config.weight_decay), lr=config.learning_rate, **momentum)


class OnePass:
    """A switch that selects the `fused` step of PyTorch's SGD, Adam or AdamW if the CPU tensors are contiguous.

    A `fused` step needs one pass over each parameter; by default, PyTorch uses this step only on a GPU. The step
    accesses parameters, gradients and momentum by address, so `OnePass` checks their contiguity before each step. If an
    optimiser was created with an explicit `fused` or `foreach`, this setting is kept.
    """

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self._optimizer = optimizer
        is_known = type(optimizer) in (torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW)
        self._groups = [group for group in optimizer.param_groups if is_known and _has_no_choice(group)]

    def prepare(self) -> None:
        """Select the fused or the default implementation for the next step; the gradients must exist already."""
        for group in self._groups:
            group["fused"] = self._is_plain(group)

    def _is_plain(self, group: dict[str, Any]) -> bool:
        learning = [one for one in group["params"] if one.grad is not None]
        states = [self._optimizer.state.get(one, {}) for one in learning]
        # PyTorch creates momentum for all parameters of a group together, or for none.
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
    """Return a half-cosine decay from 1 to 0: (1 + cos(π·step/total))/2.

    >>> [round(cosine(step, 4), 3) for step in range(5)]
    [1.0, 0.854, 0.5, 0.146, 0.0]
    """
    return (1 + math.cos(math.pi * step / max(total, 1))) / 2


def constant(step: int, total: int) -> float:
    """Return 1 at every step."""
    return 1.0


@dataclass(frozen=True)
class Drops:
    """Step decay: after each fraction of all steps that `at` lists, multiply the learning rate by `factor`.

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
"""Factories of schedules, by their names in recipes and `TrainingConfig.schedule`."""


def warmed_up(schedule: Schedule, step: int, total: int, warmup: int) -> float:
    """Return the learning-rate factor: (step + 1)/warmup for step < warmup, then the schedule over the remaining steps.

    >>> [round(warmed_up(cosine, step, 6, 2), 3) for step in range(7)]
    [0.5, 1.0, 1.0, 0.854, 0.5, 0.146, 0.0]
    """
    return (step + 1) / warmup if step < warmup else schedule(step - warmup, total - warmup)


@dataclass(frozen=True)
class Optimization:
    """An optimiser and the schedule of its learning rates.

    >>> import torch
    >>> from hdlif.training import Optimization
    >>> adam = Optimization(lambda model: torch.optim.Adam(model.parameters(), lr=1e-3))
    >>> constant = Optimization(adam.optimizer, schedule=lambda step, total: 1.0)

    Attributes:
        optimizer: as in `Trainer`.
        schedule: as `scheduler` in `Trainer`.
    """

    optimizer: OptimizerLike
    schedule: SchedulerLike = cosine

    def make_optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        """Return the optimiser for a model.

        Raises:
            InputError: the result is not an optimiser, or has parameters that are not the model's.
        """
        made: Any = self.optimizer if isinstance(self.optimizer, torch.optim.Optimizer) else self.optimizer(model)
        if not isinstance(made, torch.optim.Optimizer):
            raise InputError(
                f"optimizer returns {brief(made)}; it must return an optimiser, such as torch.optim.Adam(...)"
            )
        own = set(map(id, model.parameters()))
        if any(id(one) not in own for group in made.param_groups for one in group["params"]):
            raise InputError(
                "optimizer updates parameters that are not the model's; give torch.optim.Adam(model.parameters(), "
                "...) with the same model as Trainer"
            )
        return made

    def copied(self, copied_model: nn.Module, memo: dict[int, Any]) -> torch.optim.Optimizer:
        """Return the optimiser for a copy of the model that was made with `copy.deepcopy(model, memo)`."""
        if isinstance(self.optimizer, torch.optim.Optimizer):
            return copy.deepcopy(self.optimizer, memo)
        return self.make_optimizer(copied_model)


def optimization(
    config: TrainingConfig, optimizer: OptimizerLike | None, scheduler: SchedulerLike | None
) -> Optimization:
    """Return the given optimiser and scheduler; create each one that is None from the config.

    Raises:
        InputError: an argument has another type, or the two do not fit together.
    """
    for given, name, example in (
        (optimizer, "optimizer", "torch.optim.Adam(model.parameters(), lr=1e-3)"),
        (scheduler, "scheduler", "lambda optimizer: torch.optim.lr_scheduler.StepLR(optimizer, step_size=10)"),
    ):
        if isinstance(given, type):
            raise InputError(f"{name} = {given.__name__}, a class; give {name}={example}")
        if given is not None and not isinstance(given, torch.optim.Optimizer | LRScheduler) and not callable(given):
            raise InputError(f"{name} = {brief(given)}; give {name}={example}")
    if isinstance(scheduler, LRScheduler) and scheduler.optimizer is not optimizer:
        raise InputError(
            "scheduler belongs to another optimizer; give Trainer its optimizer too, or a function that makes the "
            "scheduler: scheduler=lambda optimizer: ..."
        )
    return Optimization(
        _optimizer_of(config) if optimizer is None else optimizer,
        _schedule_of(config) if scheduler is None else scheduler,
    )


def _optimizer_of(config: TrainingConfig) -> Callable[[nn.Module], torch.optim.Optimizer]:
    make = partial(_named(OPTIMIZERS, config, "optimizer"), **config.optimizer.arguments)

    def optimizer(model: nn.Module) -> torch.optim.Optimizer:
        made: torch.optim.Optimizer = _called(lambda: make_optimizer(config, model, make), "config.optimizer")
        return made

    return optimizer


def _schedule_of(config: TrainingConfig) -> Schedule:
    make = _named(SCHEDULES, config, "schedule")
    schedule: Schedule = _called(lambda: make(**config.schedule.arguments), "config.schedule")
    return schedule


def _named(table: Mapping[str, Callable[..., Any]], config: TrainingConfig, key: str) -> Callable[..., Any]:
    kind = getattr(config, key).kind
    if kind not in table:
        argument = {"optimizer": "optimizer", "schedule": "scheduler"}[key]
        raise InputError(
            f'config.{key} = "{kind}" is not one of {", ".join(table)}; give Trainer the object itself: {argument}=...'
        )
    return table[kind]


def _called(make: Callable[[], Any], key: str) -> Any:
    try:
        return make()
    except (TypeError, ValueError) as error:
        raise InputError(f"{key}: {first_line(error)}") from error


class LearningRates:
    """The learning rates of an optimiser, set with a function of the step or with a torch scheduler.

    A torch scheduler is stepped once per epoch; `ReduceLROnPlateau` receives the validation loss. A schedule function
    is called before each batch; its factor multiplies the optimiser's initial learning rates.

    Args:
        optimizer: optimiser to set the rates of.
        scheduler: as in `Trainer`.
        total: number of updates in the training run.
        warmup: updates in which the rates rise to their full size.
    Raises:
        InputError: `scheduler` returns something else, or is a scheduler of torch and there is a warm-up.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, scheduler: SchedulerLike, *, total: int, warmup: int) -> None:
        self._optimizer, self._total, self._warmup = optimizer, total, warmup
        self._schedule: Schedule | None = None
        self._scheduler: LRScheduler | None = None
        if isinstance(scheduler, LRScheduler):
            self._scheduler = scheduler
        elif _takes_two(scheduler):
            self._schedule = scheduler  # type: ignore[assignment]
            for group in optimizer.param_groups:
                group.setdefault("initial_lr", group["lr"])
        else:
            made: Any = scheduler(optimizer)  # type: ignore[call-arg, arg-type]
            if not isinstance(made, LRScheduler):
                raise InputError(
                    f"scheduler returns {brief(made)}; give a function of the optimizer that returns a scheduler of "
                    "torch.optim.lr_scheduler, or a function of (step, total) that returns a factor"
                )
            self._scheduler = made
        if self._scheduler is not None and warmup:
            raise InputError(
                "config.warmup_epochs has no effect on a torch scheduler; set it to 0, and chain a LinearLR before "
                "the scheduler"
            )
        self.losses: list[float] = []

    def set(self, update: int) -> None:
        """Set the learning rates for an update."""
        if self._schedule is not None:
            factor = warmed_up(self._schedule, update, self._total, self._warmup)
            for group in self._optimizer.param_groups:
                group["lr"] = group["initial_lr"] * factor

    def end_epoch(self, loss: float) -> None:
        """Step a torch scheduler after a validation that had this loss."""
        if self._scheduler is None:
            return
        self.losses.append(loss)
        if isinstance(self._scheduler, ReduceLROnPlateau):
            self._scheduler.step(loss)
        else:
            self._scheduler.step()

    def resume(self, losses: Sequence[float], epochs: int) -> None:
        """Step a torch scheduler once for each completed epoch.

        Raises:
            CheckpointError: the number of losses differs from the number of epochs.
        """
        if self._scheduler is None:
            return
        if len(losses) != epochs:
            raise CheckpointError(
                f"the checkpoint has {len(losses)} steps of a scheduler and {epochs} epochs; train again with the "
                "scheduler that it began with"
            )
        with warnings.catch_warnings():
            # torch warns about scheduler steps before the optimiser's first.
            warnings.simplefilter("ignore")
            for loss in losses:
                self.end_epoch(loss)


def _takes_two(function: Callable[..., Any]) -> bool:
    """Return whether a function is a schedule (two required arguments) rather than a scheduler factory (one)."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return True
    positional = [one for one in parameters if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
    return sum(one.default is one.empty for one in positional) != 1
