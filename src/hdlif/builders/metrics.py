"""The key `task.metrics`: what is measured beside a task's own figures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hdlif.builders.arguments import Checked, checked, chosen
from hdlif.builders.places import At, parameters
from hdlif.errors import RecipeError, brief, cut, did_you_mean, first_line

if TYPE_CHECKING:
    from torchmetrics import Metric

KEY = "task.metrics"
_NAMED = "hdlif.tasks.named_metrics"
_OF_CLASSES: Mapping[str, Callable[..., Metric]] = {
    name: At(f"{_NAMED}:{name}") for name in ("f1", "balanced_accuracy", "top_k", "auroc", "calibration_error", "mcc")
}
_OF_TASKS: Mapping[str, Mapping[str, Callable[..., Metric]]] = {
    "classify": _OF_CLASSES,
    "sequence": _OF_CLASSES,
    "regress": {name: At(f"{_NAMED}:{name}") for name in ("spearman", "pearson", "mape")},
    "multilabel": {
        "auroc": At(f"{_NAMED}:label_auroc"),
        "average_precision": At(f"{_NAMED}:average_precision"),
        "hamming": At(f"{_NAMED}:hamming"),
    },
}
"""By the kind of task."""
METRICS = tuple(dict.fromkeys(name for table in _OF_TASKS.values() for name in table))
"""All plain names."""
_GIVEN = {
    "classify": ("task", "num_classes", "outputs"),
    "sequence": ("task", "num_classes", "outputs"),
    "regress": ("num_outputs", "outputs"),
    "multilabel": ("task", "num_labels", "threshold", "outputs"),
}
"""What a metric is given of each kind of task, if it takes it."""


@dataclass(frozen=True)
class Stated:
    """A metric as a recipe has it.

    Attributes:
        kind: a plain name, or `package.module:Name`.
        name: of its figure.
    """

    kind: str
    name: str
    arguments: Mapping[str, Any]


def stated_metrics(arguments: Mapping[str, Any]) -> list[Stated]:
    """The metrics that the section `task` asks for. Raises `RecipeError` where it is no list of such."""
    given = arguments.get("metrics", [])
    if not isinstance(given, list):
        raise RecipeError(f"{KEY} = {brief(given)} is refused; give a list, such as [f1, {{kind: top_k, k: 5}}]")
    return [_stated(one, place) for place, one in enumerate(given)]


def _stated(one: Any, place: int) -> Stated:
    section = {"kind": one} if isinstance(one, str) else one
    if not isinstance(section, dict) or not isinstance(section.get("kind"), str) or not section["kind"]:
        raise RecipeError(
            f"{KEY}.{place} = {brief(one)} is refused; give a name, or {{kind: NAME, ...}} with arguments"
        )
    arguments = {key: value for key, value in section.items() if key not in ("kind", "name")}
    kind = section["kind"]
    name = section.get("name", _name_of(kind, arguments))
    if not isinstance(name, str) or not name or not name.isprintable():
        raise RecipeError(f"{KEY}.{place}.name = {brief(name)} is refused; give printable text")
    return Stated(kind, name, arguments)


def _name_of(kind: str, arguments: Mapping[str, Any]) -> str:
    if kind == "top_k" and "k" in arguments:
        return f"top_{arguments['k']}"
    return kind.rpartition(":")[2]


def checked_metrics(task: str, arguments: Mapping[str, Any]) -> dict[str, Checked[Metric]]:
    """The key, checked; what makes each metric, by its name. Raises `RecipeError`.

    Args:
        task: the section's kind.
        arguments: all of the section.
    """
    found: dict[str, Checked[Metric]] = {}
    for place, one in enumerate(stated_metrics(arguments)):
        if one.name in found:
            raise RecipeError(
                f'{KEY}: two are called "{cut(one.name)}"; give one another name: {{kind: {one.kind}, name: ...}}'
            )
        found[one.name] = _checked(task, one, place)
    return found


def _checked(task: str, one: Stated, place: int) -> Checked[Metric]:
    table = _OF_TASKS.get(task, {})
    if one.kind not in table and (others := list(_tasks_of(one.kind))):
        mend = did_you_mean(one.kind, table) if table else "name one by package.module:Name"
        raise RecipeError(f'{KEY} = "{one.kind}" is of {" and ".join(others)}, and task.kind = "{task}"; {mend}')
    make = chosen(table, one.kind, KEY)
    try:
        parameters(make)
    except (TypeError, ValueError) as error:
        raise RecipeError(
            f'{KEY} = "{one.kind}": {first_line(error)}; it must be a class or a function of Python'
        ) from error
    given = _GIVEN.get(task, ("num_classes", "num_labels", "num_outputs", "outputs"))
    return checked(make, f"{KEY}.{place}", one.arguments, kind=one.kind, beside=("name",), given=given)


def _tasks_of(name: str) -> Iterator[str]:
    """The kinds of task that have a metric of this plain name."""
    return (task for task, table in _OF_TASKS.items() if name in table)


def build_metrics(task: str, arguments: Mapping[str, Any], outputs: Sequence[str]) -> dict[str, Metric]:
    """The metrics by name. Raises `RecipeError`, also where one's own makes none."""
    made = checked_metrics(task, arguments)
    if not made:
        return {}
    from torchmetrics import Metric

    given = {name: len(outputs) for name in ("num_classes", "num_labels", "num_outputs")}
    # The library's names of what it calls tasks.
    kinds = {"classify": "multiclass", "sequence": "multiclass", "multilabel": "multilabel"}
    threshold = arguments.get("threshold", 0.5)
    metrics = {}
    for name, make in made.items():
        metric = make(**given, outputs=tuple(outputs), task=kinds.get(task), threshold=threshold)
        if not isinstance(metric, Metric):
            raise RecipeError(f"{make.section} makes {brief(metric)}; it must make a torchmetrics.Metric")
        metrics[name] = metric
    return metrics
