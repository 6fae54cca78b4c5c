"""The section `data`: sets of images and of events, and what a network is shown of a sample."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from hdlif import datasets
from hdlif.artefact import InputRecord
from hdlif.builders.arguments import choose
from hdlif.builders.augment import build_augment, checked_augment
from hdlif.builders.found import FOUND, arguments, finder, found_kind, is_there, record_of, samples_of
from hdlif.builders.places import At
from hdlif.config import DataConfig, Recipe
from hdlif.errors import DataError, RecipeError, brief, cut, did_you_mean
from hdlif.inputs.events import BINNINGS, Binning
from hdlif.ops import SAMPLE, SampleName, sample_name

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from hdlif.data import Found, Frames, ImageSets
    from hdlif.tasks import Target

VALIDATION_OF_NAMED = 100
CONSTANT, ROWS = "constant", "rows"
"""The names of the frames that are a whole image each, and a row of one: of a series, a sample in time."""


@dataclass(frozen=True, kw_only=True)
class Described:
    """What can be said of a data set's samples without reading them."""

    input: InputRecord
    names: tuple[str, ...] | Callable[[], tuple[str, ...]]
    """Of its classes, values or labels, or what looks them up."""
    target: Target = "class"
    """What is given of a sample."""
    target_mean: tuple[float, ...] = ()
    target_std: tuple[float, ...] = ()
    """Of values, by which they are normalised."""

    @property
    def labels(self) -> tuple[str, ...]:
        return self.names if isinstance(self.names, tuple) else self.names()

    @property
    def events(self) -> bool:
        return self.input.kind == "events"

    @property
    def series(self) -> bool:
        return self.input.kind == "series"

    @property
    def resizes(self) -> bool:
        """Whether a sample is a map, which has a side."""
        return self.input.kind in ("image", "events")


@dataclass(frozen=True, kw_only=True)
class DataKind(Described):
    """A data set that ships: its loader beside what is known of it.

    A loader of images or series takes (root, validation, augment, seed); one of events takes (time_steps, binning,
    size) too.
    """

    load: Callable[..., ImageSets]


def _counts(side: int) -> InputRecord:
    """Events counted by polarity and pixel, taken as they are."""
    return InputRecord((2, side, side), (0.0, 0.0), (1.0, 1.0), kind="events", resize="none")


def _simulated(images: Callable[..., ImageSets]) -> Callable[..., ImageSets]:
    def load(root: Path | None, *, time_steps: int, binning: Binning, size: int | None, **split: object) -> ImageSets:
        from hdlif.data import simulated

        sets = images(root, **split)
        sets = sets if size is None else sets.resized(size)
        return simulated(sets, time_steps=time_steps, binning=binning)

    return load


