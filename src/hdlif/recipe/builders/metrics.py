"""The key `task.metrics`: additional metrics of a task."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from hdlif.config import Component
from hdlif.errors import RecipeError, brief, cut, did_you_mean
from hdlif.recipe.builders.part import KINDS, At, Part, Section, field, without_keys

if TYPE_CHECKING:
    from torchmetrics import Metric as Built

KEY = "task.metrics"
_NAMED = "hdlif.training.tasks.named_metrics"
Average = Literal["macro", "micro", "weighted", "none"]
_AVERAGE = "Averaging over classes or labels."
_THRESHOLDS = "Number of thresholds; by default, every value is a threshold."


class Metric(Part):
    """A metric, which by default is created by the function of the same name in `named_metrics`."""

    def __init_subclass__(cls, kind: str = "", makes: Callable[..., Any] | None = None, **others: Any) -> None:
        makes = makes or (At(f"{_NAMED}:{kind}") if kind else None)
        super().__init_subclass__(kind=kind, makes=makes, **others)


class F1(Metric, kind="f1"):
    """The F1 score."""

    average: Average = field("macro", _AVERAGE)


class TopK(Metric, kind="top_k"):
    """The fraction of samples whose true class is among the k most probable classes."""

    k: int = field(..., "Number of most probable classes to consider, at most all.")


class AUROC(Metric, kind="auroc"):
    """The area under the ROC curve."""

    average: Literal["macro", "weighted", "none"] = field("macro", _AVERAGE)
    thresholds: int | None = field(None, _THRESHOLDS)


class CalibrationError(Metric, kind="calibration_error"):
    """The calibration error of the probabilities."""

    n_bins: int = field(15, "Number of bins.")
    norm: Literal["l1", "l2", "max"] = field("l1", "Norm of the errors.")


class AveragePrecision(Metric, kind="average_precision"):
    """The average precision of label predictions."""

    average: Average = field("macro", _AVERAGE)
    thresholds: int | None = field(None, _THRESHOLDS)


class LabelAUROC(AveragePrecision, kind="auroc", makes=At(f"{_NAMED}:label_auroc")):
    """The area under the ROC curve of label predictions."""


_MORE_OF_CLASSES = {
    "balanced_accuracy": "The mean recall of the classes.",
    "mcc": "The Matthews correlation coefficient.",
}
_OF_VALUES = {
    "spearman": "Spearman's rank correlation.",
    "pearson": "Pearson's correlation.",
    "mape": "The mean absolute percentage error.",
}


def _section(*kinds: type[Metric], own: tuple[str, ...]) -> Section[Metric]:
    return Section[Metric](KEY, *kinds, own=Metric, given=(*own, "outputs"), name=KEY)


_OF_CLASSES = _section(
    *(F1, TopK, AUROC, CalibrationError), *without_keys(Metric, _MORE_OF_CLASSES), own=("task", "num_classes")
)
_HAMMING = without_keys(Metric, {"hamming": "The fraction of labels that are wrong."})
_OF_TASKS: Mapping[str, Section[Metric]] = {
    "classify": _OF_CLASSES,
    "sequence": _OF_CLASSES,
    "segment": _OF_CLASSES,
    "instances": _OF_CLASSES,
    "regress": _section(*without_keys(Metric, _OF_VALUES), own=("num_outputs",)),
    "multilabel": _section(AveragePrecision, LabelAUROC, *_HAMMING, own=("task", "num_labels", "threshold")),
}
"""Metrics by the kind of task."""
_OF_OWN = _section(own=("num_classes", "num_labels", "num_outputs"))
METRICS = tuple(dict.fromkeys(name for section in _OF_TASKS.values() for name in section))
"""Names of all shipped metrics."""
KINDS[KEY] = METRICS


def stated_metrics(arguments: Mapping[str, Any]) -> dict[str, Component]:
    """Return the metrics in the `task` section, keyed by the names of the results. Raises `RecipeError`."""
    given = arguments.get("metrics", [])
    if not isinstance(given, list):
        raise RecipeError(f"{KEY} = {brief(given)} is refused; give a list, such as [f1, {{kind: top_k, k: 5}}]")
    found: dict[str, Component] = {}
    for place, one in enumerate(given):
        name, stated = _stated(one, place)
        if name in found:
            fix = f"give one another name: {{kind: {stated.kind}, name: ...}}"
            raise RecipeError(f'{KEY}: two metrics are called "{cut(name)}"; {fix}')
        found[name] = stated
    return found


def _stated(one: Any, place: int) -> tuple[str, Component]:
    section = {"kind": one} if isinstance(one, str) else one
    if not isinstance(section, dict) or not isinstance(section.get("kind"), str) or not section["kind"]:
        raise RecipeError(f"{KEY}.{place} = {brief(one)} is refused; give a name, or {{kind: NAME, ...}}")
    kind = section["kind"]
    plain = f"top_{section['k']}" if kind == "top_k" and "k" in section else kind.rpartition(":")[2]
    name = section.get("name", plain)
    if not isinstance(name, str) or not name or not name.isprintable():
        raise RecipeError(f"{KEY}.{place}.name = {brief(name)} is refused; give printable text")
    return name, Component.model_validate({key: value for key, value in section.items() if key != "name"})


def read_metrics(task: str, arguments: Mapping[str, Any]) -> dict[str, Metric]:
    """Check `task.metrics` for a kind of task, and return the metrics keyed by the names of the results."""
    section = _OF_TASKS.get(task, _OF_OWN)
    found = {}
    for place, (name, one) in enumerate(stated_metrics(arguments).items()):
        others = [name for name, other in _OF_TASKS.items() if one.kind in other]
        if one.kind not in section and others:
            fix = did_you_mean(one.kind, section) if section else "give one as package.module:Name"
            raise RecipeError(f'{KEY} = "{one.kind}" is for {" and ".join(others)}, but task.kind = "{task}"; {fix}')
        found[name] = section.read(one, f"{KEY}.{place}")
    return found


def build_metrics(task: str, arguments: Mapping[str, Any], outputs: Sequence[str]) -> dict[str, Built]:
    """Return the metrics, keyed by name. Raises `RecipeError` if, for example, a function does not return a metric."""
    read = read_metrics(task, arguments)
    if not read:
        return {}
    from torchmetrics import Metric as Built

    given = {name: len(outputs) for name in ("num_classes", "num_labels", "num_outputs")}
    # Names of the tasks in torchmetrics.
    kinds = {"classify": "multiclass", "sequence": "multiclass", "multilabel": "multilabel"}
    threshold = arguments.get("threshold", 0.5)
    metrics = {}
    for place, (name, part) in enumerate(read.items()):
        metric = part.build(**given, outputs=tuple(outputs), task=kinds.get(task), threshold=threshold)
        if not isinstance(metric, Built):
            raise RecipeError(f"{KEY}.{place} makes {brief(metric)}; it must make a torchmetrics.Metric")
        metrics[name] = metric
    return metrics
