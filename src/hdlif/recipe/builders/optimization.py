"""The keys `training.optimizer` and `training.schedule`: how weights step, and how the learning rate goes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from hdlif.errors import RecipeError, TrainingError, brief, first_line
from hdlif.recipe.builders.part import At, Part, field
from hdlif.recipe.builders.registry import Section
from hdlif.recipe.config import Component, TrainingConfig

if TYPE_CHECKING:
    import torch
    from torch import nn

    from hdlif.training import Optimization
    from hdlif.training.optim import Schedule


class SGD(Part, kind="sgd", makes=At("hdlif.training.optim:nesterov")):
    """SGD with Nesterov momentum, which training.momentum sets."""


class Adam(Part, kind="adam", makes=At("hdlif.training.optim:adam")):
    """Adam."""

    beta1: float = field(0.9, "Decay of the mean of gradients.")
    beta2: float = field(0.999, "Decay of the mean of squared gradients.")
    eps: float = field(1e-8, "Added to the denominator.")


class AdamW(Adam, kind="adamw", makes=At("hdlif.training.optim:adamw")):
    """AdamW."""


class Cosine(Part, kind="cosine", makes=At("hdlif.training.optim:cosine").get):
    """Half a cosine, down to 0."""


class Constant(Part, kind="constant", makes=At("hdlif.training.optim:constant").get):
    """The rate stays."""


class Drops(Part, kind="drops", makes=At("hdlif.training.optim:Drops")):
    """The rate drops by a factor at stated fractions of all steps."""

    at: list[float] = field(..., "Fractions of all steps at which the rate drops.")
    factor: float = field(0.1, "Multiplies the rate at each drop.", gt=0, le=1)


_GIVEN = ("params", "lr", "weight_decay")
OPTIMIZERS = Section[Part]("training.optimizer", SGD, Adam, AdamW, own=Part, given=_GIVEN)
SCHEDULES = Section[Part]("training.schedule", Cosine, Constant, Drops, own=Part)


def read_optimizer(training: TrainingConfig) -> Part:
    """Check the key."""
    section = training.optimizer
    for key in section.arguments:
        if key in ("lr", "weight_decay") or (key == "momentum" and section.kind == "sgd"):
            raise RecipeError(
                f"training.optimizer.{key} is not set there; "
                f"training.{'learning_rate' if key == 'lr' else key} is a key of its own"
            )
    return OPTIMIZERS.read(section)


def build_optimization(training: TrainingConfig) -> Optimization:
    """Build the optimiser and the schedule of a recipe's section `training`."""
    from hdlif.training import Optimization

    schedule, kind = SCHEDULES.read(training.schedule).build(), training.schedule.kind
    is_ours = kind in SCHEDULES
    return Optimization(partial(_optimizer, training), schedule if is_ours else _OwnSchedule(schedule, kind))


@dataclass(frozen=True)
class _OwnSchedule:
    """One's own schedule, which may fail, or give no factor, at any step: that is then a `TrainingError`."""

    schedule: Schedule
    kind: str

    def __call__(self, step: int, total: int) -> float:
        try:
            factor: Any = self.schedule(step, total)
        except Exception as error:
            raise TrainingError(
                f"training.schedule: {type(error).__name__}: {first_line(error)}; {self.kind} fails so at step {step} "
                f"of {total}"
            ) from error
        if not isinstance(factor, int | float) or not 0 <= factor < math.inf:
            raise TrainingError(
                f'training.schedule.kind = "{self.kind}" gives {brief(factor)} at step {step} of {total}; it must make '
                "a function of (step, total) that gives the factor of the learning rate"
            )
        return factor


def try_optimization(training: TrainingConfig) -> None:
    """Raise `RecipeError` if the optimiser cannot step, or the schedule gives no rate.

    If both ship and no argument is set, there is nothing to try, and the training loop is not imported.
    """
    if all(one.kind in table and not one.arguments for one, table in _sections(training)):
        return
    import torch
    from torch import nn

    from hdlif.training.checkpoint import training_tensors

    schedule: Any = build_optimization(training).schedule
    trial = nn.Linear(3, 2)
    optimizer: Any = _optimizer(training, trial)
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise RecipeError(
            f'training.optimizer.kind = "{training.optimizer.kind}" gives a {type(optimizer).__name__}; '
            "it must be an optimiser as those of torch.optim"
        )
    for parameter in trial.parameters():
        parameter.grad = torch.zeros_like(parameter)
    before = _of_groups(optimizer)
    try:
        optimizer.step()
        training_tensors(trial, optimizer)
    except TrainingError as error:
        raise RecipeError(f"training.optimizer: {error}") from error
    except Exception as error:
        raise RecipeError(f"training.optimizer: {type(error).__name__}: {first_line(error)}") from error
    if changed := [key for key, value in _of_groups(optimizer).items() if before.get(key) != value]:
        raise RecipeError(
            f"training.optimizer: {type(optimizer).__name__} changes {changed[0][1]!r} of its groups in a step, which "
            "no checkpoint keeps; keep it as a tensor in the state of the parameters, or choose another optimiser"
        )
    for step in range(10):
        try:
            schedule(step, 10)
        except TrainingError as error:
            raise RecipeError(str(error)) from error


def _of_groups(optimizer: torch.optim.Optimizer) -> dict[tuple[int, str], Any]:
    """Return the options of an optimiser's groups but for the parameters and the rate."""
    return {
        (number, key): value
        for number, group in enumerate(optimizer.param_groups)
        for key, value in group.items()
        if key not in ("params", "lr")
    }


def _sections(training: TrainingConfig) -> list[tuple[Component, Section[Part]]]:
    return [(training.optimizer, OPTIMIZERS), (training.schedule, SCHEDULES)]


def _optimizer(training: TrainingConfig, model: nn.Module) -> torch.optim.Optimizer:
    from hdlif.training.optim import groups

    momentum = {"momentum": training.momentum} if training.optimizer.kind == "sgd" else {}
    made: torch.optim.Optimizer = read_optimizer(training).build(
        params=groups(model, training.weight_decay), lr=training.learning_rate, **momentum
    )
    # An optimiser of one's own may take no lr.
    for group in getattr(made, "param_groups", ()):
        group["lr"] = training.learning_rate
    return made
