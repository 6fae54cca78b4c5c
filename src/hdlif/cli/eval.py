"""Implement `hdlif eval`, which evaluates a checkpoint or a model file on a data set."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from os import fspath
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from hdlif.cli.names import NETWORK
from hdlif.cli.options import DataKeys, DataRoot, DataSet, Place, argument, called_from_python, option, subcommand
from hdlif.cli.output import say as to_stderr
from hdlif.cli.output import show
from hdlif.errors import say_nothing
from hdlif.report.tables import aligned, figure, mean_line
from hdlif.zoo import WEIGHTS, network_file

if TYPE_CHECKING:
    from hdlif.training.tasks import Drawing, Evaluation


@dataclass(frozen=True)
class EvaluationResult:
    """A network's results on a test set.

    Attributes:
        accuracy: accuracy after the last time step, a fraction in 0..1; None for tasks other than classification.
        n: number of samples.
        metrics: metrics by name; "accuracy" for a classification; NaN if undefined.
        per_step: the metric at or after each step with an output; for a classification, the accuracy.
        labels: the names of the network's outputs; class names for a classification.
        confusion: counts of samples (or steps) of a classification, with one row per true class and one column per
            predicted class.
        accuracy_per_class: the accuracy of each class; None for classes without samples.
        mean_rmse: for values, the rmse of always predicting the training mean.
        early: for a classification over several steps, the mean number of steps and the accuracy for each confidence of
            early exit.
        evaluation: for a checkpoint, the engine that ran the network (`Evaluated`).
    """

    accuracy: float | None
    n: int
    metrics: Mapping[str, float]
    per_step: tuple[float, ...]
    labels: tuple[str, ...]
    confusion: list[list[int]] | None = None
    accuracy_per_class: list[float | None] | None = None
    mean_rmse: float | None = None
    early: dict[str, Any] | None = None
    evaluation: dict[str, Any] | None = None

    @property
    def accuracy_per_step(self) -> tuple[float, ...]:
        """Return the accuracy after each time step, or () for tasks other than classification."""
        return () if self.accuracy is None else self.per_step

    def as_dict(self, *, confusion: bool = False, early: bool = False) -> dict[str, Any]:
        """Return the result as a dict in the format of `hdlif eval --json`."""
        from hdlif.training.tasks import figures_as_json

        figures = figures_as_json(self.accuracy, self.per_step, self.metrics) | {"n": self.n}
        if self.mean_rmse is not None:
            figures["mean_rmse"] = self.mean_rmse
        if confusion and self.confusion is not None:
            figures |= {"labels": list(self.labels), "confusion": self.confusion}
            figures["accuracy_per_class"] = self.accuracy_per_class
        if early and self.early is not None:
            figures["early"] = self.early
        return figures if self.evaluation is None else figures | {"evaluation": self.evaluation}


@called_from_python
def evaluate(
    network: Annotated[Place, argument(metavar="PATH", type=NETWORK)],
    *,
    data: DataSet = None,
    data_root: DataRoot = None,
    overrides: DataKeys = (),
    part: Literal["all", "train", "validation", "test"] = "test",
    progress: bool = False,
    say: Callable[[str], None] = say_nothing,
) -> EvaluationResult:
    """Print the accuracy of the network PATH on a test set after each time step.

    PATH is a checkpoint, a run folder, a model file, or the name of a trained network from `hdlif models ls`.

    If the data have no splits, `hdlif eval` splits them as in training. Use --set to read and split your own data as in
    training, for example `--set data.label=activity --set data.group=person`.

    \f
    Model files run in the compiled runtime. `network` is PATH, `overrides` contains "data.KEY=VALUE" entries, and
    `data_root` and `progress` are as in `train`. `say` is called with a warning if the network may have been trained on
    the test samples.

    Args:
        data: Data set, or your own data; a checkpoint's own by default. Events are binned as in training.
        part: Part of the data to test on; all skips the split, for data that were not used in training.
    Raises:
        RecipeError: an override sets a key that this kind of data does not have, or one that the network determines.
        DataError: the data cannot be used, or do not fit the network.
    """
    import torch

    from hdlif.graph.artefact.io import load
    from hdlif.recipe import builders
    from hdlif.recipe.runs.checkpoints import load_trained
    from hdlif.recipe.runs.files import existing, names_artefact
    from hdlif.recipe.runs.recipe_data import data_keys
    from hdlif.recipe.runs.tested_data import check_classes, sets_for
    from hdlif.report.allocator import keep_freed_memory
    from hdlif.report.counts import deployed_or_none
    from hdlif.report.evaluation import evaluate_deployed, evaluate_network
    from hdlif.training import progress_bar
    from hdlif.training.tasks import task_of

    path, given = network_file(network, WEIGHTS), None if data is None else fspath(data)
    root = None if data_root is None else Path(data_root)
    ways: dict[str, Any] = {"keys": data_keys(overrides), "part": part, "say": say}
    if names_artefact(path):
        graph = load(existing(path))
        sets = sets_for(graph, given, root, path, **ways)
        check_classes(path, graph.labels, sets)
        task = task_of(graph)
        drawing = task.drawing()
        with progress_bar(enabled=progress) as bar:
            result = evaluate_deployed(graph, sets.of(part), task=task, observe=drawing, bar=bar)
        return _evaluation_result(result, drawing, graph.labels)
    trained = load_trained(path)
    recipe = trained.recipe
    sets = sets_for(recipe, given, root, path, **ways)
    check_classes(path, builders.data_kind(recipe).labels, sets)
    task = builders.build_measured_task(recipe)
    drawing = task.drawing()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    graph_of_it = None
    if device.type == "cpu":
        keep_freed_memory()
        # Without a deployed form, PyTorch evaluates all samples; training and profile report the reason.
        graph_of_it = deployed_or_none(trained.network, recipe)
    with progress_bar(enabled=progress) as bar:
        evaluated = evaluate_network(
            trained.network.to(device),
            sets.of(part),
            task=task,
            batch_size=recipe.data.batch_size,
            graph=graph_of_it,
            observe=drawing,
            device=device,
            bar=bar,
        )
    return _evaluation_result(evaluated.result, drawing, sets.classes, evaluation=evaluated.as_dict())


def _evaluation_result(
    result: "Evaluation", drawing: "Drawing", labels: Sequence[str], evaluation: dict[str, Any] | None = None
) -> EvaluationResult:
    from hdlif.training.tasks import Chosen, Confusion

    counted = drawing if isinstance(drawing, Confusion) else None
    return EvaluationResult(
        accuracy=result.accuracy,
        n=result.n,
        metrics=result.metrics,
        per_step=result.per_step,
        labels=tuple(labels) if counted is None else counted.classes,
        confusion=None if counted is None else counted.counts.tolist(),
        accuracy_per_class=None if counted is None else counted.accuracy_per_class,
        mean_rmse=result.mean_rmse,
        early=drawing.early.files().get("early") if isinstance(drawing, Chosen) else None,
        evaluation=evaluation,
    )


def evaluation_text(result: Mapping[str, Any]) -> str:
    """Format the accuracy after each time step, the confusion matrix and the effect of early exit."""
    metrics = dict(result.get("metrics", {}))
    if result["accuracy"] is not None:
        metrics.pop("accuracy", None)
    figures = ", ".join(f"{name} {figure(value, '.4g')}" for name, value in metrics.items())
    if result["accuracy"] is None:
        text = f"{figures} of {result['n']} samples"
        text += f"\n{mean_line(result['mean_rmse'])}" if "mean_rmse" in result else ""
    else:
        text = f"{result['accuracy']:.2%} of {result['n']} samples (after {_steps(result['accuracy_per_step'])})"
        text += f"; {figures}" if figures else ""
        text += f"\n\n{_early(result['early'])}" if "early" in result else ""
    return text if "confusion" not in result else f"{text}\n\n{_confusion(result)}"


_MOST_STEPS = 8
"""Maximum number of time steps for which every accuracy is listed."""


def _steps(accuracies: Sequence[float]) -> str:
    """Format the accuracy after each time step, or only after some steps if there are many.

    >>> _steps([0.5, 0.75])
    'each step: 50.00%, 75.00%'
    >>> _steps([t / 64 for t in range(1, 65)])
    'step 1: 1.56%, 17: 26.56%, 33: 51.56%, 48: 75.00%, 64: 100.00%'
    """
    last = len(accuracies) - 1
    if last < _MOST_STEPS:
        return f"each step: {', '.join(f'{accuracy:.2%}' for accuracy in accuracies)}"
    chosen = [round(quarter * last / 4) for quarter in range(5)]
    return f"step {', '.join(f'{step + 1}: {accuracies[step]:.2%}' for step in chosen)}"


def _early(early: Mapping[str, Any]) -> str:
    rows = [
        [f"{confidence:g}", f"{steps:.2f}", f"{accuracy:.2%}"]
        for confidence, steps, accuracy in zip(early["confidence"], early["steps"], early["accuracy"], strict=True)
    ]
    return aligned(["answered from probability", f"steps of {early['time_steps']}", "accuracy"], rows)


def _confusion(result: Mapping[str, Any]) -> str:
    labels = result["labels"]
    rows = [
        [label, *("·" if count == 0 else str(count) for count in counts), "—" if right is None else f"{right:.2%}"]
        for label, counts, right in zip(labels, result["confusion"], result["accuracy_per_class"], strict=True)
    ]
    return aligned(["true, chosen:", *labels, "accuracy"], rows)


def _print(result: EvaluationResult, as_json: bool, given: dict[str, Any]) -> None:
    figures = result.as_dict(confusion=given["confusion"], early=given["early"])
    if given["confusion"] and "confusion" not in figures:
        to_stderr(f"{given['network']}: the task has no classes; --confusion is ignored")
    if given["early"] and "early" not in figures:
        to_stderr(f"{given['network']}: early exit needs a class predicted over several steps; --early is ignored")
    show(figures, as_json, lambda: evaluation_text(figures))


COMMAND = subcommand(
    evaluate,
    ("hdlif eval runs/digits_hdlif_w1p5_s4", "a run on the test set of its own data"),
    ("hdlif eval digits.hdlif.safetensors --data digits --confusion", "a deployed network, and its confusion matrix"),
    ("hdlif eval runs/photos --data photos/ --part all", "data without parts"),
    name="eval",
    shown=_print,
    call=lambda evaluate, given: evaluate(**{key: given[key] for key in given if key not in ("confusion", "early")}),
    parameters=[
        option(help="Confusion matrix, and the accuracy of each class.").parameter("confusion", False),
        option(help="Accuracy and steps with early exit, at several probabilities.").parameter("early", False),
    ],
)
