"""Check the `data` section, convert samples to a network's input, and load the data."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from pydantic import ValidationError

from hdlif.config import DataConfig, InputConfig, Recipe
from hdlif.errors import ArtefactError, DataError, RecipeError, brief, cut, did_you_mean, say_nothing
from hdlif.graph.graph import InputRecord, SoundRecord
from hdlif.graph.input_record import SAMPLE, SampleName, check_input, sample_name
from hdlif.inputs.events import BINNINGS
from hdlif.recipe.builders.augment import build_augment, read_augment
from hdlif.recipe.builders.data_sets import DATA, DataKind, Described
from hdlif.recipe.builders.external_parts import chosen_offer, found_part
from hdlif.recipe.builders.own_kinds import FOUND, OF_ITEMS, Items, arguments, found_kind, is_items, is_there
from hdlif.recipe.builders.part import At, takes

if TYPE_CHECKING:
    from hdlif.data import DataSets, Frames, OwnData
    from hdlif.training.tasks import Target

CONSTANT, ROWS, PIXELS = "constant", "rows", "pixels"
"""Names of frames that are an entire image, a row (for time series, a sample in time), or a pixel."""
FRAMES: Mapping[str, Frames] = {
    CONSTANT: At("hdlif.data:constant"),
    ROWS: At("hdlif.data:rows"),
    PIXELS: At("hdlif.data:pixels"),
}


def check_data(recipe: Recipe) -> str | None:
    """Check the `data` section and return the kind of samples, or None if custom data must be inspected first.

    `check_data` does not read data or import PyTorch. Raises `RecipeError`.
    """
    section = recipe.data
    samples: str | None
    if kind := found_kind(section.kind):
        if section.validation is not None:
            seen = f"data.validation = {section.validation} counts samples of a built-in data set"
            fix = "your own data need fractions: set data.split={validation: 0.15, test: 0.15}"
            raise RecipeError(f"{seen}; {fix}")
        _finder(section.kind, section.arguments)
        samples = section.found.input.kind if section.found else kind.samples
    else:
        if section.kind not in DATA:
            # Raises an error that lists the known names.
            chosen_offer(section.kind, "data.kind", {*DATA, *FOUND})
        shipped_kind(section.kind, section.arguments)
        if section.validation is None:
            raise RecipeError("data.validation is missing; give the number of training images to hold out")
        _side(section)
        if section.found is not None:
            raise RecipeError(f"data.found is for your own data, but {section.kind} is a built-in data set; omit it")
        samples = DATA[section.kind].input.kind
    if samples in _SHOWN:
        for key in ("size", "frames", "mixup"):
            if (value := getattr(section, key)) != DataConfig.model_fields[key].default:
                seen = f"data.{key} = {brief(value)} does not apply to {_SHOWN[samples]}"
                raise RecipeError(f"{seen}, which {section.kind} gives; leave it out")
    read_augment(section, samples)
    mine, other, given, wanted = {*FRAMES}, {*BINNINGS}, "images", "events"
    if samples == "events":
        mine, other, given, wanted = other, mine, wanted, given
    if samples is not None and section.frames in other:
        seen = f'data.frames = "{section.frames}" makes frames of {wanted}, but {section.kind} gives {given}'
        raise RecipeError(f"{seen}; choose one of {', '.join(sorted(mine))}")
    accepted = mine if samples is not None else mine | other
    if section.frames not in accepted:
        raise RecipeError(f'data.frames = "{cut(section.frames)}" is unknown; {did_you_mean(section.frames, accepted)}')
    return samples


_SHOWN = {"series": "time series", "table": "tables"}
"""Kinds of samples that are not maps, with their plural nouns."""


def frames_of(section: DataConfig, samples: str | None) -> str:
    """Return the name in `FRAMES` or `BINNINGS` of the function that converts these samples to time steps."""
    return ROWS if samples == "series" else section.frames


def shown(sets: DataSets, section: DataConfig, samples: str) -> DataSets:
    """Convert samples to time steps as specified in the section, except events, which are already binned."""
    return sets if samples == "events" else sets.shown_as(FRAMES[frames_of(section, samples)])


def _finder(kind: str, stated: Mapping[str, Any]) -> Callable[..., OwnData]:
    """Check the section's arguments for a kind of custom data and return the function that inspects the data."""
    if kind in FOUND:
        return FOUND[kind].read("data", {"kind": kind, **stated}).build
    function = found_part(kind, "data.kind", {*DATA, *FOUND})
    own = Items.derive(function, "data.kind", kind, (*OF_ITEMS, "fit"))
    if twice := sorted(stated.keys() & takes(function).keys() & Items.model_fields.keys() - {*OF_ITEMS, "fit"}):
        raise RecipeError(
            f'data.{twice[0]} is a key of every data set of your own, and an argument of "{kind}"; rename the argument'
        )
    return own.read("data", {"kind": kind, **stated}).build


