"""Compute the properties of generated memory tasks from their arguments.

The fields of `DelayedXor`, `Copy` and `MackeyGlass` are the arguments of `data` in a recipe. `hdlif.data` generates the
samples.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from hdlif.graph.graph import InputRecord, TaskRecord

MOST_STEPS = 2**15 - 1
"""Maximum number of time steps of deployed networks."""
MOST_VALUES = 2**28
"""Maximum number of values in the samples of all parts (1 GiB)."""
MOST_TIME = 10**6
"""Maximum number of time units in all parts of a time series; computing them takes about ten seconds."""


class Content:
    """Base class for the arguments of generated data, with properties derived from the arguments.

    Attributes:
        samples, test: numbers of training and test samples.
        target: as in `tasks.Target`.
        mean, std: mean and deviation that normalise the channels; by default, channels are not normalised.
    Raises:
        ValueError: an argument is out of range.
    """

    samples: int
    test: int
    target: ClassVar[Literal["class", "classes", "values_each"]]
    mean: ClassVar[tuple[float, ...]] = ()
    std: ClassVar[tuple[float, ...]] = ()

    def check_parts(self, validation: int) -> None:
        """Raise `ValueError` if the data set, including `validation` validation samples, is too large."""
        values = (self.samples + validation + self.test) * math.prod(self.input.shape)
        if values > MOST_VALUES:
            raise ValueError(
                f"the parts have {values:,} values; at most {MOST_VALUES:,} are supported: lower samples, validation "
                "or test, or make the series shorter"
            )

    @property
    def input(self) -> InputRecord:
        """The input record of a sample with all its time steps."""
        raise NotImplementedError

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the classes or values."""
        raise NotImplementedError

    @property
    def learned(self) -> Mapping[str, object]:
        """Additional fields of `data_sets.Described`, computed from the arguments."""
        return {}

    @staticmethod
    def of_network(record: InputRecord, time_steps: int, task: TaskRecord) -> dict[str, int]:
        """Return the task arguments that can be derived from a network's input."""
        raise NotImplementedError

    def _series(self, columns: tuple[str, ...], steps: int) -> InputRecord:
        channels = len(columns)
        mean, std = self.mean or (0.0,) * channels, self.std or (1.0,) * channels
        return InputRecord((channels, steps, 1), mean, std, kind="series", resize="none", columns=columns)

    def _check_counts(self, draw: int) -> None:
        most = MOST_VALUES // math.prod(self.input.shape)
        _check_range("samples", self.samples, 1, most)
        _check_range("test", self.test, 1, most)
        _check_range("draw", draw, 0, 2**32 - 1)
        # The number of validation samples is unknown here; the loader counts them.
        self.check_parts(1)


@dataclass(frozen=True, kw_only=True)
class DelayedXor(Content):
    """A task in which the network decides whether two bits, separated by noise, differ.

    Attributes:
        delay: steps from the first bit (at step 0) to the second bit (at the last step).
        noise: standard deviation of the values between them; the bits are -1 and 1.
        samples, test: numbers of training and test time series.
        draw: seed of all values.
    """

    delay: int = 100
    noise: float = 0.3
    samples: int = 5000
    test: int = 1000
    draw: int = 0

    target = "class"
    names = ("same", "different")

    def __post_init__(self) -> None:
        _check_range("delay", self.delay, 1, MOST_STEPS - 1)
        if self.noise < 0:
            raise ValueError(f"noise = {self.noise} is refused; give a standard deviation of 0 or more")
        self._check_counts(self.draw)

    @property
    def steps(self) -> int:
        """T."""
        return self.delay + 1

    @property
    def input(self) -> InputRecord:
        return self._series(("value", "cue"), self.steps)

    @staticmethod
    def of_network(record: InputRecord, time_steps: int, task: TaskRecord) -> dict[str, int]:
        return {"delay": time_steps - 1}


