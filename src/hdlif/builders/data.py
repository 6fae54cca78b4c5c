"""The section `data`: sets of images and of events, and what a network is shown of a sample."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from hdlif import datasets
from hdlif.artefact import InputRecord
from hdlif.builders.arguments import choose
from hdlif.builders.places import At
from hdlif.config import Recipe
from hdlif.errors import DataError, RecipeError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from hdlif.data import Binning, Frames, ImageSets

VALIDATION_OF_NAMED = 100
CONSTANT = "constant"
"""The name of the frames that are a whole image each."""


@dataclass(frozen=True)
class DataKind:
    """A data set's loader, and what can be said of its samples without reading them.

    A loader of images takes (root, validation, augment, seed); one of events takes (time_steps, binning, size) too.
    """

    load: Callable[..., ImageSets]
    input: InputRecord
    names: tuple[str, ...] | Callable[[], tuple[str, ...]]
    """Of its classes, or what looks them up."""

    @property
    def labels(self) -> tuple[str, ...]:
        return self.names if isinstance(self.names, tuple) else self.names()

    @property
    def events(self) -> bool:
        return self.input.kind == "events"


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
        At("hdlif.data:digits"),
        InputRecord((1, 8, 8), datasets.DIGITS_MEAN, datasets.DIGITS_STD),
        datasets.DIGITS_CLASSES,
    ),
    "fashion_mnist": DataKind(
        At("hdlif.data:fashion_mnist"),
        InputRecord((1, 28, 28), datasets.FASHION_MNIST_MEAN, datasets.FASHION_MNIST_STD),
        datasets.FASHION_MNIST_CLASSES,
    ),
    "synthetic": DataKind(
        At("hdlif.data:synthetic"),
        InputRecord((1, 8, 8), datasets.SYNTHETIC_MEAN, datasets.SYNTHETIC_STD),
        datasets.SYNTHETIC_CLASSES,
    ),
    "cifar10": DataKind(
        At("hdlif.data:cifar10"),
        InputRecord((3, 32, 32), datasets.CIFAR10_MEAN, datasets.CIFAR10_STD),
        datasets.CIFAR10_CLASSES,
    ),
    "cifar100": DataKind(
        At("hdlif.data:cifar100"),
        InputRecord((3, 32, 32), datasets.CIFAR100_MEAN, datasets.CIFAR100_STD),
        datasets.CIFAR100_CLASSES,
    ),
    "imagenet": DataKind(
        At("hdlif.data:imagenet"),
        InputRecord((3, 224, 224), datasets.IMAGENET_MEAN, datasets.IMAGENET_STD),
        datasets.imagenet_classes,
    ),
    "tiny_imagenet": DataKind(
        At("hdlif.data:tiny_imagenet"),
        InputRecord((3, 64, 64), datasets.TINY_IMAGENET_MEAN, datasets.TINY_IMAGENET_STD),
        datasets.TINY_IMAGENET_CLASSES,
    ),
    "digits_events": DataKind(_simulated(At("hdlif.data:digits")), _counts(8), datasets.DIGITS_CLASSES),
    "fashion_mnist_events": DataKind(
        _simulated(At("hdlif.data:fashion_mnist")),
        _counts(28),
        datasets.FASHION_MNIST_CLASSES,
    ),
    "dvs_cifar10": DataKind(At("hdlif.data:dvs_cifar10"), _counts(datasets.DVS_SIDE), datasets.CIFAR10_CLASSES),
    "dvs_gesture": DataKind(At("hdlif.data:dvs_gesture"), _counts(datasets.DVS_SIDE), datasets.DVS_GESTURE_CLASSES),
    "n_mnist": DataKind(At("hdlif.data:n_mnist"), _counts(datasets.N_MNIST_SIDE), datasets.DIGITS_CLASSES),
}
FRAMES: Mapping[str, Frames] = {CONSTANT: At("hdlif.data:constant"), "rows": At("hdlif.data:rows")}
BINNINGS: Mapping[str, Callable[[], Binning]] = {
    "by_number": At("hdlif.data:by_number").get,
    "by_time": At("hdlif.data:by_time").get,
}


def data_kind(recipe: Recipe) -> DataKind:
    """The recipe's data set, unread; raises `RecipeError` on a name in its section that is unknown or does not fit."""
    kind = choose(DATA, recipe.data.kind, "data.kind")
    for name in recipe.data.augment:
        only = choose(datasets.AUGMENTED, name, "data.augment")
        if only not in (None, kind.input.kind):
            taken, given = ("counts", "8-bit pixels") if only == "events" else ("8-bit pixels", "counts")
            raise RecipeError(
                f'data.augment: "{name}" takes {taken}, and {recipe.data.kind} gives {given}; leave it out'
            )
    mine, other = (BINNINGS, FRAMES) if kind.events else (FRAMES, BINNINGS)
    if recipe.data.frames in other:
        given, shown = ("events", "images") if kind.events else ("images", "events")
        raise RecipeError(
            f'data.frames = "{recipe.data.frames}" makes frames of {shown}, and {recipe.data.kind} gives {given}; '
            f"choose one of {', '.join(sorted(mine))}"
        )
    choose(mine, recipe.data.frames, "data.frames")
    return kind


