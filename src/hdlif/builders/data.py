"""The section `data`: sets of images and of events, and what a network is shown of a sample."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from hdlif.artefact import InputRecord, TaskRecord
from hdlif.builders.arguments import choose
from hdlif.builders.augment import build_augment, checked_augment
from hdlif.builders.found import (
    FOUND,
    ahead_asked,
    arguments,
    check_divided,
    check_steps,
    finder,
    found_kind,
    is_there,
    record_of,
    samples_of,
    target_asked,
)
from hdlif.builders.installed import chosen_offer
from hdlif.builders.places import At
from hdlif.builders.shipped import DATA, DataKind, Described
from hdlif.config import DataConfig, Recipe
from hdlif.errors import DataError, RecipeError, brief, cut, did_you_mean
from hdlif.inputs.events import BINNINGS
from hdlif.ops import SAMPLE, SampleName, sample_name

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from hdlif.data import Found, Frames, ImageSets
    from hdlif.tasks import Target

VALIDATION_OF_NAMED = 100
"""Samples that validate where none says how many."""
_NO_ARGUMENTS: Mapping[str, Any] = MappingProxyType({})
CONSTANT, ROWS, PIXELS = "constant", "rows", "pixels"
"""The names of the frames that are a whole image each, a row of one (of a series, a sample in time), or a pixel."""


FRAMES: Mapping[str, Frames] = {
    CONSTANT: At("hdlif.data:constant"),
    ROWS: At("hdlif.data:rows"),
    PIXELS: At("hdlif.data:pixels"),
}


def check_data(recipe: Recipe) -> str | None:
    """What a sample of the recipe's data is (a kind of input); neither the data nor PyTorch is looked at.

    It is None of data of the user's own of which only looking at them tells.

    Raises:
        RecipeError: a name or an argument of the section is unknown or does not fit.
    """
    section = recipe.data
    samples: str | None
    if found_kind(section.kind):
        finder(section)
        samples = samples_of(section)
    else:
        if section.kind not in DATA:
            # It says what there is, and raises.
            chosen_offer(section.kind, "data.kind", {*DATA, *FOUND})
        _check_shipped(section)
        samples = DATA[section.kind].input.kind
    events = samples == "events"
    if samples in _SHOWN:
        _check_without_maps(section, samples)
    checked_augment(section, samples)
    if samples is None:
        choose({**FRAMES, **BINNINGS}, section.frames, "data.frames")
        return None
    mine, other = (BINNINGS, FRAMES) if events else (FRAMES, BINNINGS)
    if section.frames in other:
        given, shown = ("events", "images") if events else ("images", "events")
        raise RecipeError(
            f'data.frames = "{section.frames}" makes frames of {shown}, and {section.kind} gives {given}; '
            f"choose one of {', '.join(sorted(mine))}"
        )
    choose(mine, section.frames, "data.frames")
    return samples


_NAMES = {"series": "series", "table": "tables"}
_SHOWN = {"series": "a step is shown the sample of its time", "table": "a row is shown at every step"}
"""What a network sees of samples that are no maps."""


def _check_without_maps(section: DataConfig, samples: str) -> None:
    """Raise `RecipeError` on what is of pictures, or of events, alone."""
    for key in ("size", "frames", "mixup"):
        if (value := getattr(section, key)) != DataConfig.model_fields[key].default:
            raise RecipeError(
                f"data.{key} = {brief(value)} is not of {_NAMES[samples]}, which {section.kind} gives: "
                f"{_SHOWN[samples]}; leave it out"
            )


def frames_of(section: DataConfig, samples: str | None) -> str:
    """How samples of this kind become what the steps are shown: a name of `FRAMES`, or of `BINNINGS`."""
    return ROWS if samples == "series" else section.frames


def shown(sets: ImageSets, section: DataConfig, samples: str) -> ImageSets:
    """The sets, whose samples are shown as a section says; recordings of events are binned already."""
    return sets if samples == "events" else sets.shown_as(FRAMES[frames_of(section, samples)])


def look_for(
    recipe: Recipe,
    *,
    root: Path | None,
    known: InputRecord | None,
    scale: tuple[tuple[float, ...], tuple[float, ...]] | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Found:
    """Look at the recipe's data, which are the user's own.

    Args:
        root, known, say: as of `hdlif.data.sources.pictures.find_pictures`.
        scale: mean and deviation by which a network that is there already has its values normalised.
    Raises:
        RecipeError: an argument of the section is unknown or does not fit.
        DataError: the data cannot be used.
    """
    section = recipe.data
    if known is None:
        check_divided(section.arguments)
    found = finder(section)(
        root=root,
        size=section.size,
        known=known,
        say=say,
        scale=scale,
        time_steps=recipe.time_steps,
        binning=section.frames,
    )
    check_steps(found, recipe.time_steps)
    return found


def _check_shipped(section: DataConfig) -> None:
    shipped_kind(section.kind, section.arguments)
    if section.validation is None:
        raise RecipeError("data.validation is missing; give the number of training images to hold out")
    if section.found is not None:
        raise RecipeError(f"data.found is of data of your own, and {section.kind} is a set that ships; leave it out")


def _check_without_arguments(given: Mapping[str, Any]) -> None:
    for name, value in given.items():
        accepted = DataConfig.model_fields.keys() - {"found"}
        mend = did_you_mean(name, accepted)
        if name in arguments():
            mend = f"it is of data of your own: data.kind is one of {', '.join(sorted(FOUND))}"
        raise RecipeError(f"data.{cut(name)} = {brief(value)} is unknown; {mend}")


def shipped_kind(name: str, given: Mapping[str, Any]) -> DataKind:
    """A data set that ships, with arguments of its own where it takes some.

    Raises:
        RecipeError: an argument is unknown, or has a value that none can have.
    """
    kind = DATA[name]
    if kind.content is None:
        _check_without_arguments(given)
        return kind
    return kind.of(kind.checked(given, DataConfig.model_fields.keys() - {"found"})())


def data_kind(recipe: Recipe) -> Described:
    """What is known of the recipe's data, unread; of data of the user's own, what was found when it was looked at.

    Raises:
        RecipeError: a name in its section is unknown or does not fit, or its data have to be looked at first
            (`with_data_found`).
    """
    check_data(recipe)
    if recipe.data.kind in DATA:
        return shipped_kind(recipe.data.kind, recipe.data.arguments)
    if recipe.data.found is None:
        raise RecipeError(
            f'data.kind = "{recipe.data.kind}": its classes and sizes are known when the data have been looked at; '
            "`hdlif data inspect` does that, and so does a training"
        )
    found = recipe.data.found
    return Described(
        input=record_of(found.input),
        names=found.classes,
        target=target_of(recipe),
        target_mean=found.target_mean,
        target_std=found.target_std,
        ahead=ahead_asked(recipe.data.arguments),
    )


def sample_name_of(recipe: Recipe) -> SampleName:
    """What a sample of the recipe's data is called; neither the data nor a part of the user's own is looked at."""
    section = recipe.data
    if section.kind in DATA:
        return sample_name(DATA[section.kind].input)
    return SAMPLE if section.found is None else sample_name(record_of(section.found.input))


def target_of(recipe: Recipe) -> Target:
    """What the recipe's data give of a sample; neither the data nor PyTorch is looked at."""
    section = recipe.data
    if section.kind in DATA:
        return DATA[section.kind].target
    asked = target_asked(section.arguments)
    unequal = section.found is not None and section.found.input.shortest > 0
    return "class_and_steps" if asked == "class" and unequal else asked


