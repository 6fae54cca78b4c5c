"""The keys `training.optimizer` and `training.schedule`: how weights step, and how the learning rate goes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from hdlif.builders.arguments import Checked, checked, chosen, keys
from hdlif.builders.places import At
from hdlif.config import Component, TrainingConfig
from hdlif.errors import RecipeError, TrainingError, brief, first_line

if TYPE_CHECKING:
    import torch
    from torch import nn

    from hdlif.training import Optimization
    from hdlif.training.optim import Schedule

OPTIMIZERS: Mapping[str, Callable[..., torch.optim.Optimizer]] = {
    "sgd": At("hdlif.training.optim:nesterov"),
    "adam": At("hdlif.training.optim:adam"),
    "adamw": At("hdlif.training.optim:adamw"),
}


def _cosine() -> Schedule:
    from hdlif.training.optim import cosine

    return cosine


def _constant() -> Schedule:
    from hdlif.training.optim import constant

    return constant


SCHEDULES: Mapping[str, Callable[..., Schedule]] = {
    "cosine": _cosine,
    "constant": _constant,
    "drops": At("hdlif.training.optim:Drops"),
}
"""What makes each."""


def checked_optimizer(training: TrainingConfig) -> Checked[torch.optim.Optimizer]:
    """The key, checked."""
    section, given = training.optimizer, ["params", "lr", "weight_decay"]
    if section.kind == "sgd":
        given.append("momentum")
    for key in section.arguments:
        if key in given and key != "params":
            raise RecipeError(
                f"training.optimizer.{key} is not set there; "
                f"training.{'learning_rate' if key == 'lr' else key} is a key of its own"
            )
    return checked(
        chosen(OPTIMIZERS, section.kind, "training.optimizer.kind"),
        "training.optimizer",
        section.arguments,
        kind=section.kind,
        others=partial(keys, *OPTIMIZERS.values()),
        given=given,
    )


def checked_schedule(training: TrainingConfig) -> Checked[Schedule]:
    """The key, checked."""
    section = training.schedule
    make = chosen(SCHEDULES, section.kind, "training.schedule.kind")
    others = partial(keys, *SCHEDULES.values())
    return checked(make, "training.schedule", section.arguments, kind=section.kind, others=others)


def build_optimization(training: TrainingConfig) -> Optimization:
    """The optimiser and the schedule of a recipe's section `training`."""
    from hdlif.training import Optimization

    schedule, kind = checked_schedule(training)(), training.schedule.kind
    return Optimization(partial(_optimizer, training), schedule if kind in SCHEDULES else _OwnSchedule(schedule, kind))


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
    """Raise `RecipeError` where the optimiser cannot step, or the schedule gives no rate.

    Where both are ours, with no argument set, there is nothing to try, and the training loop is not imported.
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
    """What an optimiser keeps of its groups, but for the parameters and the rate."""
    return {
        (number, key): value
        for number, group in enumerate(optimizer.param_groups)
        for key, value in group.items()
        if key not in ("params", "lr")
    }


def _sections(training: TrainingConfig) -> list[tuple[Component, Mapping[str, Any]]]:
    return [(training.optimizer, OPTIMIZERS), (training.schedule, SCHEDULES)]


def _optimizer(training: TrainingConfig, model: nn.Module) -> torch.optim.Optimizer:
    from hdlif.training.optim import groups

    momentum = {"momentum": training.momentum} if training.optimizer.kind == "sgd" else {}
    made = checked_optimizer(training)(
        params=groups(model, training.weight_decay), lr=training.learning_rate, **momentum
    )
    # An optimiser of one's own may take no lr.
    for group in getattr(made, "param_groups", ()):
        group["lr"] = training.learning_rate
    return made
