"""The section `data`: sets of images and of events, and what a network is shown of a sample."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hdlif.errors import DataError, RecipeError, brief, cut, did_you_mean
from hdlif.inputs.events import BINNINGS
from hdlif.ops import SAMPLE, InputRecord, SampleName, sample_name
from hdlif.recipe.builders.augment import build_augment, read_augment
from hdlif.recipe.builders.data_paths import is_there
from hdlif.recipe.builders.data_sets import DATA, DataKind, Described
from hdlif.recipe.builders.installed import chosen_offer
from hdlif.recipe.builders.looking import (
    ahead_asked,
    check_divided,
    check_steps,
    finder,
    record_of,
    samples_of,
    target_asked,
)
from hdlif.recipe.builders.own_kinds import FOUND, arguments, found_kind
from hdlif.recipe.builders.part import At
from hdlif.recipe.config import DataConfig, Recipe

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from hdlif.data import Found, Frames, ImageSets
    from hdlif.tasks import Target

CONSTANT, ROWS, PIXELS = "constant", "rows", "pixels"
"""The names of the frames that are a whole image each, a row of one (of a series, a sample in time), or a pixel."""


FRAMES: Mapping[str, Frames] = {
    CONSTANT: At("hdlif.data:constant"),
    ROWS: At("hdlif.data:rows"),
    PIXELS: At("hdlif.data:pixels"),
}


def check_data(recipe: Recipe) -> str | None:
    """Check the section; return the kind of a sample, without reading the data or importing PyTorch.

    It is None for data of the user's own that have to be looked at first.

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
    read_augment(section, samples)
    if samples is None:
        _check_frames(section, {*FRAMES, *BINNINGS})
        return None
    mine, other = (BINNINGS, FRAMES) if events else (FRAMES, BINNINGS)
    if section.frames in other:
        given, shown = ("events", "images") if events else ("images", "events")
        raise RecipeError(
            f'data.frames = "{section.frames}" makes frames of {shown}, and {section.kind} gives {given}; '
            f"choose one of {', '.join(sorted(mine))}"
        )
    _check_frames(section, mine)
    return samples


def _check_frames(section: DataConfig, accepted: Collection[str]) -> None:
    if section.frames not in accepted:
        raise RecipeError(f'data.frames = "{cut(section.frames)}" is unknown; {did_you_mean(section.frames, accepted)}')


_NAMES = {"series": "series", "table": "tables"}
_SHOWN = {"series": "a step is shown the sample of its time", "table": "a row is shown at every step"}
"""What a network sees of samples that are no maps."""


def _check_without_maps(section: DataConfig, samples: str) -> None:
    """Raise `RecipeError` on a key that only images or events have."""
    for key in ("size", "frames", "mixup"):
        if (value := getattr(section, key)) != DataConfig.model_fields[key].default:
            raise RecipeError(
                f"data.{key} = {brief(value)} is not of {_NAMES[samples]}, which {section.kind} gives: "
                f"{_SHOWN[samples]}; leave it out"
            )


def frames_of(section: DataConfig, samples: str | None) -> str:
    """Return how samples of this kind become the steps' input: a name of `FRAMES`, or of `BINNINGS`."""
    return ROWS if samples == "series" else section.frames


def shown(sets: ImageSets, section: DataConfig, samples: str) -> ImageSets:
    """Return the sets with samples shown as a section states; recordings of events are binned already."""
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


def shipped_kind(name: str, given: Mapping[str, Any]) -> DataKind:
    """Return a data set that ships, with arguments of its own if it takes some.

    Raises:
        RecipeError: an argument is unknown, or has a value that none can have.
    """
    kind = DATA[name]
    if kind.content is None:
        for key in given:
            if key in arguments():
                raise RecipeError(
                    f"data.{cut(key)} = {brief(given[key])} is unknown; it is of data of your own: data.kind is one of "
                    f"{', '.join(sorted(FOUND))}"
                )
    part = kind.part.read("data", {"kind": name, **given})
    return kind if kind.content is None else kind.of(part.build())


def data_kind(recipe: Recipe) -> Described:
    """Return what is known of the recipe's data without reading them; of the user's own, what was found in them.

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
    """Return the name of a sample of the recipe's data, without looking at them or at a part of the user's own."""
    section = recipe.data
    if section.kind in DATA:
        return sample_name(DATA[section.kind].input)
    return SAMPLE if section.found is None else sample_name(record_of(section.found.input))


def target_of(recipe: Recipe) -> Target:
    """Return the kind of target that the recipe's data have, without looking at them or importing PyTorch."""
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
    """Build the recipe's data set, from `root` if it is not bundled; `workers` and `ranks` as in `ImageSets.made_by`.

    Args:
        found: result of `with_data_found`; without it the data are looked at again.
        listed: the manifest of the training data, if there is one, for the error about what changed.
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


def input_record(recipe: Recipe) -> InputRecord:
    """Return what the recipe's network takes at each step: an image, a part of one, or a frame of events.

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
    """Return the shape of a whole sample in augmentations: [C, H, W]; of events with all frames' maps as channels."""
    kind = data_kind(recipe)
    channels, *sides = kind.input.shape
    if (size := recipe.data.size) is not None:
        sides = [size, size]
    return (channels * (recipe.time_steps if kind.events else 1), *sides)


def random_batch(recipe: Recipe, generator: torch.Generator, count: int | None = None) -> tuple[Tensor, Tensor]:
    """Draw noise as a batch for the recipe's network, [T or 1, B, C, H, W], and a random target of it.

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
