"""The section `task`: what is learned."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from hdlif.builders.arguments import Checked, checked, chosen, keys
from hdlif.builders.data import data_kind, target_of
from hdlif.builders.metrics import build_metrics, checked_metrics
from hdlif.builders.places import At
from hdlif.builders.shipped import DATA
from hdlif.config import Recipe
from hdlif.errors import InputError, RecipeError

if TYPE_CHECKING:
    from torch import Tensor

    from hdlif.tasks import Task

TASKS: Mapping[str, Callable[..., Task]] = {
    "classify": At("hdlif.tasks:Classify"),
    "sequence": At("hdlif.tasks:LabelSequence"),
    "regress": At("hdlif.tasks:Regress"),
    "multilabel": At("hdlif.tasks:Multilabel"),
}
_SAID = {
    "class": "one class of a sample",
    "class_and_steps": "one class of a sample",
    "classes": "a class at each step",
    "values": "values of a sample",
    "values_each": "values at each step",
    "labels": "which of several labels a sample has",
}
_FITTING = {
    "class": "task.kind=classify",
    "class_and_steps": "task.kind=classify",
    "classes": "task.kind=sequence",
    "values": "'task={kind: regress}'",
    "values_each": "'task={kind: regress, combine: each}'",
    "labels": "task.kind=multilabel",
}
GIVEN = ("outputs", "time_steps", "mean", "std", "ahead", "label_smoothing", "metrics", "own_steps")
_MEASURING = ("metrics", "best")
"""Keys that say what is measured, and nothing of what is learned."""


def checked_task(recipe: Recipe) -> Checked[Task]:
    """The section, checked, and that it learns what the data give. Raises `RecipeError`."""
    kind, arguments = recipe.task.kind, recipe.task.arguments
    made = checked(
        chosen(TASKS, kind, "task.kind"),
        "task",
        {key: value for key, value in arguments.items() if key != "metrics"},
        kind=kind,
        others=lambda: keys(*TASKS.values(), given=GIVEN),
        beside=("metrics",),
        given=GIVEN,
    )
    if "metrics" in arguments and "metrics" not in made.takes:
        raise RecipeError(f'task.metrics is unknown to the task "{kind}"; let it take an argument `metrics`')
    checked_metrics(kind, arguments)
    each = recipe.task.arguments.get("combine") == "each"
    given, wanted = target_of(recipe), target_taken(kind, each=each)
    taken = ("class", "class_and_steps") if wanted == "class" else (wanted,)
    if kind in TASKS and given not in taken:
        raise RecipeError(
            f'task.kind = "{kind}" learns {_SAID[wanted]}, and data.kind = "{recipe.data.kind}" gives {_SAID[given]}; '
            f"--set {_FITTING[given]}, or take other data"
        )
    if recipe.data.kind in DATA and (after := data_kind(recipe).answered_after) is not None:
        _check_answered(arguments.get("delay", 0), after, recipe.data.kind)
    is_plain = kind == "classify" and arguments.get("combine", "mean") == "mean" and given == "class"
    for key, value in (("data.mixup", recipe.data.mixup), ("teacher", recipe.teacher)):
        if value is not None and not is_plain:
            raise RecipeError(
                f'{key} goes with task.kind = "classify" whose combine is "mean", of samples of one length; '
                "leave it out"
            )
    if recipe.teacher is not None and arguments.get("learn_from", "every") != "every":
        raise RecipeError("teacher goes with task.learn_from = every; leave one of them out")
    if recipe.training.label_smoothing and "label_smoothing" not in made.takes:
        raise RecipeError(
            f"training.label_smoothing = {recipe.training.label_smoothing} is of classes; leave it out of a task of "
            f'kind "{kind}"'
        )
    return made


def _check_answered(delay: object, after: int, kind: str) -> None:
    if delay != after:
        raise RecipeError(
            f'task.delay = {delay}: with data.kind = "{kind}" the answer to a step is asked for {after} steps later; '
            f"--set task.delay={after}"
        )


def target_taken(kind: str, *, each: bool) -> str:
    """What a task out of `TASKS` learns from, in the words of `tasks.Target`; known without PyTorch.

    Args:
        each: its values are of each step.
    """
    taken = {"classify": "class", "sequence": "classes", "multilabel": "labels"}
    return taken.get(kind, "values_each" if each else "values")


def learned_arguments(recipe: Recipe) -> dict[str, Any]:
    """What the section says of what is learned, without what is measured."""
    return {key: value for key, value in recipe.task.arguments.items() if key not in _MEASURING}


def with_class_weights(recipe: Recipe, labels: Callable[[], Tensor]) -> Recipe:
    """The recipe with "balanced" class weights as numbers; with others as it is.

    Args:
        labels: gives those of the training samples, int64 [N], or [N, T] of a class at each step.
    """
    arguments = recipe.task.arguments
    if recipe.task.kind not in TASKS or arguments.get("class_weights") != "balanced":
        return recipe
    task: Any = build_task(recipe)
    weights = list(task.counted(labels()).class_weights)
    counted = {"kind": recipe.task.kind, **arguments, "class_weights": weights}
    return recipe.model_copy(update={"task": recipe.task.model_validate(counted)})


def build_task(recipe: Recipe) -> Task:
    """What the recipe learns; its outputs are named by the data, and its figures its own. Raises `RecipeError`."""
    plain = recipe.task.model_validate({"kind": recipe.task.kind, **learned_arguments(recipe)})
    return _built(recipe.model_copy(update={"task": plain}))


def build_measured_task(recipe: Recipe) -> Task:
    """The same with the metrics that the recipe asks for, which are tried on noise. Raises `RecipeError`."""
    try:
        return _built(recipe)
    except InputError as error:
        raise RecipeError(str(error)) from error


def _built(recipe: Recipe) -> Task:
    described = data_kind(recipe)
    mean, std = described.target_mean, described.target_std
    smoothing = recipe.training.label_smoothing
    return checked_task(recipe)(
        metrics=build_metrics(recipe.task.kind, recipe.task.arguments, described.labels),
        outputs=described.labels,
        time_steps=recipe.time_steps,
        mean=mean,
        std=std,
        ahead=described.ahead,
        label_smoothing=smoothing,
        own_steps=described.target == "class_and_steps",
    )