def build_data(
    recipe: Recipe,
    root: Path | None = None,
    *,
    workers: int | None = None,
    ranks: int = 1,
    found: Found | None = None,
    listed: Path | None = None,
) -> ImageSets:
    """The recipe's data set, from `root` where it is not bundled; `workers` and `ranks` as in `ImageSets.made_by`.

    Args:
        found: what `with_data_found` found, which is looked at again otherwise.
        listed: the manifest of what the recipe was trained on, if there is one, by which an error says what changed.
    Raises:
        DataError: the data are absent or damaged, or no longer those that the recipe was trained on.
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
        raise RecipeError(f"data.train = {section.train}; there are {len(sets.train)} training images")
    return replace(sets, train=sets.train.first(section.train))


def _shipped(recipe: Recipe, root: Path | None) -> ImageSets:
    check_data(recipe)
    kind, section = shipped_kind(recipe.data.kind, recipe.data.arguments), recipe.data
    split = {"validation": section.validation, "augment": build_augment(section, kind.input.kind), "seed": recipe.seed}
    if kind.events:
        binning = BINNINGS[section.frames]
        return kind.load(root, **split, time_steps=recipe.time_steps, binning=binning, size=section.size)
    sets = kind.load(root, **split)
    if section.size is not None:
        sets = sets.resized(section.size)
    return sets.shown_as(FRAMES[frames_of(section, kind.input.kind)])


def _found_again(recipe: Recipe, root: Path | None, listed: Path | None) -> Found:
    kept = recipe.data.found
    known = data_kind(recipe).input
    path = str(recipe.data.arguments.get("path", ""))
    if kept is not None and path and not is_there(str(path if root is None else root / path)):
        raise DataError(f"{path}: what the network was trained on is not there; put it back, or name data with --data")
    scale = None if kept is None or not kept.target_std else (kept.target_mean, kept.target_std)
    found = look_for(recipe, root=root, known=known, scale=scale)
    if kept is not None and (found.classes, found.manifest.digest) != (kept.classes, kept.digest):
        from hdlif.data.manifest import changes, read_manifest

        there = listed is not None and listed.exists()
        what = f": {changes(read_manifest(listed), found.manifest)}" if there and listed is not None else ""
        raise DataError(
            f"{found.path}: holds other files than the network was trained on{what}; put them back, or name the data "
            "with --data: of those that it was trained on, some may then be tested on"
        )
    return found


def named_data(
    name: str,
    root: Path | None,
    *,
    record: InputRecord,
    time_steps: int,
    frames: str = "by_number",
    task: TaskRecord = TaskRecord(),  # noqa: B008 - frozen
    arguments: Mapping[str, Any] = _NO_ARGUMENTS,
) -> ImageSets:
    """A data set as a network takes it that was made for `record`.

    Args:
        frames: how events are binned, of a network whose record does not say it.
        task: what the network's outputs mean.
        arguments: of generated data; those that the network itself implies need not be among them.
    Raises:
        DataError: the network takes something else.
        RecipeError: an argument is unknown, has a value that none can have, or another than the network implies.
    """
    if (content := DATA[name].content) is not None:
        implied = content.of_network(record, time_steps, task)
        try:
            shipped_kind(name, implied)
        except RecipeError:
            raise DataError(
                f"the network takes {_described(record)} at each of {time_steps} time steps, which {name} never has; "
                "give the data set that it was trained on"
            ) from None
        if record.kind == DATA[name].input.kind:
            _check_implied(implied, arguments)
        arguments = {**implied, **arguments}
    kind = shipped_kind(name, arguments)
    # No more of what is generated than are tested on, so that lowering these makes room for either.
    validation = min(VALIDATION_OF_NAMED, arguments.get("test", kind.defaults.get("test", VALIDATION_OF_NAMED)))
    split = {"validation": validation, "augment": (), "seed": 0}
    _, *sides = record.sample_shape(time_steps)
    size = sides[0] if sides[0] == sides[1] and tuple(sides) != kind.input.shape[1:] and kind.resizes else None
    taken = f"the network takes {_described(record)} at each step, and {name} has {_described(kind.input)}"
    if record.kind != kind.input.kind or record.shape[0] != kind.input.shape[0]:
        raise DataError(f"{taken}; give the data set that it was trained on")
    if kind.events:
        binning = BINNINGS[frames if record.binning == "none" else record.binning]
        return kind.load(root, **split, time_steps=time_steps, binning=binning, size=size).made_by(None)
    import torch

    channels, *sides = kind.input.shape
    whole = torch.zeros(1, channels, *([size, size] if size else sides))
    for shown in FRAMES.values():
        steps, _, *shape = shown(whole).shape
        if tuple(shape) == record.shape and steps in (1, time_steps):
            sets = kind.load(root, **split)
            return (sets if size is None else sets.resized(size)).shown_as(shown).made_by(None)
    raise DataError(f"{taken}; give the data set that it was trained on")


def _check_implied(implied: Mapping[str, int], arguments: Mapping[str, Any]) -> None:
    """Raise `RecipeError` where an argument is another than a network implies of its data."""
    for key, value in implied.items():
        if (asked := arguments.get(key, value)) != value:
            raise RecipeError(
                f"data.{key} = {brief(asked)} is refused: the network was made for {key} = {value}; leave data.{key} "
                "out, or give a network that was trained with it"
            )


def _described(record: InputRecord) -> str:
    return f"input of kind {record.kind} {list(record.shape)}"


def input_record(recipe: Recipe) -> InputRecord:
    """What the recipe's network takes at each step: the data set's images, a part of one, or a frame of events.

    Raises:
        RecipeError: an image does not last for time_steps steps.
    """
    kind = data_kind(recipe)
    record = kind.input
    if (size := recipe.data.size) is not None and recipe.data.kind in DATA:
        record = replace(record, shape=(record.shape[0], size, size))
    if kind.events:
        if recipe.data.kind not in DATA:
            return record
        # What a set that ships makes of another size is not said: it is resized by PyTorch.
        sensor = kind.input.shape[1:] if recipe.data.size is None else None
        return replace(record, binning=recipe.data.frames, sensor=sensor)
    import torch

    frames = frames_of(recipe.data, record.kind)
    if frames == PIXELS and record.shape[1] != record.shape[2]:
        raise RecipeError(
            f'data.frames = "{PIXELS}" shows square images, and these are {record.shape[1]}x{record.shape[2]}; set '
            "data.size"
        )
    steps, _, *shape = FRAMES[frames](torch.zeros(1, *record.shape)).shape
    if kind.series and steps != recipe.time_steps:
        raise RecipeError(
            f"time_steps = {recipe.time_steps}, and a series has {steps}: each step is shown the sample of its time; "
            f"--set time_steps={steps}"
        )
    if steps not in (1, recipe.time_steps):
        raise RecipeError(
            f'data.frames = "{recipe.data.frames}" makes {steps} steps of an image; set time_steps={steps}'
        )
    channels, height, width = shape
    return replace(record, shape=(channels, height, width), frames=frames)


def raw_shape(recipe: Recipe) -> tuple[int, ...]:
    """Of a whole sample, as augmentations see it: [C, H, W], of events all frames' maps as channels."""
    kind = data_kind(recipe)
    channels, *sides = kind.input.shape
    if (size := recipe.data.size) is not None:
        sides = [size, size]
    return (channels * (recipe.time_steps if kind.events else 1), *sides)


def random_batch(recipe: Recipe, generator: torch.Generator, count: int | None = None) -> tuple[Tensor, Tensor]:
    """Noise as a batch that the recipe's network is shown, [T or 1, B, C, H, W], and a target of it, drawn alike.

    Args:
        count: B; the recipe's by default.
    """
    import torch

    batch, shape = count or recipe.data.batch_size, input_record(recipe).shape
    constant = frames_of(recipe.data, check_data(recipe)) == CONSTANT
    x = torch.randn(1 if constant else recipe.time_steps, batch, *shape, generator=generator)
    described = data_kind(recipe)
    outputs, each = len(described.labels), (recipe.time_steps,)
    if described.target == "class_and_steps":
        classes, steps = torch.randint(outputs, (batch,), generator=generator), torch.full((batch,), recipe.time_steps)
        return x, torch.stack([classes, steps], 1)
    if described.target in ("class", "classes"):
        sizes = (batch,) if described.target == "class" else (batch, *each)
        return x, torch.randint(outputs, sizes, generator=generator)
    if described.target == "labels":
        return x, torch.randint(2, (batch, outputs), generator=generator).float()
    return x, torch.randn(batch, *(each if described.target == "values_each" else ()), outputs, generator=generator)
