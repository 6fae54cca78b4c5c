"""The section `task`: what is learned."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from hdlif.builders.arguments import Checked, checked, chosen, keys
from hdlif.builders.data import data_kind, target_of
from hdlif.builders.places import At
from hdlif.config import Recipe
from hdlif.errors import RecipeError

if TYPE_CHECKING:
    from hdlif.tasks import Task

TASKS: Mapping[str, Callable[..., Task]] = {
    "classify": At("hdlif.tasks:Classify"),
    "sequence": At("hdlif.tasks:LabelSequence"),
    "regress": At("hdlif.tasks:Regress"),
    "multilabel": At("hdlif.tasks:Multilabel"),
}
_SAID = {
    "class": "one class of a sample",
    "classes": "a class at each step",
    "values": "values of a sample",
    "values_each": "values at each step",
    "labels": "which of several labels a sample has",
}
_FITTING = {
    "class": "task.kind=classify",
    "classes": "task.kind=sequence",
    "values": "'task={kind: regress}'",
    "values_each": "'task={kind: regress, combine: each}'",
    "labels": "task.kind=multilabel",
}
_GIVEN = ("outputs", "time_steps", "mean", "std", "ahead", "label_smoothing")


def checked_task(recipe: Recipe) -> Checked[Task]:
    """The section, checked, and that it learns what the data give. Raises `RecipeError`."""
    kind = recipe.task.kind
    made = checked(
        chosen(TASKS, kind, "task.kind"),
        "task",
        recipe.task.arguments,
        kind=kind,
        others=lambda: keys(*TASKS.values(), given=_GIVEN),
        given=_GIVEN,
    )
    each = recipe.task.arguments.get("combine") == "each"
    if kind in TASKS and (given := target_of(recipe)) != (wanted := target_taken(kind, each=each)):
        raise RecipeError(
            f'task.kind = "{kind}" learns {_SAID[wanted]}, and data.kind = "{recipe.data.kind}" gives {_SAID[given]}; '
            f"--set {_FITTING[given]}, or take other data"
        )
    for key, value in (("data.mixup", recipe.data.mixup), ("teacher", recipe.teacher)):
        if value is not None and (kind != "classify" or recipe.task.arguments.get("combine", "mean") != "mean"):
            raise RecipeError(f'{key} goes with task.kind = "classify" whose combine is "mean"; leave it out')
    if recipe.training.label_smoothing and "label_smoothing" not in made.takes:
        raise RecipeError(
            f"training.label_smoothing = {recipe.training.label_smoothing} is of classes; leave it out of a task of "
            f'kind "{kind}"'
        )
    return made


def target_taken(kind: str, *, each: bool) -> str:
    """What a task out of `TASKS` learns from, in the words of `tasks.Target`; known without PyTorch.

    Args:
        each: its values are of each step.
    """
    taken = {"classify": "class", "sequence": "classes", "multilabel": "labels"}
    return taken.get(kind, "values_each" if each else "values")


def build_task(recipe: Recipe) -> Task:
    """What the recipe learns; its outputs are named by the data. Raises `RecipeError`."""
    described = data_kind(recipe)
    mean, std = described.target_mean, described.target_std
    smoothing = recipe.training.label_smoothing
    return checked_task(recipe)(
        outputs=described.labels,
        time_steps=recipe.time_steps,
        mean=mean,
        std=std,
        ahead=recipe.data.arguments.get("ahead", 0),
        label_smoothing=smoothing,
    )
