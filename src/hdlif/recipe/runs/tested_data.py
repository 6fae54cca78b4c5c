"""Load test data, either for a network (`sets_for`) or by name (`sets_named`).

`builders.build_data` loads training data from a recipe.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict, Unpack

from hdlif import run_folder
from hdlif.data import DataSets, Tested
from hdlif.data.manifest import read_manifest
from hdlif.errors import DataError, RecipeError, cut, did_you_mean
from hdlif.graph.artefact import Graph, InputRecord, TaskRecord
from hdlif.recipe import Recipe, builders
from hdlif.recipe.builders.own_data import NO_KEYS
from hdlif.recipe.runs.recipe_data import in_root, names_path


class Asked(TypedDict, total=False):
    """Optional arguments of `builders.found_data`."""

    keys: Mapping[str, Any]
    part: Tested
    say: Callable[[str], None]


def sets_for(
    network: Recipe | Graph, data: str | None, data_root: Path | None, path: Path, **asked: Unpack[Asked]
) -> DataSets:
    """Return a data set prepared for a network.

    Args:
        network: recipe of a trained network, whose data set is the default; or a deployed network without a data set.
        path: path of the network's file or run folder.
    """
    if isinstance(network, Graph):
        taken: dict[str, Any] = {"record": network.input, "time_steps": network.time_steps, "labels": network.labels}
        return sets_named(data, data_root, path, **taken, task=network.task, **asked)
    recipe, keys = network, asked.get("keys", NO_KEYS)
    listed = (path if path.is_dir() else path.parent) / run_folder.DATA_FILES
    if data is None:
        if keys:
            seen = f"--set data.{cut(next(iter(keys)))} applies to data given with --data"
            raise RecipeError(
                f"{seen}: the data of a run are read as in its training; give --data too, or leave it out"
            )
        return builders.build_data(recipe, data_root, listed=listed)
    data = in_root(data, data_root) or data
    if names_path(data):
        entries = read_manifest(listed).entries if listed.exists() else ()
        trained = frozenset(entry.sha256 for entry in entries if entry.part != "test")
        return builders.data_of_ones_own(recipe, data, trained=trained, **asked)
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
    new_classes: bool = False,
    task: TaskRecord = TaskRecord(),  # noqa: B008 - frozen
    **asked: Unpack[Asked],
) -> DataSets:
    """Return a named data set, or custom data, for testing a model file that does not record a data set.

    Args:
        record: input record of the file's network; by default the record of the data set.
        frames: conversion of events to frames, as in data.frames.
        labels: names of the network's outputs, by which custom data are labelled.
        new_classes: whether custom data may have classes that the network lacks.
        task: meaning of the outputs.
        asked: arguments of `builders.found_data`; shipped data sets use only `keys`.
    """
    keys, data = asked.get("keys", NO_KEYS), in_root(data, data_root)
    if data is not None and record is not None and names_path(data):
        network: dict[str, Any] = {"record": record, "labels": labels, "time_steps": time_steps, "task": task}
        return builders.found_data(data, **network, new_classes=new_classes, **asked)
    if data is None or data not in builders.DATA:
        seen = "its data set is unknown" if data is None else f'--data "{data}" is unknown'
        raise DataError(f"{path}: {seen}; give --data NAME or a folder, {did_you_mean(data or '', builders.DATA)}")
    if keys and not builders.DATA[data].is_generated:
        seen = f"--set data.{cut(next(iter(keys)))} applies to your own data"
        raise RecipeError(f"{seen}, but {data} is a built-in data set; leave it out")
    kind = builders.shipped_kind(data, keys)
    if (given := kind.target) != (wanted := builders.target_taken(task.kind, each=task.combine == "each")):
        seen = f'{path}: the network has the task "{task.kind}", which takes {wanted}, but {data} gives {given}'
        raise DataError(f"{seen}; give its training data")
    return builders.named_data(
        data, data_root, record=record or kind.input, time_steps=time_steps, frames=frames, task=task, arguments=keys
    )


def check_classes(path: Path, labels: Sequence[str], sets: DataSets) -> None:
    """Raise `DataError` unless a network has as many outputs as its data set has classes, or added classes to them."""
    if len(labels) != len(sets.classes) and tuple(labels[: len(sets.classes)]) != tuple(sets.classes):
        seen = f"{path}: the network has {len(labels)} outputs, of classes or values"
        raise DataError(f"{seen}, but the data set has {len(sets.classes)}; give its training data set")
