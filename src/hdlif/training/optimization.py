"""The optimiser and the learning rates of a training: the user's own, or those of the config."""

from __future__ import annotations

import copy
import inspect
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from hdlif.config import TrainingConfig
from hdlif.errors import CheckpointError, InputError, brief, first_line
from hdlif.training.optim import OPTIMIZERS, SCHEDULES, Schedule, cosine, make_optimizer, warmed_up

OptimizerLike = torch.optim.Optimizer | Callable[[nn.Module], torch.optim.Optimizer]
"""An optimiser of the model's parameters, or a function that makes one for a model."""
SchedulerLike = LRScheduler | Callable[[torch.optim.Optimizer], LRScheduler] | Schedule
"""Scheduler of torch, a function from an optimiser to one, or a function of (step, total)."""


@dataclass(frozen=True)
class Optimization:
    """Optimiser and schedule of its learning rates.

    >>> import torch
    >>> from hdlif.training import Optimization
    >>> adam = Optimization(lambda model: torch.optim.Adam(model.parameters(), lr=1e-3))
    >>> constant = Optimization(adam.optimizer, schedule=lambda step, total: 1.0)

    Attributes:
        optimizer: as in `Trainer`.
        schedule: as `scheduler` of `Trainer`.
    """

    optimizer: OptimizerLike
    schedule: SchedulerLike = cosine

    def make_optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        """Return the optimiser of a model.

        Raises:
            InputError: it is not an optimiser, or has other parameters than the model's.
        """
        made: Any = self.optimizer if isinstance(self.optimizer, torch.optim.Optimizer) else self.optimizer(model)
        if not isinstance(made, torch.optim.Optimizer):
            raise InputError(f"optimizer makes {brief(made)}; return an optimiser, as torch.optim.Adam(...)")
        own = set(map(id, model.parameters()))
        if any(id(one) not in own for group in made.param_groups for one in group["params"]):
            raise InputError(
                "optimizer steps parameters that are not the model's; give "
                "torch.optim.Adam(model.parameters(), ...) of the model that you give to Trainer"
            )
        return made

    def copied(self, copied_model: nn.Module, memo: dict[int, Any]) -> torch.optim.Optimizer:
        """Return the optimiser of a copy of the model, made by `copy.deepcopy(model, memo)`."""
        if isinstance(self.optimizer, torch.optim.Optimizer):
            return copy.deepcopy(self.optimizer, memo)
        return self.make_optimizer(copied_model)


def optimization(
    config: TrainingConfig, optimizer: OptimizerLike | None, scheduler: SchedulerLike | None
) -> Optimization:
    """Return the user's optimiser and scheduler, or the config's for one that is None.

    Raises:
        InputError: one has another type, or the two do not fit together.
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
            f'config.{key} = "{kind}" is none of {", ".join(table)}; give Trainer the object itself: {argument}=...'
        )
    return table[kind]


def _called(make: Callable[[], Any], key: str) -> Any:
    try:
        return make()
    except (TypeError, ValueError) as error:
        raise InputError(f"{key}: {first_line(error)}") from error


class LearningRates:
    """Sets the learning rates of an optimiser, by a function of the step or by a scheduler of torch.

    A scheduler of torch is stepped once per epoch, with the validation loss if it takes a metric. A function is
    called before each batch, and its factor multiplies the optimiser's initial rates.

    Args:
        optimizer: optimiser to set the rates of.
        scheduler: as in `Trainer`.
        total: updates of the training.
        warmup: updates in which the rates rise to their full size.
    Raises:
        InputError: `scheduler` returns something else, or is a scheduler of torch with a warm-up.
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
                    f"scheduler makes {brief(made)}; give a function of the optimizer that returns a scheduler of "
                    "torch.optim.lr_scheduler, or a function of (step, total) that returns a factor"
                )
            self._scheduler = made
        if self._scheduler is not None and warmup:
            raise InputError(
                "config.warmup_epochs has no effect on a scheduler of torch; set it to 0, and put a LinearLR in front"
            )
        self.losses: list[float] = []

    def set(self, update: int) -> None:
        """Set the rates of an update."""
        if self._schedule is not None:
            factor = warmed_up(self._schedule, update, self._total, self._warmup)
            for group in self._optimizer.param_groups:
                group["lr"] = group["initial_lr"] * factor

    def end_epoch(self, loss: float) -> None:
        """Step a scheduler of torch after a validation with this loss."""
        if self._scheduler is None:
            return
        self.losses.append(loss)
        if isinstance(self._scheduler, ReduceLROnPlateau):
            self._scheduler.step(loss)
        else:
            self._scheduler.step()

    def resume(self, losses: Sequence[float], epochs: int) -> None:
        """Step a scheduler of torch through the completed epochs.

        Raises:
            CheckpointError: a loss is missing for one of them.
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
    """Return whether a function takes two arguments without a default (a schedule), not one (a scheduler's factory)."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return True
    positional = [one for one in parameters if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
    return sum(one.default is one.empty for one in positional) != 1
