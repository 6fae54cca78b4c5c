"""The data sets that ship, by name: what is known of them without reading them, and their loaders."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hdlif import datasets, generated
from hdlif.inputs.events import Binning
from hdlif.ops import InputRecord
from hdlif.recipe.builders.part import At, Part, field
from hdlif.recipe.config import DataConfig

if TYPE_CHECKING:
    from hdlif.data import ImageSets
    from hdlif.generated import Content
    from hdlif.tasks import Target


class Data(Part):
    """The keys of the section `data` that a kind takes besides those of `DataConfig`."""

    @classmethod
    def key_names(cls) -> set[str]:
        return {*super().key_names(), *DataConfig.model_fields} - {"found"}


class Shipped(Data):
    """A set that ships, without keys of its own."""


class DelayedXor(Data, kind="delayed_xor", makes=generated.DelayedXor):
    """Generated series: whether two bits that are far apart differ."""

    delay: int = field(100, "Time steps from the first bit to the second.")
    noise: float = field(0.3, "Standard deviation of the values between them.")
    samples: int = field(5000, "Training series.")
    test: int = field(1000, "Test series.")
    draw: int = field(0, "Seed of all values; another number gives other series.")


class Copy(Data, kind="copy", makes=generated.Copy):
    """Generated series: symbols that have to be repeated after a delay."""

    delay: int = field(100, "Time steps from the last symbol to the first one that is repeated.")
    symbols: int = field(10, "Number of symbols that are shown.")
    alphabet: int = field(8, "Number of different symbols.")
    samples: int = field(5000, "Training series.")
    test: int = field(1000, "Test series.")
    draw: int = field(0, "Seed of all symbols; another number gives other series.")


class MackeyGlass(Data, kind="mackey_glass", makes=generated.MackeyGlass):
    """A chaotic series, whose later values are learned."""

    steps: int = field(100, "Time steps of a window.")
    ahead: int = field(6, "Time steps from a shown value to the learned one.")
    stride: int = field(10, "Time steps between the beginnings of training windows.")
    samples: int = field(512, "Training windows.")
    test: int = field(50, "Test windows.")


GENERATED: Mapping[Any, type[Data]] = {
    generated.Copy: Copy,
    generated.DelayedXor: DelayedXor,
    generated.MackeyGlass: MackeyGlass,
}
"""The classes of sections of generated data, by their content."""
SETS = {
    "digits": "8x8 grey digits in 10 classes, bundled.",
    "fashion_mnist": "28x28 grey images of clothes in 10 classes.",
    "synthetic": "8x8 generated images, for tests.",
    "sines": "Generated series of sines, classified.",
    "wine": "A table of 13 measurements of wines of 3 cultivars, bundled.",
    "cifar10": "32x32 colour images in 10 classes.",
    "cifar100": "32x32 colour images in 100 classes.",
    "imagenet": "Colour images at 224x224 in 1,000 classes.",
    "tiny_imagenet": "64x64 colour images in 200 classes.",
    "digits_events": "Events simulated from the digits.",
    "fashion_mnist_events": "Events simulated from Fashion-MNIST.",
    "dvs_cifar10": "Event-camera recordings of CIFAR-10 images.",
    "dvs_gesture": "Event-camera recordings of 11 hand gestures.",
    "n_mnist": "Event-camera recordings of MNIST digits.",
}
"""What each set without keys of its own is."""


@dataclass(frozen=True, kw_only=True)
class Described:
    """What is known of a data set's samples without reading them."""

    input: InputRecord
    names: tuple[str, ...] | Callable[[], tuple[str, ...]]
    """Of its classes, values or labels, or what looks them up."""
    target: Target = "class"
    """What is given of a sample."""
    target_mean: tuple[float, ...] = ()
    target_std: tuple[float, ...] = ()
    """Of values, by which they are normalised."""
    ahead: int = 0
    """Of the next values of a series itself, how many steps later it has them."""
    answered_after: int | None = None
    """Of classes at each step, how many steps later the answer is asked for; None where that is the task's to say."""

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
    """A data set that ships: its loader and what is known of it.

    A loader of images or series takes (root, validation, augment, seed); one of events takes (time_steps, binning,
    size) too, and one of generated data their content.
    """

    load: Callable[..., ImageSets]
    content: type[Content] | None = None
    """Of generated data, the class whose fields are arguments of `data` in a recipe."""

    @property
    def part(self) -> type[Data]:
        """The class of its section."""
        return GENERATED.get(self.content, Shipped)

    @property
    def defaults(self) -> dict[str, Any]:
        """The keys of `data` that only this kind takes, with their defaults."""
        # A content is a dataclass.
        content: Any = self.content
        return {} if content is None else {field.name: field.default for field in fields(content)}

    def of(self, content: Content) -> DataKind:
        """Return this kind with other content than the default."""
        return replace(self, load=partial(self.load, content=content), **_described(content))


def _described(content: Content) -> dict[str, Any]:
    return {"input": content.input, "names": content.names, "target": content.target, **content.learned}


def _generated(load: At, content: type[Content]) -> DataKind:
    return DataKind(load=load, content=content, **_described(content()))


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
    "copy": _generated(At("hdlif.data:copy_task"), generated.Copy),
    "delayed_xor": _generated(At("hdlif.data:delayed_xor"), generated.DelayedXor),
    "mackey_glass": _generated(At("hdlif.data:mackey_glass"), generated.MackeyGlass),
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
