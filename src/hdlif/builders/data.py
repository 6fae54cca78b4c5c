"""The section `data`: image sets, and what a network is shown of an image."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from hdlif import data
from hdlif.artefact import InputRecord
from hdlif.builders.arguments import choose
from hdlif.config import Recipe
from hdlif.data import ImageSets, images
from hdlif.data.synthetic import SYNTHETIC_CLASSES, SYNTHETIC_MEAN, SYNTHETIC_STD
from hdlif.errors import RecipeError


@dataclass(frozen=True)
class DataKind:
    """A data set's loader, and what can be said of its images without reading them."""

    load: Callable[..., ImageSets]
    input: InputRecord
    labels: tuple[str, ...]


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
}
FRAMES: Mapping[str, data.Frames] = {"constant": data.constant, "rows": data.rows}


def data_kind(recipe: Recipe) -> DataKind:
    """The recipe's data set, unread; raises `RecipeError` on an unknown name in its section."""
    for name in recipe.data.augment:
        choose(data.AUGMENTATIONS, name, "data.augment")
    return choose(DATA, recipe.data.kind, "data.kind")


def build_data(recipe: Recipe, root: Path | None = None) -> ImageSets:
    """The recipe's data set, from `root` where it is not bundled."""
    kind = data_kind(recipe)
    frames = choose(FRAMES, recipe.data.frames, "data.frames")
    sets = kind.load(root, validation=recipe.data.validation, augment=recipe.data.augment, seed=recipe.seed)
    if recipe.data.size is not None:
        sets = sets.resized(recipe.data.size)
    sets = sets.shown_as(frames)
    if recipe.data.train is None:
        return sets
    if recipe.data.train > len(sets.train):
        raise RecipeError(f"data.train = {recipe.data.train}; there are {len(sets.train)} training images")
    return replace(sets, train=sets.train.first(recipe.data.train))


def input_record(recipe: Recipe) -> InputRecord:
    """What the recipe's network takes at each step: the data set's images, or a part of one.

    Raises:
        RecipeError: an image does not last for time_steps steps.
    """
    record = data_kind(recipe).input
    if (size := recipe.data.size) is not None:
        record = replace(record, shape=(record.shape[0], size, size))
    frames = choose(FRAMES, recipe.data.frames, "data.frames")
    steps, _, *shape = frames(torch.zeros(1, *record.shape)).shape
    if steps not in (1, recipe.time_steps):
        raise RecipeError(
            f'data.frames = "{recipe.data.frames}" makes {steps} steps of an image; set time_steps={steps}'
        )
    channels, height, width = shape
    return replace(record, shape=(channels, height, width))