def look(
    kind: str,
    path: str,
    stated: Mapping[str, Any],
    *,
    root: Path | None = None,
    size: int | tuple[int, int] | None = None,
    known: InputRecord | None = None,
    scale: tuple[tuple[float, ...], tuple[float, ...]] | None = None,
    outputs: tuple[str, ...] | None = None,
    new_classes: bool = False,
    time_steps: int | None = None,
    binning: str = "by_number",
    say: Callable[[str], None] = say_nothing,
) -> OwnData:
    """Inspect custom data at a path.

    Args:
        stated: other keys of the `data` section.
        root: base folder for relative paths.
        size: the value of `data.size`.
        known: input record of an existing network.
        scale: mean and standard deviation for normalising target values.
        outputs, new_classes: as in `hdlif.data.own_data.Request`.
        time_steps: number of frames and targets; by default one frame, and any number of targets.
        binning: binning of recordings, if `known` does not specify it.
        say: called with a line if the inspection will take a while.
    Raises:
        RecipeError: a key is unknown for such data, or has another type.
        DataError: the data cannot be used.
    """
    split = stated.get("split")
    if known is None and isinstance(split, Mapping) and split.get("test") == 1:
        raise RecipeError(
            "data.split.test = 1 leaves nothing to train on; it should be below 1. To test a network on all of it: "
            "`hdlif eval --part all`"
        )
    found = _finder(kind, {**stated, **({} if is_items(kind) else {"path": path})})(
        root=root,
        size=size,
        known=known,
        say=say,
        scale=scale,
        outputs=outputs,
        new_classes=new_classes,
        time_steps=time_steps or 1,
        binning=binning if known is None or known.binning == "none" else known.binning,
    )
    steps = found.target_steps
    # The length of time series is checked elsewhere.
    if found.input.kind != "series" and None not in (steps, time_steps) and steps != time_steps:
        seen = f"{found.path}: has targets at {steps} steps, but time_steps = {time_steps}"
        raise DataError(f"{seen}; set time_steps={steps}, or give other data")
    return found


def look_for(
    recipe: Recipe,
    *,
    root: Path | None,
    known: InputRecord | None = None,
    scale: tuple[tuple[float, ...], tuple[float, ...]] | None = None,
    say: Callable[[str], None] = say_nothing,
) -> OwnData:
    """Inspect the recipe's custom data; the arguments are the same as for `look`."""
    section = recipe.data
    return look(
        section.kind,
        str(section.arguments.get("path", "")),
        section.arguments,
        root=root,
        size=section.size,
        known=known,
        scale=scale,
        time_steps=recipe.time_steps,
        binning=section.frames,
        say=say,
    )


