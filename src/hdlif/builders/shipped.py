"""The data sets that ship, by name: what is known of them unread, and what loads them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hdlif import datasets
from hdlif.artefact import InputRecord
from hdlif.builders.arguments import Checked, checked
from hdlif.builders.places import At
from hdlif.generated import Copy, DelayedXor, MackeyGlass
from hdlif.inputs.events import Binning

if TYPE_CHECKING:
    from hdlif.data import ImageSets
    from hdlif.generated import Content
    from hdlif.tasks import Target


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
    """A data set that ships: its loader beside what is known of it.

    A loader of images or series takes (root, validation, augment, seed); one of events takes (time_steps, binning,
    size) too, and one of generated data their content.
    """

    load: Callable[..., ImageSets]
    content: type[Content] | None = None
    """Of generated data, the class whose fields are arguments of `data` in a recipe."""

    @property
    def defaults(self) -> dict[str, Any]:
        """The keys of `data` that this kind takes beside those of every kind, and what they are by default."""
        # A content is a dataclass.
        content: Any = self.content
        return {} if content is None else {field.name: field.default for field in fields(content)}

    def checked(self, arguments: Mapping[str, Any], beside: Collection[str]) -> Checked[Content]:
        """What makes the content from the arguments of a section, which are checked. Raises `RecipeError`.

        Args:
            beside: the keys of every kind, for the error that lists what it takes.
        """
        assert self.content is not None
        return checked(self.content, "data", arguments, beside=beside)

    def of(self, content: Content) -> DataKind:
        """This kind with other content than the defaults."""
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
    "copy": _generated(At("hdlif.data:copy_task"), Copy),
    "delayed_xor": _generated(At("hdlif.data:delayed_xor"), DelayedXor),
    "mackey_glass": _generated(At("hdlif.data:mackey_glass"), MackeyGlass),
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
