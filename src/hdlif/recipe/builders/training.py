"""The `training` section and the related keys `activity`, `teacher` and `data.mixup`."""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from hdlif.config import Recipe, TrainingConfig
from hdlif.errors import RecipeError, TrainingError, brief, cut, did_you_mean, first_line
from hdlif.recipe.builders.data import CONSTANT, check_data, data_kind
from hdlif.recipe.builders.part import At, Part, Section, called, field

if TYPE_CHECKING:
    import torch
    from torch import nn

    from hdlif.learning import Criterion
    from hdlif.nn import Temporal
    from hdlif.training import Mix, Optimization
    from hdlif.training import Teacher as Trained
    from hdlif.training.activity import Penalty
    from hdlif.training.optimization import Schedule


class SGD(Part, kind="sgd", makes=At("hdlif.training.optimization:nesterov")):
    """SGD with Nesterov momentum; the key training.momentum sets the coefficient."""


class Adam(Part, kind="adam", makes=At("hdlif.training.optimization:adam")):
    """The Adam optimiser."""

    beta1: float = field(0.9, "Decay of the mean of gradients.")
    beta2: float = field(0.999, "Decay of the mean of squared gradients.")
    eps: float = field(1e-8, "Constant added to the denominator.")


class AdamW(Adam, kind="adamw", makes=At("hdlif.training.optimization:adamw")):
    """The AdamW optimiser."""


class Cosine(Part, kind="cosine", makes=At("hdlif.training.optimization:cosine").get):
    """A learning rate that falls to 0 along a half-cosine."""


class Constant(Part, kind="constant", makes=At("hdlif.training.optimization:constant").get):
    """A constant learning rate."""


class Drops(Part, kind="drops", makes=At("hdlif.training.optimization:Drops")):
    """A learning rate that drops by a factor at given fractions of all training steps."""

    at: list[float] = field(..., "Fractions of all steps at which the rate drops.")
    factor: float = field(0.1, "Factor that multiplies the rate at each drop.", gt=0, le=1)


_GIVEN = ("params", "lr", "weight_decay")
OPTIMIZERS = Section[Part]("training.optimizer", SGD, Adam, AdamW, own=Part, given=_GIVEN)
SCHEDULES = Section[Part]("training.schedule", Cosine, Constant, Drops, own=Part)


def read_optimizer(training: TrainingConfig) -> Part:
    """Check the key `training.optimizer`."""
    section = training.optimizer
    for key in section.arguments:
        if key in ("lr", "weight_decay") or (key == "momentum" and section.kind == "sgd"):
            own = "learning_rate" if key == "lr" else key
            raise RecipeError(f"training.optimizer.{key} cannot be set here; set training.{own}")
    return OPTIMIZERS.read(section)


def build_optimization(training: TrainingConfig) -> Optimization:
    """Build the optimiser and the schedule from a recipe's section `training`."""
    from hdlif.training import Optimization

    schedule, kind = SCHEDULES.read(training.schedule).build(), training.schedule.kind
    return Optimization(partial(_optimizer, training), schedule if kind in SCHEDULES else _OwnSchedule(schedule, kind))


@dataclass(frozen=True)
class _OwnSchedule:
    """A wrapper that raises `TrainingError` if a custom schedule fails or does not return a factor."""

    schedule: Schedule
    kind: str

    def __call__(self, step: int, total: int) -> float:
        try:
            factor: Any = self.schedule(step, total)
        except Exception as error:
            said = f"{type(error).__name__}: {first_line(error)}"
            raise TrainingError(f"training.schedule: {said} ({self.kind} at step {step} of {total})") from error
        if not isinstance(factor, int | float) or not 0 <= factor < math.inf:
            seen = f'training.schedule.kind = "{self.kind}" gives {brief(factor)} at step {step} of {total}'
            raise TrainingError(f"{seen}; it must make a function of (step, total) that returns a factor of the rate")
        return factor