@dataclass(frozen=True, kw_only=True)
class Copy(Content):
    """A task in which the network repeats a sequence of symbols after `delay` empty steps.

    The class of each step is the symbol shown at that step, or "blank". The prediction for each step is read `symbols`
    + `delay` steps later, so only the repeated symbols are evaluated.

    Attributes:
        delay: steps from the last symbol to the first repetition, which a channel signals at the last of these steps.
        symbols: number of symbols.
        alphabet: number of different symbols.
        samples, test: numbers of training and test time series.
        draw: seed of all symbols.
    """

    delay: int = 100
    symbols: int = 10
    alphabet: int = 8
    samples: int = 5000
    test: int = 1000
    draw: int = 0

    target = "classes"

    def __post_init__(self) -> None:
        _check_range("symbols", self.symbols, 1, MOST_STEPS // 2)
        _check_range("alphabet", self.alphabet, 2, 1000)
        _check_range("delay", self.delay, 1, MOST_STEPS - 2 * self.symbols)
        self._check_counts(self.draw)

    @property
    def steps(self) -> int:
        """T."""
        return self.delay + 2 * self.symbols

    @property
    def names(self) -> tuple[str, ...]:
        return (*map(str, range(self.alphabet)), "blank")

    @property
    def input(self) -> InputRecord:
        return self._series((*(f"symbol {number}" for number in range(self.alphabet)), "go"), self.steps)

    @property
    def learned(self) -> Mapping[str, object]:
        return {"answered_after": self.symbols + self.delay}

    @staticmethod
    def of_network(record: InputRecord, time_steps: int, task: TaskRecord) -> dict[str, int]:
        symbols = time_steps - task.delay
        return {"symbols": symbols, "delay": task.delay - symbols, "alphabet": record.shape[0] - 1}


@dataclass(frozen=True, kw_only=True)
class MackeyGlass(Content):
    """A task in which the network predicts the chaotic time series of Mackey and Glass (1977) `ahead` steps ahead.

    The time series solves dx/dt = 0.2·x(t - 17)/(1 + x(t - 17)^10) - 0.1·x(t), with one step per unit of time.

    Attributes:
        steps: T of a window.
        ahead: steps from an input to its target.
        stride: steps between the starts of training windows. Windows in the other parts do not overlap.
        samples, test: numbers of training and test windows.
    """

    steps: int = 100
    ahead: int = 6
    stride: int = 10
    samples: int = 512
    test: int = 50

    target = "values_each"
    names = ("x",)
    mean = (0.93,)
    std = (0.226,)
    """Mean and standard deviation of the training series: 0.9299 and 0.2262 from time 1,000 to 12,000."""

    def __post_init__(self) -> None:
        _check_range("steps", self.steps, 1, MOST_STEPS)
        _check_range("ahead", self.ahead, 1, MOST_TIME)
        _check_range("stride", self.stride, 1, MOST_TIME)
        for key, count, stride in (("samples", self.samples, self.stride), ("test", self.test, self.steps)):
            _check_range(key, count, 1, MOST_TIME // stride)
        # The number of validation samples is unknown here; the loader counts them.
        self.check_parts(1)

    def check_parts(self, validation: int) -> None:
        super().check_parts(validation)
        if (time := sum(self.lengths(validation).values())) > MOST_TIME:
            raise ValueError(
                f"the parts take {time:,} units of time; at most {MOST_TIME:,} are supported: lower samples, "
                "stride, validation, test, steps or ahead"
            )

    def lengths(self, validation: int) -> Mapping[str, int]:
        """Return the duration of each split from the first input to the last target, in units of time."""
        windows = {
            "train": (self.samples, self.stride),
            "validation": (validation, self.steps),
            "test": (self.test, self.steps),
        }
        return {part: (count - 1) * stride + self.steps + self.ahead for part, (count, stride) in windows.items()}

    @property
    def input(self) -> InputRecord:
        return self._series(self.names, self.steps)

    @property
    def learned(self) -> Mapping[str, object]:
        return {"target_mean": self.mean, "target_std": self.std, "ahead": self.ahead}

    @staticmethod
    def of_network(record: InputRecord, time_steps: int, task: TaskRecord) -> dict[str, int]:
        return {"steps": time_steps, "ahead": task.ahead} if task.ahead else {"steps": time_steps}


def _check_range(key: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise ValueError(f"{key} = {value} is refused; give {least:,} to {most:,}")
