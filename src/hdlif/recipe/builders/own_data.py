"""Prepare custom data for a recipe, and custom or shipped data for an existing network."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from hdlif.config import MOST_TIME_STEPS, DataConfig, FoundConfig, InputConfig, Recipe
from hdlif.errors import DataError, RecipeError, brief, cut, did_you_mean, say_nothing, some
from hdlif.graph.graph import InputRecord, TaskRecord
from hdlif.inputs.datasets import where_had
from hdlif.inputs.events import BINNINGS
from hdlif.inputs.plain_yaml import MOST_BYTES
from hdlif.recipe.builders.data import (
    CONSTANT,
    FRAMES,
    check_data,
    data_kind,
    input_record,
    look,
    look_for,
    shipped_kind,
    shown,
)
from hdlif.recipe.builders.data_sets import DATA
from hdlif.recipe.builders.external_parts import GROUPS, offers
from hdlif.recipe.builders.own_kinds import FOUND, Items, found_kind, is_items, is_there, kind_at, kind_named, kind_of
from hdlif.recipe.builders.task import build_task
from hdlif.recipe.loading import dump_recipe

if TYPE_CHECKING:
    from hdlif.data import DataSets, OwnData, Tested

STARTS = {
    "image": ("for images", "digits_hdlif"),
    "events": ("for event data", "digits_events_hdlif"),
    "series": ("for time series", "sines_hdlif"),
    "table": ("for tables", "wine_hdlif"),
}
"""Phrase that describes a recipe, and a shipped recipe to start from, for each kind of sample."""
STARTS_OF_PLACES = {"boxes": "bccd_hdlif", "map": "nuclei_hdlif"}
"""Shipped recipes for targets at positions in an image."""
LARGER = 32
"""Side of a shipped set's images above which its recipes have networks for large images."""
VALIDATION_OF_NAMED = 100
"""Default number of validation samples of a shipped set."""
NO_KEYS: Mapping[str, Any] = MappingProxyType({})


def data_overrides(recipe: Recipe, data: str) -> list[str]:
    """Return the overrides `key=value` that replace a recipe's data with a shipped data set or with the data at a path.

    The overrides do not change the batch size, the frames or the augmentations. If the recipe's shipped data set has
    images larger than `LARGER`, the new images are resized to the size of the old ones. Raises `DataError`.
    """
    section = recipe.data
    if data in DATA:
        if data == section.kind or section.kind not in DATA or not section.arguments:
            return [f"data.kind={data}"]
        # Arguments of generated data do not apply to another set.
        plain = section.model_dump(exclude=set(section.arguments), exclude_none=True, mode="json")
        return [f"data={json.dumps({**plain, 'kind': data})}"]
    if not is_there(data):
        fix = where_had(data) or f"; {did_you_mean(data, {*DATA, *offers(GROUPS['data.kind'])})}"
        seen = f'--data "{cut(data)}": there is no such file or folder, and no built-in data set of that name'
        raise DataError(f"{seen}{fix}")
    kind, found = DATA.get(section.kind), found_kind(section.kind)
    own = kind.input.kind if kind else found.samples if found else None
    if section.found is not None:
        own = section.found.input.kind
    here = kind_at(data, kind_of(own))
    there = found_kind(here)
    assert there is not None
    lies = there.samples
    if own is not None and lies is not None and lies != own:
        said, start = STARTS[lies]
        seen = f"--data {data}: is {there.said}, but {recipe.name} is {STARTS[own][0]}"
        raise DataError(f"{seen}; start from a recipe {said}, such as {start}")
    where = {} if is_items(here) else {"path": os.path.abspath(data)}  # noqa: PTH100 - links stay in it
    if here == section.kind:
        return [f"data.{key}={json.dumps(value)}" for key, value in where.items()]
    resizes, largest = (kind.resizes, max(kind.input.shape[1:])) if kind else (True, 0)
    side = section.size or (largest if largest > LARGER else None)
    tree = section.model_dump(include={"batch_size", "frames", "augment", "mixup"}, mode="json")
    sized = {"size": side} if resizes and side else {}
    return [f"data={json.dumps({'kind': here, **where, **tree, **sized})}"]


_TAKEN = {
    "image": "a folder of images by class",
    "events": "a folder of recordings by class",
    "series": "arrays x and y, a recording, or files by class",
    "table": "a table with a column of labels, or arrays x and y",
}
"""Custom data that fit each kind of network input, as errors describe them."""


