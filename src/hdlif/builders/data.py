"""The section `data`: sets of images and of events, and what a network is shown of a sample."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from hdlif import data
from hdlif.artefact import InputRecord
from hdlif.builders.arguments import choose
from hdlif.config import Recipe
from hdlif.data import ImageSets, cifar, images
from hdlif.data.event_sets import DVS_GESTURE_CLASSES, DVS_SIDE, N_MNIST_SIDE
from hdlif.data.imagenet import (
    IMAGENET_CLASSES,
    IMAGENET_MEAN,
    IMAGENET_STD,
    TINY_IMAGENET_CLASSES,
    TINY_IMAGENET_MEAN,
    TINY_IMAGENET_STD,
)
from hdlif.data.synthetic import SYNTHETIC_CLASSES, SYNTHETIC_MEAN, SYNTHETIC_STD
from hdlif.errors import DataError, RecipeError

VALIDATION_OF_NAMED = 100


@dataclass(frozen=True)
class DataKind:
    """A data set's loader, and what can be said of its samples without reading them.

    A loader of images takes (root, validation, augment, seed); one of events takes (time_steps, binning, size) too.
    """

    load: Callable[..., ImageSets]
    input: InputRecord
    labels: tuple[str, ...]

    @property
    def events(self) -> bool:
        return self.input.kind == "events"


def _counts(height: int, width: int) -> InputRecord:
    """Events counted by polarity and pixel, taken as they are."""
    return InputRecord((2, height, width), (0.0, 0.0), (1.0, 1.0), kind="events", resize="none")


def _simulated(images: Callable[..., ImageSets]) -> Callable[..., ImageSets]:
    def load(
        root: Path | None, *, time_steps: int, binning: data.Binning, size: int | None, **split: object
    ) -> ImageSets:
        sets = images(root, **split)
        sets = sets if size is None else sets.resized(size)
        return data.simulated(sets, time_steps=time_steps, binning=binning)

    return load


DATA: Mapping[str, DataKind] = {
    "digits": DataKind(
        data.digits,
        InputRecord((1, 8, 8), images.DIGITS_MEAN, images.DIGITS_STD),
        images.DIGITS_CLASSES,
    ),
    "fashion_mnist": DataKind(
        data.fashion_mnist,
        InputRecord((1, 28, 28), images.FASHION_MNIST_MEAN, images.FASHION_MNIST_STD),
        images.FASHION_MNIST_CLASSES,
    ),
    "synthetic": DataKind(
        data.synthetic,
        InputRecord((1, 8, 8), SYNTHETIC_MEAN, SYNTHETIC_STD),
        SYNTHETIC_CLASSES,
    ),
    "cifar10": DataKind(
        data.cifar10,
        InputRecord((3, 32, 32), cifar.CIFAR10_MEAN, cifar.CIFAR10_STD),
        cifar.CIFAR10_CLASSES,
    ),
    "cifar100": DataKind(
        data.cifar100,
        InputRecord((3, 32, 32), cifar.CIFAR100_MEAN, cifar.CIFAR100_STD),
        cifar.CIFAR100_CLASSES,
    ),
    "imagenet": DataKind(
        data.imagenet,
        InputRecord((3, 224, 224), IMAGENET_MEAN, IMAGENET_STD),
        IMAGENET_CLASSES,
    ),
    "tiny_imagenet": DataKind(
        data.tiny_imagenet,
        InputRecord((3, 64, 64), TINY_IMAGENET_MEAN, TINY_IMAGENET_STD),
        TINY_IMAGENET_CLASSES,
    ),
    "digits_events": DataKind(_simulated(data.digits), _counts(8, 8), images.DIGITS_CLASSES),
    "fashion_mnist_events": DataKind(_simulated(data.fashion_mnist), _counts(28, 28), images.FASHION_MNIST_CLASSES),
    "dvs_cifar10": DataKind(data.dvs_cifar10, _counts(DVS_SIDE, DVS_SIDE), cifar.CIFAR10_CLASSES),
    "dvs_gesture": DataKind(data.dvs_gesture, _counts(DVS_SIDE, DVS_SIDE), DVS_GESTURE_CLASSES),
    "n_mnist": DataKind(data.n_mnist, _counts(N_MNIST_SIDE, N_MNIST_SIDE), images.DIGITS_CLASSES),
}
FRAMES: Mapping[str, data.Frames] = {"constant": data.constant, "rows": data.rows}
BINNINGS: Mapping[str, data.Binning] = {"by_number": data.by_number, "by_time": data.by_time}


def data_kind(recipe: Recipe) -> DataKind:
    """The recipe's data set, unread; raises `RecipeError` on a name in its section that is unknown or does not fit."""
    kind = choose(DATA, recipe.data.kind, "data.kind")
    for name in recipe.data.augment:
        augmentation = choose(data.AUGMENTATIONS, name, "data.augment")
        if augmentation.only not in (None, kind.input.kind):
            taken, given = ("counts", "8-bit pixels") if augmentation.only == "events" else ("8-bit pixels", "counts")
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
        binning = BINNINGS[section.frames]
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
        return kind.load(root, **split, time_steps=time_steps, binning=BINNINGS[frames], size=size).made_by(None)
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
    steps, _, *shape = FRAMES[recipe.data.frames](torch.zeros(1, *record.shape)).shape
    if steps not in (1, recipe.time_steps):
        raise RecipeError(
            f'data.frames = "{recipe.data.frames}" makes {steps} steps of an image; set time_steps={steps}'
        )
    channels, height, width = shape
    return replace(record, shape=(channels, height, width))


def random_batch(recipe: Recipe, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Noise shaped as a batch that the recipe's network is shown, [T or 1, B, C, H, W], and labels [B] drawn alike."""
    batch, shape = recipe.data.batch_size, input_record(recipe).shape
    constant = recipe.data.frames in FRAMES and FRAMES[recipe.data.frames] is data.constant
    x = torch.randn(1 if constant else recipe.time_steps, batch, *shape, generator=generator)
    return x, torch.randint(len(DATA[recipe.data.kind].labels), (batch,), generator=generator)