def build_data(recipe: Recipe, root: Path | None = None, *, workers: int | None = None, ranks: int = 1) -> ImageSets:
    """The recipe's data set, from `root` where it is not bundled; `workers` and `ranks` as in `ImageSets.made_by`."""
    kind, section = data_kind(recipe), recipe.data
    split = {"validation": section.validation, "augment": section.augment, "seed": recipe.seed}
    if kind.events:
        binning = BINNINGS[section.frames]()
        sets = kind.load(root, **split, time_steps=recipe.time_steps, binning=binning, size=section.size)
    else:
        sets = kind.load(root, **split)
        if section.size is not None:
            sets = sets.resized(section.size)
        sets = sets.shown_as(FRAMES[section.frames])
    sets = sets.made_by(workers, ranks=ranks)
    if section.train is None:
        return sets
    if section.train > len(sets.train):
        raise RecipeError(f"data.train = {section.train}; there are {len(sets.train)} training images")
    return replace(sets, train=sets.train.first(section.train))


def named_data(
    name: str, root: Path | None, *, record: InputRecord, time_steps: int, frames: str = "by_number"
) -> ImageSets:
    """A data set as a network takes it that was made for `record`.

    Args:
        frames: data.frames of the network's recipe, which says how events are binned.
    Raises:
        DataError: the network takes something else.
    """
    kind = DATA[name]
    split = {"validation": VALIDATION_OF_NAMED, "augment": (), "seed": 0}
    height, width = record.shape[1:]
    size = height if height == width and record.shape[1:] != kind.input.shape[1:] else None
    taken = f"the network takes {_described(record)} at each step, and {name} has {_described(kind.input)}"
    if record.kind != kind.input.kind or record.shape[0] != kind.input.shape[0]:
        raise DataError(f"{taken}; give the data set that it was trained on")
    if kind.events:
        return kind.load(root, **split, time_steps=time_steps, binning=BINNINGS[frames](), size=size).made_by(None)
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
    if (size := recipe.data.size) is not None:
        record = replace(record, shape=(record.shape[0], size, size))
    if kind.events:
        return record
    import torch

    steps, _, *shape = FRAMES[recipe.data.frames](torch.zeros(1, *record.shape)).shape
    if steps not in (1, recipe.time_steps):
        raise RecipeError(
            f'data.frames = "{recipe.data.frames}" makes {steps} steps of an image; set time_steps={steps}'
        )
    channels, height, width = shape
    return replace(record, shape=(channels, height, width), frames=recipe.data.frames)


def random_batch(recipe: Recipe, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Noise shaped as a batch that the recipe's network is shown, [T or 1, B, C, H, W], and labels [B] drawn alike."""
    import torch

    batch, shape = recipe.data.batch_size, input_record(recipe).shape
    constant = recipe.data.frames == CONSTANT
    x = torch.randn(1 if constant else recipe.time_steps, batch, *shape, generator=generator)
    return x, torch.randint(len(DATA[recipe.data.kind].labels), (batch,), generator=generator)
