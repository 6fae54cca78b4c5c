"""The `task` section: targets, predictions and metrics."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from hdlif.config import Recipe
from hdlif.errors import InputError, RecipeError
from hdlif.recipe.builders.data import data_kind, input_record, target_of
from hdlif.recipe.builders.data_sets import DATA
from hdlif.recipe.builders.defaults import Choice
from hdlif.recipe.builders.metrics import build_metrics, read_metrics, stated_metrics
from hdlif.recipe.builders.part import At, Part, Section, field, takes

if TYPE_CHECKING:
    from torch import Tensor

    from hdlif.training.tasks import Task as Built

_SAID = {
    "class": "one class of a sample",
    "class_and_steps": "one class of a sample",
    "classes": "a class at each step",
    "values": "values of a sample",
    "values_each": "values at each step",
    "labels": "which of several labels a sample has",
    "map": "a class at each pixel",
    "instances": "the object at each pixel",
    "boxes": "boxes in an image",
    "boxes_each": "boxes at each step",
}
_FITTING = {
    "class": "task.kind=classify",
    "class_and_steps": "task.kind=classify",
    "classes": "task.kind=sequence",
    "values": "'task={kind: regress}'",
    "values_each": "'task={kind: regress, combine: each}'",
    "labels": "task.kind=multilabel",
    "map": "task.kind=segment",
    "instances": "task.kind=instances",
    "boxes": "task.kind=detect",
    "boxes_each": "'task={kind: detect, combine: each}'",
}
_DEFAULTS: dict[str, dict[str, str]] = {
    "classes": {"kind": "sequence"},
    "values": {"kind": "regress"},
    "values_each": {"kind": "regress", "combine": "each"},
    "labels": {"kind": "multilabel"},
}
"""Sections `task` for targets that base recipes do not have."""
GIVEN = ("outputs", "time_steps", "mean", "std", "ahead", "label_smoothing", "metrics", "own_steps", "size", "strides")
DETECTED_AT = (8,)
"""Default strides of a detector's levels."""
_MEASURING = ("metrics", "best")
"""Keys that affect metrics only, not training."""
LearnFrom = Literal["every", "last", "late"]
_LEARN_FROM = (
    "Time steps with a loss: every step, the last step, or every step with larger weights for late ones (late)."
)
_WEIGHTS = "Weights of the classes in the loss: one per class, or balanced, which gives all classes equal total weight."


class Task(Part):
    """A task and its metrics."""

    BESIDE = frozenset({"metrics"})
    HAS_CLASSES: ClassVar[bool] = False

    metrics: list[Any] = field([], "Additional metrics: names, or {kind: NAME, ...} with arguments.")

    @classmethod
    def derive(cls, function: Any, key: str, kind: str, given: Collection[str] = ()) -> type[Self]:
        part = super().derive(function, key, kind, given)
        part.HAS_CLASSES = "label_smoothing" in takes(function)
        return part


class _Ours(Task):
    best: str | None = field(None, "Name of the metric that selects the best epoch.")


class Classify(_Ours, kind="classify", makes=At("hdlif.training.tasks:Classify")):
    """Classification: one class per sample."""

    HAS_CLASSES = True
    combine: Literal["mean", "last"] = field("mean", "Prediction: the mean output over time, or the last output.")
    learn_from: LearnFrom | None = field(None, _LEARN_FROM)
    class_weights: Literal["balanced"] | list[float] | None = field(None, _WEIGHTS)


class Sequence(_Ours, kind="sequence", makes=At("hdlif.training.tasks:LabelSequence")):
    """Classification at each time step."""

    HAS_CLASSES = True
    delay: int = field(0, "Delay of predictions: the prediction for step t is read at step t + delay.")
    learn_from: LearnFrom = field("every", _LEARN_FROM)
    class_weights: Literal["balanced"] | list[float] | None = field(None, _WEIGHTS)


class Regress(_Ours, kind="regress", makes=At("hdlif.training.tasks:Regress")):
    """Regression of values per sample, or at each time step."""

    combine: Literal["mean", "last", "each"] = field(
        "mean", "Prediction: the mean output over time, the last output, or each step's output."
    )
    delay: int = field(0, "Delay of predictions: the prediction for step t is read at step t + delay.")
    loss: Literal["squared", "absolute", "huber"] = field(
        "squared", "squared, absolute, or huber (squared up to one standard deviation)."
    )
    learn_from: LearnFrom | None = field(None, _LEARN_FROM)


class Multilabel(_Ours, kind="multilabel", makes=At("hdlif.training.tasks:Multilabel")):
    """Multi-label classification: any number of labels per sample."""

    combine: Literal["mean", "last"] = field("mean", "Prediction: the mean output over time, or the last output.")
    threshold: float = field(0.5, "Minimum probability of a predicted label.")
    learn_from: LearnFrom | None = field(None, _LEARN_FROM)


class Detect(_Ours, kind="detect", makes=At("hdlif.training.tasks:Detect")):
    """Detection: boxes around the objects in an image."""

    threshold: float = field(0.3, "Minimum score of a predicted box.")
    overlap: float = field(0.6, "Overlap at which the lower-scoring of two boxes of a class is dropped; 1 keeps both.")
    combine: Literal["mean", "each"] = field(
        "mean", "Predict boxes from the mean output over time, or from each step's output."
    )
    box_weight: float = field(1.0, "Weight of the box loss; the class loss has weight 1.")
    learn_from: LearnFrom | None = field(None, _LEARN_FROM)


class _OfPixels(_Ours):
    combine: Literal["mean", "last"] = field("mean", "Prediction: the mean output over time, or the last output.")
    learn_from: LearnFrom | None = field(None, _LEARN_FROM)
    dice: float = field(1.0, "Weight of the Dice loss, which is added to cross-entropy.")


