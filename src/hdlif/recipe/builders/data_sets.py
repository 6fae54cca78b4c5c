"""Shipped data sets by name: keys, loaders, and properties that are known without reading the data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hdlif.config import DataConfig
from hdlif.graph.graph import InputRecord
from hdlif.inputs import datasets, memory_tasks
from hdlif.inputs.events import Binning
from hdlif.recipe.builders.part import At, Part, field

if TYPE_CHECKING:
    from hdlif.data import DataSets
    from hdlif.inputs.memory_tasks import Content
    from hdlif.training.tasks import Target


class Data(Part):
    """A shipped data set without additional keys."""

    @classmethod
    def key_names(cls) -> set[str]:
        return {*super().key_names(), *DataConfig.model_fields} - {"found"}


class DelayedXor(Data, kind="delayed_xor", makes=memory_tasks.DelayedXor):
    """Generated time series, whose class depends on whether two distant bits differ."""

    delay: int = field(100, "Time steps from the first bit to the second.")
    noise: float = field(0.3, "Standard deviation of the values between the bits.")
    samples: int = field(5000, "Number of training series.")
    test: int = field(1000, "Number of test series.")
    draw: int = field(0, "Seed of the generated values.")


class Copy(Data, kind="copy", makes=memory_tasks.Copy):
    """Generated time series of symbols, which the network must repeat after a delay."""

    delay: int = field(100, "Time steps from the last symbol to the first repeated symbol.")
    symbols: int = field(10, "Number of symbols to repeat.")
    alphabet: int = field(8, "Number of different symbols.")
    samples: int = field(5000, "Number of training series.")
    test: int = field(1000, "Number of test series.")
    draw: int = field(0, "Seed of the generated symbols.")


class MackeyGlass(Data, kind="mackey_glass", makes=memory_tasks.MackeyGlass):
    """A chaotic time series; the network must predict its future values."""

    steps: int = field(100, "Time steps per window.")
    ahead: int = field(6, "Time steps from an input value to the value to predict.")
    stride: int = field(10, "Time steps between the starts of training windows.")
    samples: int = field(512, "Number of training windows.")
    test: int = field(50, "Number of test windows.")


@dataclass(frozen=True, kw_only=True)
class Described:
    """The properties of a data set that are known without reading the samples.

    Attributes:
        names: names of the classes, values or labels, or a function that returns them.
        target: kind of the target.
        target_mean, target_std: mean and standard deviation of values, for normalisation.
        ahead: number of steps by which the learned values lie ahead, if these are later values of the time series.
        answered_after: delay in steps until the class of a step is predicted, or None if the task defines it.
    """

    input: InputRecord
    names: tuple[str, ...] | Callable[[], tuple[str, ...]]
    target: Target = "class"
    target_mean: tuple[float, ...] = ()
    target_std: tuple[float, ...] = ()
    ahead: int = 0
    answered_after: int | None = None

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
        """Return whether samples are pixel maps, which can be resized."""
        return self.input.kind in ("image", "events")


@dataclass(frozen=True, kw_only=True)
class DataKind(Described):
    """The loader and the properties of a shipped data set.

    Attributes:
        load: takes (root, validation, augment, seed); for events also (time_steps, binning, size); for generated data
            also their content.
        part: class of its section; for generated data, the class also makes the content.
        meaning: description, if the class of its section has none.
    """

    load: Callable[..., DataSets]
    part: type[Data] = Data
    meaning: str = ""

    @property
    def is_generated(self) -> bool:
        return self.part is not Data

    @property
    def defaults(self) -> dict[str, Any]:
        """Return the keys of the `data` section that only this kind has, with their defaults."""
        content: Any = self.part.MAKES
        return {one.name: one.default for one in fields(content)} if self.is_generated else {}

    def of(self, content: Content) -> DataKind:
        """Return a copy of this kind of generated data, with its content replaced by `content`."""
        return replace(self, load=partial(self.load, content=content), **_described(content))


def _described(content: Content) -> dict[str, Any]:
    return {"input": content.input, "names": content.names, "target": content.target, **content.learned}


def _generated(part: type[Data], load: At) -> DataKind:
    return DataKind(load=load, part=part, **_described(part.MAKES()))


def _stored(name: str, meaning: str, shape: tuple[int, int, int], **others: Any) -> DataKind:
    """Return a data set of images, time series or rows, whose loader and constants are found by `name`."""
    mean, std = (getattr(datasets, f"{name.upper()}_{one}") for one in ("MEAN", "STD"))
    names = others.pop("names", None) or getattr(datasets, f"{name.upper()}_CLASSES")
    record = InputRecord(shape, mean, std, **others)
    return DataKind(load=At(f"hdlif.data:{name}"), input=record, names=names, meaning=meaning)


def _counts(side: int) -> InputRecord:
    """Return the input record for unscaled event counts per polarity and pixel."""
    return InputRecord((2, side, side), (0.0, 0.0), (1.0, 1.0), kind="events", resize="none")


def _recorded(name: str, meaning: str, side: int, names: tuple[str, ...]) -> DataKind:
    return DataKind(load=At(f"hdlif.data:{name}"), input=_counts(side), names=names, meaning=meaning)


def _simulated(images: str, meaning: str, side: int, names: tuple[str, ...]) -> DataKind:
    """Return a data set of events that are simulated from images."""

    def load(root: Path | None, *, time_steps: int, binning: Binning, size: int | None, **split: object) -> DataSets:
        from hdlif.data import simulated

        sets = At(f"hdlif.data:{images}")(root, **split)
        sets = sets if size is None else sets.resized(size)
        return simulated(sets, time_steps=time_steps, binning=binning)

    return DataKind(load=load, input=_counts(side), names=names, meaning=meaning)


_DIGITS, _CLOTHES, _GESTURES = datasets.DIGITS_CLASSES, datasets.FASHION_MNIST_CLASSES, datasets.DVS_GESTURE_CLASSES
_OBJECTS, _DVS = datasets.CIFAR10_CLASSES, datasets.DVS_SIDE
_WINES = "A table of 13 measurements of wines of 3 cultivars, bundled."
_TABLE = {"kind": "table", "resize": "none", "columns": datasets.WINE_COLUMNS}
DATA: Mapping[str, DataKind] = {
    "digits": _stored("digits", "8x8 grey digits in 10 classes, bundled.", (1, 8, 8)),
    "fashion_mnist": _stored("fashion_mnist", "28x28 grey images of clothes in 10 classes.", (1, 28, 28)),
    "synthetic": _stored("synthetic", "8x8 generated images, for tests.", (1, 8, 8)),
    "sines": _stored(
        "sines", "Generated series of sines, classified.", datasets.SINES_SHAPE, kind="series", resize="none"
    ),
    "copy": _generated(Copy, At("hdlif.data:copy_task")),
    "delayed_xor": _generated(DelayedXor, At("hdlif.data:delayed_xor")),
    "mackey_glass": _generated(MackeyGlass, At("hdlif.data:mackey_glass")),
    "wine": _stored("wine", _WINES, (len(datasets.WINE_COLUMNS), 1, 1), **_TABLE),
    "cifar10": _stored("cifar10", "32x32 colour images in 10 classes.", (3, 32, 32)),
    "cifar100": _stored("cifar100", "32x32 colour images in 100 classes.", (3, 32, 32)),
    "imagenet": _stored(
        "imagenet",
        "Colour images at 224x224 in 1,000 classes.",
        (3, 224, 224),
        names=At("hdlif.data.sources.imagenet:imagenet_classes"),
    ),
    "tiny_imagenet": _stored("tiny_imagenet", "64x64 colour images in 200 classes.", (3, 64, 64)),
    "digits_events": _simulated("digits", "Events simulated from the digits.", 8, _DIGITS),
    "fashion_mnist_events": _simulated("fashion_mnist", "Events simulated from Fashion-MNIST.", 28, _CLOTHES),
    "dvs_cifar10": _recorded("dvs_cifar10", "Event-camera recordings of CIFAR-10 images.", _DVS, _OBJECTS),
    "dvs_gesture": _recorded("dvs_gesture", "Event-camera recordings of 11 hand gestures.", _DVS, _GESTURES),
    "n_mnist": _recorded("n_mnist", "Event-camera recordings of MNIST digits.", datasets.N_MNIST_SIDE, _DIGITS),
}