def with_data_found(
    recipe: Recipe,
    root: Path | None = None,
    *,
    found: OwnData | None = None,
    say: Callable[[str], None] = say_nothing,
) -> tuple[Recipe, OwnData | None]:
    """Inspect the recipe's data if they are custom, and record their properties in the recipe.

    Args:
        root, say: as in `look`.
        found: earlier result for the same arguments.
    Returns:
        the recipe with an absolute path, and the properties; for a shipped data set, the same recipe and None.
    Raises:
        RecipeError, DataError: the section or the data are invalid, or the samples do not fill one batch.
    """
    check_data(recipe)
    if found_kind(recipe.data.kind) is None:
        return recipe, None
    found = found or look_for(recipe, root=root, known=None, say=say)
    if (count := found.count("train")) < recipe.data.batch_size:
        seen = f"{found.path}: {count} samples to train on do not fill one batch of {recipe.data.batch_size}"
        raise DataError(f"{seen}; --set data.batch_size={count} or less")
    chosen = recipe.model_copy(update={"data": _stating(recipe.data, found)})
    # Recipes longer than MOST_BYTES cannot be read again.
    if (size := len(dump_recipe(chosen))) > MOST_BYTES:
        raise DataError(
            f"{found.path}: with {len(found.classes):,} classes and {found.input.shape[0]:,} channels, the recipe "
            f"takes {size:,} bytes; at most {MOST_BYTES:,} are supported: shorten their names, or use fewer"
        )
    return chosen, found


def _stating(section: DataConfig, found: OwnData) -> DataConfig:
    """Return the `data` section with an absolute path and the properties in `found`."""
    fields = {name: getattr(found.input, name) for name in InputConfig.model_fields}
    sound = None if found.input.sound is None else asdict(found.input.sound)
    kept = FoundConfig(
        digest=found.manifest.digest,
        classes=found.classes,
        input=InputConfig(**fields | {"sound": sound}),
        target_mean=found.target_mean,
        target_std=found.target_std,
    )
    path = {} if is_items(section.kind) else {"path": str(found.path)}
    return DataConfig.model_validate(section.model_dump() | path | {"found": kept})


def with_steps_of_data(recipe: Recipe, *, say: Callable[[str], None] = say_nothing) -> Recipe:
    """Return the recipe with `time_steps` set to the length of the time series, and report any change."""
    kind = data_kind(recipe)
    steps = kind.input.shape[1]
    if not kind.series or steps == recipe.time_steps or steps > MOST_TIME_STEPS:
        return recipe
    say(f"time_steps = {steps}, as many as a time series has ({recipe.name} has {recipe.time_steps})")
    return recipe.model_copy(update={"time_steps": steps})


def _asked_by(task: TaskRecord, outputs: tuple[str, ...], kind: str) -> dict[str, Any]:
    """Return the keys that the `data` section needs for a network's task and outputs. Raises `DataError`."""
    arguments: dict[str, Any] = {}
    if task.kind == "sequence":
        arguments = {"each_step": True}
    elif task.ahead:
        arguments = {"ahead": task.ahead}
    elif task.kind == "regress":
        arguments = {"values": list(outputs)} | ({"each_step": True} if task.combine == "each" else {})
    elif task.kind == "multilabel":
        arguments = {"labels": list(outputs)}
    elif task.kind in ("segment", "detect"):
        arguments = {"classes": list(outputs)}
    elif task.kind == "instances":
        arguments = {"instances": True}
    if missing := sorted(arguments.keys() - FOUND.get(kind, Items).model_fields.keys()):
        seen = f'data of kind "{kind}" have no {", ".join(missing)}'
        raise DataError(f'{seen}, which the network\'s task, "{task.kind}", needs; give data like its training data')
    return arguments


_TARGETS = ("each_step", "values", "labels", "ahead", "classes", "instances")
"""Keys of the `data` section that determine the target."""
_OF_NETWORK = {
    *("channels", "fit", "sensor", "resize", "rate", "resample"),
    *("seconds", "clips", "every", "mels", "frame_ms", "hop_ms", "lowest_hz", "highest_hz"),
}
"""Keys that determine the format of samples, which is fixed for a trained network."""