DATA: Mapping[str, DataKind] = {
    "digits": DataKind(
        load=At("hdlif.data:digits"),
        input=InputRecord((1, 8, 8), datasets.DIGITS_MEAN, datasets.DIGITS_STD),
        names=datasets.DIGITS_CLASSES,
    ),
    "fashion_mnist": DataKind(
        load=At("hdlif.data:fashion_mnist"),
        input=InputRecord((1, 28, 28), datasets.FASHION_MNIST_MEAN, datasets.FASHION_MNIST_STD),
        names=datasets.FASHION_MNIST_CLASSES,
    ),
    "synthetic": DataKind(
        load=At("hdlif.data:synthetic"),
        input=InputRecord((1, 8, 8), datasets.SYNTHETIC_MEAN, datasets.SYNTHETIC_STD),
        names=datasets.SYNTHETIC_CLASSES,
    ),
    "sines": DataKind(
        load=At("hdlif.data:sines"),
        input=InputRecord(datasets.SINES_SHAPE, datasets.SINES_MEAN, datasets.SINES_STD, kind="series", resize="none"),
        names=datasets.SINES_CLASSES,
    ),
    "wine": DataKind(
        load=At("hdlif.data:wine"),
        input=InputRecord(
            (len(datasets.WINE_COLUMNS), 1, 1),
            datasets.WINE_MEAN,
            datasets.WINE_STD,
            kind="table",
            resize="none",
            columns=datasets.WINE_COLUMNS,
        ),
        names=datasets.WINE_CLASSES,
    ),
    "cifar10": DataKind(
        load=At("hdlif.data:cifar10"),
        input=InputRecord((3, 32, 32), datasets.CIFAR10_MEAN, datasets.CIFAR10_STD),
        names=datasets.CIFAR10_CLASSES,
    ),
    "cifar100": DataKind(
        load=At("hdlif.data:cifar100"),
        input=InputRecord((3, 32, 32), datasets.CIFAR100_MEAN, datasets.CIFAR100_STD),
        names=datasets.CIFAR100_CLASSES,
    ),
    "imagenet": DataKind(
        load=At("hdlif.data:imagenet"),
        input=InputRecord((3, 224, 224), datasets.IMAGENET_MEAN, datasets.IMAGENET_STD),
        names=datasets.imagenet_classes,
    ),
    "tiny_imagenet": DataKind(
        load=At("hdlif.data:tiny_imagenet"),
        input=InputRecord((3, 64, 64), datasets.TINY_IMAGENET_MEAN, datasets.TINY_IMAGENET_STD),
        names=datasets.TINY_IMAGENET_CLASSES,
    ),
    "digits_events": DataKind(
        load=_simulated(At("hdlif.data:digits")), input=_counts(8), names=datasets.DIGITS_CLASSES
    ),
    "fashion_mnist_events": DataKind(
        load=_simulated(At("hdlif.data:fashion_mnist")),
        input=_counts(28),
        names=datasets.FASHION_MNIST_CLASSES,
    ),
    "dvs_cifar10": DataKind(
        load=At("hdlif.data:dvs_cifar10"), input=_counts(datasets.DVS_SIDE), names=datasets.CIFAR10_CLASSES
    ),
    "dvs_gesture": DataKind(
        load=At("hdlif.data:dvs_gesture"), input=_counts(datasets.DVS_SIDE), names=datasets.DVS_GESTURE_CLASSES
    ),
    "n_mnist": DataKind(
        load=At("hdlif.data:n_mnist"), input=_counts(datasets.N_MNIST_SIDE), names=datasets.DIGITS_CLASSES
    ),
}
FRAMES: Mapping[str, Frames] = {CONSTANT: At("hdlif.data:constant"), ROWS: At("hdlif.data:rows")}


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
        choose({**DATA, **FOUND}, section.kind, "data.kind")
        samples = DATA[section.kind].input.kind
        _check_shipped(section)
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
        root, known, say: as of `hdlif.data.own.picture_folder.find_pictures`.
        scale: mean and deviation by which a network that is there already has its values normalised.
    Raises:
        RecipeError: an argument of the section is unknown or does not fit.
        DataError: the data cannot be used.
    """
    section = recipe.data
    return finder(section)(
        root=root,
        size=section.size,
        known=known,
        say=say,
        scale=scale,
        time_steps=recipe.time_steps,
        binning=section.frames,
    )


def _check_shipped(section: DataConfig) -> None:
    for name, value in section.arguments.items():
        accepted = DataConfig.model_fields.keys() - {"found"}
        mend = did_you_mean(name, accepted)
        if name in arguments():
            mend = f"it is of data of your own: data.kind is one of {', '.join(sorted(FOUND))}"
        raise RecipeError(f"data.{cut(name)} = {brief(value)} is unknown; {mend}")
    if section.validation is None:
        raise RecipeError("data.validation is missing; give the number of training images to hold out")
    if section.found is not None:
        raise RecipeError(f"data.found is of data of your own, and {section.kind} is a set that ships; leave it out")


def data_kind(recipe: Recipe) -> Described:
    """What is known of the recipe's data, unread; of data of the user's own, what was found when it was looked at.

    Raises:
        RecipeError: a name in its section is unknown or does not fit, or its data have to be looked at first
            (`with_data_found`).
    """
    check_data(recipe)
    if recipe.data.kind in DATA:
        return DATA[recipe.data.kind]
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
    kind = found_kind(section.kind)
    assert kind is not None, "a kind that was checked"
    return kind.target(section.arguments)


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
    kind, section = DATA[recipe.data.kind], recipe.data
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
        from hdlif.data.own.manifest import changes, read_manifest

        there = listed is not None and listed.exists()
        what = f": {changes(read_manifest(listed), found.manifest)}" if there and listed is not None else ""
        raise DataError(
            f"{found.path}: holds other files than the network was trained on{what}; put them back, or name the data "
            "with --data: of those that it was trained on, some may then be tested on"
        )
    return found


def named_data(
    name: str, root: Path | None, *, record: InputRecord, time_steps: int, frames: str = "by_number"
) -> ImageSets:
    """A data set as a network takes it that was made for `record`.

    Args:
        frames: how events are binned, of a network whose record does not say it.
    Raises:
        DataError: the network takes something else.
    """
    kind = DATA[name]
    split = {"validation": VALIDATION_OF_NAMED, "augment": (), "seed": 0}
    height, width = record.shape[1:]
    size = height if height == width and record.shape[1:] != kind.input.shape[1:] and kind.resizes else None
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


def random_batch(recipe: Recipe, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Noise as a batch that the recipe's network is shown, [T or 1, B, C, H, W], and a target of it, drawn alike."""
    import torch

    batch, shape = recipe.data.batch_size, input_record(recipe).shape
    constant = frames_of(recipe.data, check_data(recipe)) == CONSTANT
    x = torch.randn(1 if constant else recipe.time_steps, batch, *shape, generator=generator)
    described = data_kind(recipe)
    outputs, each = len(described.labels), (recipe.time_steps,)
    if described.target in ("class", "classes"):
        sizes = (batch,) if described.target == "class" else (batch, *each)
        return x, torch.randint(outputs, sizes, generator=generator)
    if described.target == "labels":
        return x, torch.randint(2, (batch, outputs), generator=generator).float()
    return x, torch.randn(batch, *(each if described.target == "values_each" else ()), outputs, generator=generator)