def shipped_kind(name: str, given: Mapping[str, Any]) -> DataKind:
    """Return a shipped data set; only generated data sets accept arguments in `given`. Raises `RecipeError`."""
    kind = DATA[name]
    for key in () if kind.is_generated else given:
        if key in arguments():
            fix = f"it is for your own data, whose data.kind is one of {', '.join(sorted(FOUND))}"
            raise RecipeError(f"data.{cut(key)} = {brief(given[key])} is unknown; {fix}")
    part = kind.part.read("data", {"kind": name, **given})
    return kind.of(part.build()) if kind.is_generated else kind


def data_kind(recipe: Recipe) -> Described:
    """Return the properties of the recipe's data that are known or recorded in the recipe, without reading the data.

    Raises:
        RecipeError: the section is invalid, or its data must be inspected first (`with_data_found`).
    """
    check_data(recipe)
    if recipe.data.kind in DATA:
        return shipped_kind(recipe.data.kind, recipe.data.arguments)
    if recipe.data.found is None:
        seen = f'data.kind = "{recipe.data.kind}": its classes and sizes are unknown until the data have been scanned'
        raise RecipeError(f"{seen}; run `hdlif data inspect` or `hdlif train`")
    found = recipe.data.found
    return Described(
        input=record_of(found.input),
        names=found.classes,
        target=target_of(recipe),
        target_mean=found.target_mean,
        target_std=found.target_std,
        ahead=cast(int, recipe.data.arguments.get("ahead") or 0),
    )


def record_of(stated: InputConfig) -> InputRecord:
    """Return the input record that a recipe contains. Raises `RecipeError` if the record is not valid."""
    sound = None if stated.sound is None else SoundRecord(**stated.sound.model_dump())
    record = InputRecord(**stated.model_dump() | {"sound": sound})
    try:
        check_input(record)
    except ArtefactError as error:
        raise RecipeError(f"data.found.{error}") from error
    return record


def sample_name_of(recipes: Iterable[Any]) -> SampleName:
    """Return the noun that all recipes use for a sample, or "sample" if they use different nouns.

    Args:
        recipes: recipes, or their copies in summaries, which another version may have written.
    """
    names = {_sample_name(recipe) for recipe in recipes}
    return names.pop() if len(names) == 1 else SAMPLE


def _sample_name(recipe: Any) -> SampleName:
    try:
        section = Recipe.model_validate(recipe).data
        if section.kind in DATA:
            return sample_name(DATA[section.kind].input)
        return SAMPLE if section.found is None else sample_name(record_of(section.found.input))
    except (ValidationError, RecipeError):
        return SAMPLE


def target_of(recipe: Recipe) -> Target:
    """Return the kind of target in the recipe's data without inspecting the data or importing PyTorch."""
    section, stated = recipe.data, recipe.data.arguments
    if section.kind in DATA:
        return DATA[section.kind].target
    if (kind := found_kind(section.kind)) is not None and kind.located is not None:
        if stated.get("instances"):
            return "instances"
        return "boxes_each" if stated.get("drift") is not None else kind.located
    if "labels" in stated:
        return "labels"
    if "ahead" in stated or "values" in stated:
        return "values_each" if "ahead" in stated or stated.get("each_step") else "values"
    if stated.get("each_step"):
        return "classes"
    return "class_and_steps" if section.found is not None and section.found.input.shortest > 0 else "class"


def build_data(
    recipe: Recipe,
    root: Path | None = None,
    *,
    workers: int | None = None,
    ranks: int = 1,
    found: OwnData | None = None,
    listed: Path | None = None,
) -> DataSets:
    """Build the recipe's data set; data that are not bundled with hdlif are read from `root`.

    Args:
        workers, ranks: as in `DataSets.made_by`.
        found: result of `with_data_found`; without it the data are inspected again.
        listed: path of the manifest of the training data, if any; the error about changed data lists the changes.
    """
    section = recipe.data
    if found_kind(section.kind):
        found = found or _found_again(recipe, root, listed)
        augment = build_augment(section, found.input.kind)
        sets = shown(found.make(augment, recipe.seed), section, found.input.kind)
    else:
        sets = _shipped(recipe, root)
    sets = sets.made_by(workers, ranks=ranks)
    if section.train is None:
        return sets
    if section.train > len(sets.train):
        raise RecipeError(f"data.train = {section.train}; there are only {len(sets.train)} training images")
    return replace(sets, train=sets.train.first(section.train))


