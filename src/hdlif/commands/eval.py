"""`hdlif eval`: what a checkpoint or an artefact does on a test set, or on all that there is."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, get_args

import numpy as np
import torch

from hdlif.data import ImageSets, Samples, Tested
from hdlif.data.manifest import read_manifest
from hdlif.errors import DataError, InputError, RecipeError, cut, did_you_mean
from hdlif.graph.artefact import Graph, InputRecord, TaskRecord
from hdlif.graph.artefact.io import load
from hdlif.recipe import Recipe, builders
from hdlif.recipe.runs.checkpoints import load_trained
from hdlif.recipe.runs.files import existing, names_artefact
from hdlif.recipe.runs.recipe_data import FILES, data_keys, names_path
from hdlif.report.allocator import keep_freed_memory
from hdlif.report.counts import deployed_or_none
from hdlif.report.evaluation import evaluate_deployed, evaluate_network
from hdlif.runtime import Session
from hdlif.training import progress_bar
from hdlif.training.tasks import Chosen, Confusion, Drawing, Evaluation, figures_as_json, task_of

NO_KEYS: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True)
class EvaluationResult:
    """What a network does on a test set.

    Attributes:
        accuracy: of a classification, after the last time step, a fraction in 0..1; None of another task.
        n: samples.
        metrics: by name; "accuracy" of a classification; NaN of one that is not a number.
        per_step: how good the answers are at or after each step that has one: of a classification, its accuracy.
        labels: the names of the network's outputs: of classes, unless the task is another.
        confusion: of classes, counts of samples (or steps), a row for each true class and a column for each that was
            chosen.
        accuracy_per_class: of each that has samples, else None.
        early: of a classification over several steps, by the confidence from which an answer is given, the mean steps
            used and the accuracy.
        evaluation: of a checkpoint, how it was answered (`Evaluated`).
    """

    accuracy: float | None
    n: int
    metrics: Mapping[str, float]
    per_step: tuple[float, ...]
    labels: tuple[str, ...]
    confusion: list[list[int]] | None = None
    accuracy_per_class: list[float | None] | None = None
    early: dict[str, Any] | None = None
    evaluation: dict[str, Any] | None = None

    @property
    def accuracy_per_step(self) -> tuple[float, ...]:
        """After each step, of a classification; of another task there is none."""
        return () if self.accuracy is None else self.per_step

    def as_dict(self, *, confusion: bool = False, early: bool = False) -> dict[str, Any]:
        """What `hdlif eval --json` prints."""
        figures = figures_as_json(self.accuracy, self.per_step, self.metrics) | {"n": self.n}
        if confusion and self.confusion is not None:
            figures |= {"labels": list(self.labels), "confusion": self.confusion}
            figures["accuracy_per_class"] = self.accuracy_per_class
        if early and self.early is not None:
            figures["early"] = self.early
        return figures if self.evaluation is None else figures | {"evaluation": self.evaluation}


def evaluate_path(
    path: Path,
    *,
    data: str | None = None,
    data_root: Path | None = None,
    overrides: Sequence[str] = (),
    part: Tested = "test",
    progress: bool = False,
    say: Callable[[str], None] = lambda line: None,
) -> EvaluationResult:
    """Answer a part of a data set, by default that for testing.

    Args:
        path: a checkpoint, a run folder, or an artefact, which the compiled runtime runs.
        data: the name of a data set, or data of the user's own; a checkpoint's own by default. They are taken as the
            network was trained to take such, recordings of events binned as its recipe or its artefact says.
        overrides: "data.KEY=VALUE" each: of data of the user's own which column says the class, how they are cut,
            grouped and divided; of generated ones their arguments. What a checkpoint's recipe says of its own data
            holds besides.
        part: what is answered; "all" is every sample, so that data of the user's own are not divided.
        progress: show a bar.
        say: gets a warning where what is tested on was, or of an artefact may have been, trained on.
    Raises:
        RecipeError: an override is of no key that such data have, or one that the network decides.
        DataError: the data cannot be used, or are not such as the network takes.
    """
    check_part(part)
    keys = data_keys(overrides)
    if names_artefact(path):
        loaded = load(existing(path))
        sets = sets_named(
            data,
            data_root,
            path,
            record=loaded.input,
            time_steps=loaded.time_steps,
            labels=loaded.labels,
            task=loaded.task,
            keys=keys,
            part=part,
            say=say,
        )
        _check_classes(path, len(loaded.labels), sets)
        task = task_of(loaded)
        drawing = task.drawing()
        with progress_bar(enabled=progress) as bar:
            result = evaluate_deployed(loaded, sets.of(part), task=task, observe=drawing, bar=bar)
        return _evaluation_result(result, drawing, loaded.labels)
    trained = load_trained(path)
    recipe = trained.recipe
    sets = sets_for(recipe, data, data_root, path, keys=keys, part=part, say=say)
    _check_classes(path, len(builders.data_kind(recipe).labels), sets)
    task = builders.build_measured_task(recipe)
    drawing = task.drawing()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    graph: Graph | None = None
    if device.type == "cpu":
        keep_freed_memory()
        # PyTorch alone classifies where there is no deployed form; training and profile say so.
        graph = deployed_or_none(trained.network, recipe)
    with progress_bar(enabled=progress) as bar:
        evaluated = evaluate_network(
            trained.network.to(device),
            sets.of(part),
            task=task,
            batch_size=recipe.data.batch_size,
            graph=graph,
            observe=drawing,
            device=device,
            bar=bar,
        )
    return _evaluation_result(evaluated.result, drawing, sets.classes, evaluation=evaluated.as_dict())


def check_part(part: str) -> None:
    """Raise `InputError` unless it is one of `Tested`."""
    if part not in get_args(Tested):
        raise InputError(f"part = {part!r} is unknown; {did_you_mean(str(part), get_args(Tested))}")


def sets_for(
    recipe: Recipe,
    data: str | None,
    data_root: Path | None,
    path: Path,
    *,
    keys: Mapping[str, Any] = NO_KEYS,
    part: Tested = "test",
    say: Callable[[str], None] = lambda line: None,
) -> ImageSets:
    """The recipe's data set, or another, shown as the recipe's network takes it; `path` is where the recipe was.

    Args:
        keys, part: as `builders.found_data` takes them.
        say: gets a warning where what is tested on was trained on.
    """
    listed = (path if path.is_dir() else path.parent) / FILES
    if data is None:
        if keys:
            raise RecipeError(
                f"--set data.{cut(next(iter(keys)))} is of data that --data names: a run's own are taken as it was "
                "trained on them; give --data too, or leave it out"
            )
        return builders.build_data(recipe, data_root, listed=listed)
    if names_path(data):
        entries = read_manifest(listed).entries if listed.exists() else ()
        trained = frozenset(entry.sha256 for entry in entries if entry.part != "test")
        return builders.data_of_ones_own(recipe, data, keys=keys, part=part, trained=trained, say=say)
    return sets_named(
        data,
        data_root,
        path,
        record=builders.input_record(recipe),
        time_steps=recipe.time_steps,
        frames=recipe.data.frames,
        task=builders.build_task(recipe).record,
        keys={**recipe.data.arguments, **keys} if data == recipe.data.kind else keys,
    )


def sets_named(
    data: str | None,
    data_root: Path | None,
    path: Path,
    *,
    record: InputRecord | None = None,
    time_steps: int = 1,
    frames: str = "by_number",
    labels: tuple[str, ...] | None = None,
    task: TaskRecord = TaskRecord(),  # noqa: B008 - frozen
    keys: Mapping[str, Any] = NO_KEYS,
    part: Tested = "test",
    say: Callable[[str], None] = lambda line: None,
) -> ImageSets:
    """A data set by name, or data of the user's own, for a file that does not say which it was trained on.

    Args:
        record: what the file's network takes; what the data set gives by default.
        time_steps: the network's.
        frames: how the network takes events, as in data.frames.
        labels: the network's outputs, which data of one's own must have.
        task: what they mean.
        keys, part, say: as `builders.found_data` takes them.
    """
    if data is not None and record is not None and names_path(data):
        return builders.found_data(
            data, record=record, labels=labels, time_steps=time_steps, task=task, keys=keys, part=part, say=say
        )
    if data is None or data not in builders.DATA:
        seen = "it does not say which data set it is for" if data is None else f'--data "{data}" is unknown'
        raise DataError(f"{path}: {seen}; give --data NAME or a folder, {did_you_mean(data or '', builders.DATA)}")
    if keys and builders.DATA[data].content is None:
        raise RecipeError(
            f"--set data.{cut(next(iter(keys)))} is of data of your own, and {data} is a set that ships; leave it out"
        )
    kind = builders.shipped_kind(data, keys)
    if (given := kind.target) != (wanted := builders.target_taken(task.kind, each=task.combine == "each")):
        raise DataError(
            f'{path}: the network has the task "{task.kind}", which takes {wanted}, and {data} gives {given}; give the '
            "data that it was trained on"
        )
    return builders.named_data(
        data, data_root, record=record or kind.input, time_steps=time_steps, frames=frames, task=task, arguments=keys
    )


def _check_classes(path: Path, classes: int, sets: ImageSets) -> None:
    if classes != len(sets.classes):
        raise DataError(
            f"{path}: the network has {classes} outputs, of classes or values, and the data set {len(sets.classes)}; "
            "give the data set that it was trained on"
        )


def session_logits(session: Session, samples: Samples, *, batch: int = 64) -> np.ndarray[Any, Any]:
    """Logits [T, N, classes] of all samples, run `batch` at a time."""
    return np.concatenate([session.run(x.contiguous().numpy()) for x, _ in samples.sequences(batch)], axis=1)


def _evaluation_result(
    result: Evaluation, drawing: Drawing, labels: Sequence[str], evaluation: dict[str, Any] | None = None
) -> EvaluationResult:
    counted = drawing if isinstance(drawing, Confusion) else None
    return EvaluationResult(
        accuracy=result.accuracy,
        n=result.n,
        metrics=result.metrics,
        per_step=result.per_step,
        labels=tuple(labels),
        confusion=None if counted is None else counted.counts.tolist(),
        accuracy_per_class=None if counted is None else counted.accuracy_per_class,
        early=drawing.early.files().get("early") if isinstance(drawing, Chosen) else None,
        evaluation=evaluation,
    )