def try_optimization(training: TrainingConfig) -> None:
    """Raise `RecipeError` if the optimiser cannot step or the schedule does not return a factor.

    Shipped optimisers and schedules without arguments are not tested.
    """
    sections = ((training.optimizer, OPTIMIZERS), (training.schedule, SCHEDULES))
    if all(one.kind in table and not one.arguments for one, table in sections):
        return
    import torch
    from torch import nn

    from hdlif.training.checkpoint import training_tensors

    schedule: Any = build_optimization(training).schedule
    trial = nn.Linear(3, 2)
    optimizer: Any = _optimizer(training, trial)
    if not isinstance(optimizer, torch.optim.Optimizer):
        seen = f'training.optimizer.kind = "{training.optimizer.kind}" gives a {type(optimizer).__name__}'
        raise RecipeError(f"{seen}; it must be an optimiser like those of torch.optim")
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
            f"training.optimizer: {type(optimizer).__name__} changes {changed[0][1]!r} of its groups during a step, "
            "which checkpoints do not save; keep it in the state of the parameters, or choose another optimiser"
        )
    for step in range(10):
        try:
            schedule(step, 10)
        except TrainingError as error:
            raise RecipeError(str(error)) from error


def _of_groups(optimizer: torch.optim.Optimizer) -> dict[tuple[int, str], Any]:
    """Return the options of an optimiser's parameter groups, without the parameters and the learning rate."""
    return {
        (number, key): value
        for number, group in enumerate(optimizer.param_groups)
        for key, value in group.items()
        if key not in ("params", "lr")
    }


def _optimizer(training: TrainingConfig, model: nn.Module) -> torch.optim.Optimizer:
    from hdlif.training.optimization import make_optimizer

    made = make_optimizer(training, model, read_optimizer(training).build)
    # A custom optimiser may not accept lr.
    for group in getattr(made, "param_groups", ()):
        group["lr"] = training.learning_rate
    return made


class Free(Part, kind="free"):
    """No penalty on spikes."""


class Surplus(Part, kind="surplus", makes=At("hdlif.training.activity:Surplus")):
    """A penalty on the mean spike, which reduces all spikes equally."""

    weight: float = field(..., "Weight of the penalty in the loss.", gt=0)


class Density(Part, kind="density", makes=At("hdlif.training.activity:Density")):
    """A penalty that reduces the fraction of non-zero spikes to a target value."""

    target: float = field(..., "Target fraction of non-zero spikes.", ge=0, lt=1)
    weight: float = field(1.0, "Weight of the penalty in the loss.", gt=0)
    per_layer: bool = field(True, "Apply the target to each layer; false applies it to the network as a whole.")


class Sops(Part, kind="sops", makes=At("hdlif.training.activity:Budget")):
    """A penalty that reduces synaptic operations until they are within a budget."""

    sops: float | dict[str, float] = field(
        ..., "Synaptic operations per sample over all steps: one budget for the network, or budgets by layer name."
    )
    weight: float = field(1.0, "Weight of the penalty in the loss.", gt=0)


PENALTIES = Section[Part]("activity", Free, Surplus, Density, Sops, own=Part, given=("time_steps",))


def build_penalty(recipe: Recipe) -> Penalty | None:
    """Return the recipe's penalty on activity, or None if the recipe has no penalty."""
    penalty: Penalty | None = PENALTIES.read(recipe.activity).build(time_steps=recipe.time_steps)
    return penalty


def check_budgets(recipe: Recipe, network: Temporal) -> None:
    """Raise `RecipeError` if a name in `activity.sops` is not a body layer with synaptic operations."""
    budgets = recipe.activity.arguments.get("sops")
    if not isinstance(budgets, dict):
        return
    from hdlif.training.activity import Budget

    layers = [name for name, module in network.named_modules() if isinstance(module, Budget.watches)]
    for name in budgets:
        if name not in layers:
            fix = did_you_mean(str(name), layers)
            raise RecipeError(f"activity.sops: {brief(name)} is not a layer of the body; {fix}")


def build_mix(recipe: Recipe) -> Mix | None:
    """Return the object that mixes batches, or None if the recipe does not mix batches."""
    check_pairs(recipe)
    if recipe.data.mixup is None:
        return None
    from hdlif.training import Mix

    return Mix(classes=len(data_kind(recipe).labels), **recipe.data.mixup.model_dump())


def check_pairs(recipe: Recipe) -> None:
    """Raise `RecipeError` if samples are mixed in pairs but the batch size is odd."""
    if recipe.data.mixup is not None and recipe.data.batch_size % 2:
        raise RecipeError(f"data.batch_size = {recipe.data.batch_size}; data.mixup pairs samples, so make it even")