class Segment(_OfPixels, kind="segment", makes=At("hdlif.training.tasks:Segment")):
    """Segmentation: a class at each pixel."""


class Instances(_OfPixels, kind="instances", makes=At("hdlif.training.tasks:Instances")):
    """Instance segmentation: an object, or none, at each pixel."""


TASKS = Section[Task](
    "task", Classify, Sequence, Regress, Multilabel, Segment, Instances, Detect, own=Task, given=GIVEN
)


def read_task(recipe: Recipe) -> Task:
    """Check that the `task` section is valid and fits the targets of the data. Raises `RecipeError`."""
    kind, arguments = recipe.task.kind, recipe.task.arguments
    stated_metrics(arguments)
    task = TASKS.read(recipe.task)
    if "metrics" in arguments and task.IS_OWN and "metrics" not in takes(task.MAKES):
        raise RecipeError(f'task.metrics is not supported by the task "{kind}"; add an argument `metrics` to it')
    read_metrics(kind, arguments)
    given, wanted = target_of(recipe), target_taken(kind, each=arguments.get("combine") == "each")
    taken = ("class", "class_and_steps") if wanted == "class" else (wanted,)
    if kind in TASKS and given not in taken:
        raise RecipeError(
            f'task.kind = "{kind}" learns {_SAID[wanted]}, but data.kind = "{recipe.data.kind}" gives {_SAID[given]}; '
            f"--set {_FITTING[given]}, or use other data"
        )
    delay, after = arguments.get("delay", 0), data_kind(recipe).answered_after if recipe.data.kind in DATA else None
    if after is not None and delay != after:
        raise RecipeError(
            f'task.delay = {delay} does not fit data.kind = "{recipe.data.kind}", whose predictions are read {after} '
            f"steps later; --set task.delay={after}"
        )
    is_plain = kind == "classify" and arguments.get("combine", "mean") == "mean" and given == "class"
    for key, value in (("data.mixup", recipe.data.mixup), ("teacher", recipe.teacher)):
        if value is not None and not is_plain:
            only = 'task.kind = "classify" with combine = "mean" and samples of one length'
            raise RecipeError(f"{key} requires {only}; leave it out")
    if recipe.teacher is not None and arguments.get("learn_from", "every") != "every":
        raise RecipeError("teacher requires task.learn_from = every; leave one of them out")
    if recipe.training.label_smoothing and not task.HAS_CLASSES:
        seen = f"training.label_smoothing = {recipe.training.label_smoothing}"
        raise RecipeError(f'{seen} needs a task with classes, but task.kind = "{kind}" has none; leave it out')
    return task


def target_taken(kind: str, *, each: bool) -> str:
    """Return the `tasks.Target` for a kind of task; `each` is true if there is a value for each step."""
    taken = {
        "classify": "class",
        "sequence": "classes",
        "multilabel": "labels",
        "segment": "map",
        "instances": "instances",
        "detect": "boxes_each" if each else "boxes",
    }
    return taken.get(kind, "values_each" if each else "values")


def task_choices(recipe: Recipe) -> list[Choice]:
    """Choose the section `task` that fits the keys of the recipe's data; return no choice if the recipe's own fits."""
    target = target_of(recipe)
    return [Choice("task", _DEFAULTS[target], f"to predict {_SAID[target]}")] if target in _DEFAULTS else []


def learned_arguments(recipe: Recipe) -> dict[str, Any]:
    """Return the keys of the section that define the task, except the keys for metrics."""
    return {key: value for key, value in recipe.task.arguments.items() if key not in _MEASURING}


def with_class_weights(recipe: Recipe, labels: Callable[[], Tensor]) -> Recipe:
    """Return the recipe with "balanced" class weights computed from the labels of the training set, [N] or [N, T]."""
    arguments = recipe.task.arguments
    if recipe.task.kind not in TASKS or arguments.get("class_weights") != "balanced":
        return recipe
    task: Any = build_task(recipe)
    weights = list(task.counted(labels()).class_weights)
    counted = {"kind": recipe.task.kind, **arguments, "class_weights": weights}
    return recipe.model_copy(update={"task": recipe.task.model_validate(counted)})


def build_task(recipe: Recipe) -> Built:
    """Build the recipe's task without its additional metrics. Raises `RecipeError`."""
    plain = recipe.task.model_validate({"kind": recipe.task.kind, **learned_arguments(recipe)})
    return build_measured_task(recipe.model_copy(update={"task": plain}))


def build_measured_task(recipe: Recipe) -> Built:
    """Build the recipe's task with its additional metrics, which are tested on noise. Raises `RecipeError`."""
    described = data_kind(recipe)
    try:
        task: Built = read_task(recipe).build(
            metrics=build_metrics(recipe.task.kind, recipe.task.arguments, described.labels),
            outputs=described.labels,
            time_steps=recipe.time_steps,
            mean=described.target_mean,
            std=described.target_std,
            ahead=described.ahead,
            label_smoothing=recipe.training.label_smoothing,
            own_steps=described.target == "class_and_steps",
            size=tuple(input_record(recipe).shape[1:]),
            strides=recipe.model.arguments.get("strides", DETECTED_AT),
        )
    except InputError as error:
        raise RecipeError(str(error)) from error
    return task


def graph_record(recipe: Recipe) -> dict[str, Any]:
    """Return the input, labels, time steps and task of the recipe's network, for `deploy.lower`."""
    return {
        "input": input_record(recipe),
        "labels": data_kind(recipe).labels,
        "time_steps": recipe.time_steps,
        "task": build_task(recipe).record,
    }