def _keys_for(keys: Mapping[str, Any], kind: str, asked: Mapping[str, Any], part: Tested) -> dict[str, Any]:
    """Return the keys of the `data` section for testing a network on data from another source.

    Args:
        keys: keys that the user sets.
        asked: keys of the section that the network was trained with, or keys that its task requires.
    Raises:
        RecipeError: a key is fixed by the network, or a split is set although all data are tested.
    """
    of_network = {"fit"} if is_items(kind) else _OF_NETWORK
    for key, value in keys.items():
        if key in of_network:
            seen = f"data.{key} = {brief(value)} is refused"
            raise RecipeError(f"{seen}: the samples are prepared as in training; leave it out")
        if key in _TARGETS and (value or None) != (learned := asked.get(key) or None):
            had = "has none" if learned is None else f"learned {brief(learned)}"
            raise RecipeError(f"data.{key} = {brief(value)} is refused: the network {had}; leave it out")
    if part == "all" and "split" in keys:
        seen = f"data.split = {brief(keys['split'])} divides the data, but --part all tests on all of them"
        raise RecipeError(f"{seen}; leave it out, or choose another part")
    if isinstance(keys.get("split"), Mapping) and isinstance(asked.get("split"), Mapping):
        # As in training, other keys of the split are kept.
        keys = {**keys, "split": {**asked["split"], **keys["split"]}}
    return {**asked, **keys, **({"split": {"test": 1}} if part == "all" else {})}


def _check_labels(found: OwnData, labels: tuple[str, ...], say: Callable[[str], None]) -> None:
    """Raise `DataError` unless the data have the network's outputs, and report classes without samples."""
    if found.classes[: len(labels)] != labels:
        from hdlif.data.targets import other_classes

        seen = other_classes(found.classes, labels, "the network")
        raise DataError(f"{found.path} {seen}; give data with each output of the network, and no other")
    if missing := found.missing_classes:
        say(f"note: {found.path} has no samples of {some([cut(name) for name in missing], 5)}")


def data_of_ones_own(
    recipe: Recipe,
    path: str,
    *,
    keys: Mapping[str, Any] = NO_KEYS,
    part: Tested = "test",
    trained: Collection[str] = (),
    say: Callable[[str], None] = say_nothing,
) -> DataSets:
    """Return the data at `path`, prepared for the recipe's network.

    Args:
        keys, part: as in `found_data`.
        trained: SHA-256 hashes of the samples used to train the network or to choose its epoch.
        say: called with a warning if some of these samples are tested.
    """
    kind, section = data_kind(recipe), recipe.data
    alike = found_kind(section.kind) and not is_items(section.kind) and not is_items(kind_at(path))
    if not alike or keys.get("kind", section.kind) != section.kind:
        return found_data(
            path,
            record=input_record(recipe),
            labels=kind.labels,
            time_steps=recipe.time_steps,
            task=build_task(recipe).record,
            keys=keys,
            part=part,
        )
    own = {key: value for key, value in section.arguments.items() if key != "path"}
    if kind.target in ("boxes", "boxes_each"):
        # Other data may list the classes in another order.
        own["classes"] = list(kind.labels)
    keys = {key: value for key, value in keys.items() if key != "kind"}
    scale = (kind.target_mean, kind.target_std) if kind.target_std else None
    found = look(
        section.kind,
        path,
        _keys_for(keys, section.kind, own, part),
        size=section.size,
        known=kind.input,
        scale=scale,
        outputs=kind.labels,
        time_steps=recipe.time_steps,
    )
    _check_labels(found, kind.labels, say)
    tested = [entry for entry in found.manifest.entries if part == "all" or entry.part == part]
    if part in ("all", "test") and (known := sum(entry.sha256 in trained for entry in tested)):
        say(
            f"warning: {known} of the {len(tested)} test samples were used to train or "
            "select the network; the result is better than on new samples"
        )
    return shown(found.make((), 0), section, kind.input.kind).made_by(None)