def check_accumulation(recipe: Recipe) -> None:
    """Raise `RecipeError` if gradients accumulate over batches but the rule makes several updates per batch."""
    if recipe.training.accumulate > 1 and recipe.rule.arguments.get("update") == "each":
        seen = f'training.accumulate = {recipe.training.accumulate} does not go with rule.update = "each"'
        raise RecipeError(f'{seen}, which updates at every step of a batch; choose "sum"')


Three = Annotated[list[float], Field(min_length=3, max_length=3)]


class Teacher(Part):
    """A trained image classifier, specified by an architecture and a file of weights."""

    LIBRARY: ClassVar[At]
    """Function that makes a network by its name, without weights."""

    name: str = field(..., "Name of the architecture.")
    checkpoint: str = field(..., "File with its weights, trained on the same classes as the data.")
    temperature: float = field(4.0, "Temperature that divides the logits of the teacher and the network.", gt=0)
    weight: float = field(0.5, "Weight of the teacher in the loss.", ge=0, le=1)
    mean: Three | None = field(None, "Mean of the teacher's normalisation; by default, the mean of the data.")
    std: Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=3, max_length=3)] | None = field(
        None, "Standard deviation of the teacher's normalisation; by default, the deviation of the data."
    )
    size: int | None = field(None, "Side of the teacher's input images; by default, the side of the data.", ge=1)

    def names(self) -> list[str]:
        """Return the names of the architectures in the teacher's library."""
        raise NotImplementedError


class Timm(Teacher, kind="timm"):
    """A network from timm."""

    LIBRARY = At("timm:create_model")

    def names(self) -> list[str]:
        return list(At("timm:list_models")())


class Torchvision(Teacher, kind="torchvision"):
    """A network from torchvision."""

    LIBRARY = At("torchvision.models:get_model")

    def names(self) -> list[str]:
        from torchvision import models

        return list(models.list_models(module=models))


TEACHERS = Section[Teacher]("teacher", Timm, Torchvision)


def distilled(recipe: Recipe, criterion: Criterion) -> Criterion:
    """Return the criterion for distillation from the recipe's teacher, or `criterion` if there is no teacher."""
    teacher = _known(recipe)
    if teacher is None:
        return criterion
    arguments = {"criterion": criterion, "temperature": teacher.temperature, "weight": teacher.weight}
    learned: Criterion = called("teacher", At("hdlif.learning:Distillation"), arguments)
    return learned


def build_teacher(recipe: Recipe) -> Trained | None:
    """Return the recipe's teacher, if any, with its weights. Raises `CheckpointError` if the weights are missing."""
    teacher = _known(recipe)
    if teacher is None:
        return None
    from hdlif.training import Teacher as Trained
    from hdlif.training import load_teacher

    kind = data_kind(recipe)
    network = teacher.LIBRARY(teacher.name, num_classes=len(kind.labels))
    load_teacher(Path(teacher.checkpoint), network)
    shown = kind.input.mean, kind.input.std
    taken = teacher.mean or kind.input.mean, teacher.std or kind.input.std
    return Trained(network, shown=shown, taken=taken, size=teacher.size)


def read_teacher(recipe: Recipe) -> Teacher | None:
    """Check the `teacher` section, except for the network's name and the checkpoint."""
    if recipe.teacher is None:
        return None
    teacher = TEACHERS.read(recipe.teacher)
    if check_data(recipe) != "image" or recipe.data.frames != CONSTANT:
        seen = f'data.kind = "{recipe.data.kind}", data.frames = "{recipe.data.frames}"'
        raise RecipeError(f"teacher: it needs whole images, but {seen} has none; leave the teacher out")
    return teacher


def _known(recipe: Recipe) -> Teacher | None:
    """Check the `teacher` section, including the network's name."""
    teacher = read_teacher(recipe)
    if teacher is None:
        return None
    names = teacher.names()
    if teacher.name not in names:
        # List only a few names, because a library has more than a thousand.
        near = ", ".join(difflib.get_close_matches(cut(teacher.name), names, n=5) or names[:5])
        raise RecipeError(f'teacher.name = "{cut(teacher.name)}" is unknown to {teacher.kind}; nearest are {near}')
    return teacher