def _shipped(recipe: Recipe, root: Path | None) -> DataSets:
    check_data(recipe)
    kind, section = shipped_kind(recipe.data.kind, recipe.data.arguments), recipe.data
    split = {"validation": section.validation, "augment": build_augment(section, kind.input.kind), "seed": recipe.seed}
    if kind.events:
        binning = BINNINGS[section.frames]
        return kind.load(root, **split, time_steps=recipe.time_steps, binning=binning, size=_side(section))
    sets = kind.load(root, **split)
    side = _side(section)
    return shown(sets if side is None else sets.resized(side), section, kind.input.kind)


def _side(section: DataConfig) -> int | None:
    """Return `data.size` for a shipped data set. Raises `RecipeError` if `data.size` sets a height and a width."""
    if isinstance(section.size, tuple):
        raise RecipeError(f"data.size = {list(section.size)}: {section.kind} has square images; give one number")
    return section.size


def _found_again(recipe: Recipe, root: Path | None, listed: Path | None) -> OwnData:
    kept = recipe.data.found
    known = data_kind(recipe).input
    path = str(recipe.data.arguments.get("path", ""))
    if kept is not None and path and not is_there(str(path if root is None else root / path)):
        raise DataError(f"{path}: the training data of the network are missing; restore them, or give data with --data")
    scale = None if kept is None or not kept.target_std else (kept.target_mean, kept.target_std)
    found = look_for(recipe, root=root, known=known, scale=scale)
    if kept is not None and (found.classes, found.manifest.digest) != (kept.classes, kept.digest):
        from hdlif.data.manifest import changes, read_manifest

        there = listed is not None and listed.exists()
        what = f": {changes(read_manifest(listed), found.manifest)}" if there and listed is not None else ""
        raise DataError(
            f"{found.path}: the files differ from the training data{what}; restore them, or give the data with "
            "--data, which may then test on training samples"
        )
    return found


def input_record(recipe: Recipe) -> InputRecord:
    """Return the input record of the recipe's network; each step is an image, a part of an image, or a frame of events.

    Raises `RecipeError` if the number of steps per sample does not fit `time_steps`.
    """
    kind = data_kind(recipe)
    record = kind.input
    if recipe.data.kind in DATA and (size := _side(recipe.data)) is not None:
        record = replace(record, shape=(record.shape[0], size, size))
    if kind.events:
        if recipe.data.kind not in DATA:
            return record
        # PyTorch resizes shipped sets, so the record does not contain their sensor size.
        sensor = kind.input.shape[1:] if recipe.data.size is None else None
        return replace(record, binning=recipe.data.frames, sensor=sensor)
    import torch

    frames = frames_of(recipe.data, record.kind)
    if frames == PIXELS and record.shape[1] != record.shape[2]:
        seen = f'data.frames = "{PIXELS}" shows square images'
        raise RecipeError(f"{seen}, but these are {record.shape[1]}x{record.shape[2]}; set data.size")
    steps, _, *shape = FRAMES[frames](torch.zeros(1, *record.shape)).shape
    if kind.series and steps != recipe.time_steps:
        raise RecipeError(f"time_steps = {recipe.time_steps}, but a time series has {steps}; --set time_steps={steps}")
    if steps not in (1, recipe.time_steps):
        seen = f'data.frames = "{recipe.data.frames}" makes {steps} steps of an image'
        raise RecipeError(f"{seen}; set time_steps={steps}")
    channels, height, width = shape
    return replace(record, shape=(channels, height, width), frames=frames)