def found_data(
    path: str,
    *,
    record: InputRecord,
    labels: tuple[str, ...] | None,
    time_steps: int,
    task: TaskRecord = TaskRecord(),  # noqa: B008 - frozen
    keys: Mapping[str, Any] = NO_KEYS,
    part: Tested = "test",
    new_classes: bool = False,
    say: Callable[[str], None] = say_nothing,
) -> DataSets:
    """Prepare custom data for a network with the input record `record`, and split the data if they have no split yet.

    Args:
        labels: names of the network's outputs, which determine the label order; None accepts any classes or values.
        task: meaning of the network's outputs.
        keys: keys of the `data` section.
        part: part to test on; "all" does not split the data.
        new_classes: whether the data may have classes that the network lacks.
        say: called with a note on classes without samples, and with a warning if the data are split here, because the
            test part may contain training samples.
    Raises:
        RecipeError, DataError: data or keys are unknown, or do not fit the network.
    """
    keys = dict(keys)
    here = kind_named(keys.pop("kind", None) or kind_at(path, kind_of(record.kind)))
    there = found_kind(here)
    assert there is not None
    if there.samples not in (None, record.kind):
        seen = f"{path}: is {there.said}, but the network takes input of kind {record.kind}"
        raise DataError(f"{seen}; give {_TAKEN[record.kind]}")
    whole = replace(record, shape=record.sample_shape(time_steps), frames=CONSTANT)
    scale = (task.mean, task.std) if task.std else None
    asked = _keys_for(keys, here, _asked_by(task, labels or (), here), part)
    if (task.kind, task.combine) == ("detect", "each") and asked.get("drift") is None:
        raise DataError(
            f"{path}: the network predicts boxes at each step; set data.drift as in its training, such as --set "
            "data.drift=2"
        )
    of_network: dict[str, Any] = {"known": whole, "scale": scale, "outputs": labels, "new_classes": new_classes}
    found = look(here, path, asked, **of_network, time_steps=time_steps)
    if labels is not None:
        _check_labels(found, labels, say)
    if part == "test" and "test" in found.seen.get("split", ()) and not {"split", "group"} & keys.keys():
        say(
            f"warning: {path} has no test part of its own, so a default split is used, which may contain training "
            "samples; divide the data as in training (--set data.group=..., --set data.split=...), or give only new "
            "data with --part all"
        )
    sets = found.make((), 0)
    return (sets if record.kind == "events" else sets.shown_as(FRAMES[record.frames])).made_by(None)


def named_data(
    name: str,
    root: Path | None,
    *,
    record: InputRecord,
    time_steps: int,
    frames: str = "by_number",
    task: TaskRecord = TaskRecord(),  # noqa: B008 - frozen
    arguments: Mapping[str, Any] = NO_KEYS,
) -> DataSets:
    """Load a shipped data set for a network with the input record `record`.

    Args:
        frames: binning of events, if the record has none.
        task: meaning of the network's outputs.
        arguments: arguments of generated data; the network implies some of them, which may be omitted.
    Raises:
        RecipeError, DataError: the network or an argument does not fit the data.
    """
    if DATA[name].is_generated:
        content: Any = DATA[name].part.MAKES
        implied = content.of_network(record, time_steps, task)
        try:
            shipped_kind(name, implied)
        except RecipeError:
            seen = f"the network takes {_described(record)} at each of {time_steps} time steps"
            raise DataError(f"{seen}, which {name} cannot provide; give its training data set") from None
        if record.kind == DATA[name].input.kind:
            for key, value in implied.items():
                if (asked := arguments.get(key, value)) != value:
                    seen = f"data.{key} = {brief(asked)} is refused: the network was made for {key} = {value}"
                    raise RecipeError(
                        f"{seen}; leave data.{key} out, or give a network that was trained with that value"
                    )
        arguments = {**implied, **arguments}
    kind = shipped_kind(name, arguments)
    # At most as many validation samples as test samples, so a lower number of test samples reduces the memory of both.
    validation = min(VALIDATION_OF_NAMED, arguments.get("test", kind.defaults.get("test", VALIDATION_OF_NAMED)))
    split = {"validation": validation, "augment": (), "seed": 0}
    _, *sides = record.sample_shape(time_steps)
    size = sides[0] if sides[0] == sides[1] and tuple(sides) != kind.input.shape[1:] and kind.resizes else None
    taken = f"the network takes {_described(record)} at each step, but {name} has {_described(kind.input)}"
    if record.kind != kind.input.kind or record.shape[0] != kind.input.shape[0]:
        raise DataError(f"{taken}; give its training data set")
    if kind.events:
        binning = BINNINGS[frames if record.binning == "none" else record.binning]
        return kind.load(root, **split, time_steps=time_steps, binning=binning, size=size).made_by(None)
    import torch

    channels, *sides = kind.input.shape
    whole = torch.zeros(1, channels, *([size, size] if size else sides))
    for to_steps in FRAMES.values():
        steps, _, *shape = to_steps(whole).shape
        if tuple(shape) == record.shape and steps in (1, time_steps):
            sets = kind.load(root, **split)
            return (sets if size is None else sets.resized(size)).shown_as(to_steps).made_by(None)
    raise DataError(f"{taken}; give its training data set")


def _described(record: InputRecord) -> str:
    return f"input of kind {record.kind} {list(record.shape)}"
