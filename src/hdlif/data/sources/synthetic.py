"""Generate patterns and sine waves for trying out recipes, and tasks that require memory."""

import math
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from torch import Tensor

from hdlif.data.augment import Augment
from hdlif.data.draws import part_generator
from hdlif.data.in_memory import Images, SeriesSamples, sets_in_memory
from hdlif.data.samples import DataSets
from hdlif.data.split import check_generated
from hdlif.errors import DataError
from hdlif.inputs.datasets import (
    SINES_CLASSES,
    SINES_MEAN,
    SINES_SHAPE,
    SINES_STD,
    SYNTHETIC_CLASSES,
    SYNTHETIC_MEAN,
    SYNTHETIC_STD,
)
from hdlif.inputs.memory_tasks import MOST_VALUES, Copy, DelayedXor, MackeyGlass

TRAIN, TEST, SIDE, CLASSES = 320, 100, 8, len(SYNTHETIC_CLASSES)
SINES_TRAIN, SINES_TEST = 480, 150
PERIODS = (16.0, 8.0, 5.0)
"""Period of each class of sine waves, in steps."""
_NOISE, _CONTENT_SEED = 0.3, 0
TAU, BETA, GAMMA = 17, 0.2, 0.1
"""Parameters of the Mackey-Glass equation."""
STARTS: Mapping[str, float] = {"train": 1.2, "validation": 0.9, "test": 0.6}
"""Value of x(t) for t <= 0 in the time series of each part."""
SKIPPED = 1000
"""Number of time units that are discarded at the start."""
_SUBSTEPS = 10
"""Number of integration steps per unit of time."""


def synthetic(root: Path | None = None, *, validation: int, augment: Augment = (), seed: int = 0) -> DataSets:
    """Generate 1x8x8 images of ten classes: 320 for training, `validation` for validation and 100 for testing.

    Each class is a fixed pattern of 2x2 tiles with values 0 and 160, plus uniform noise from 0 to 95 in each pixel.

    >>> from hdlif.data import synthetic
    >>> sets = synthetic(validation=80)
    >>> len(sets.train), len(sets.validation), len(sets.test), sets.shape
    (320, 80, 100, (1, 8, 8))

    Args:
        root, validation, augment, seed: as in `digits`.
    """
    _check_validation("synthetic", "images", validation, (1, SIDE, SIDE))
    generator = torch.Generator().manual_seed(_CONTENT_SEED)
    tiles = 160 * torch.randint(2, (CLASSES, 1, SIDE // 2, SIDE // 2), generator=generator, dtype=torch.uint8)
    patterns = tiles.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)

    def draw(n: int) -> tuple[Tensor, Tensor]:
        labels = torch.arange(n) % CLASSES
        noise = torch.randint(96, (n, 1, SIDE, SIDE), generator=generator, dtype=torch.uint8)
        return patterns[labels] + noise, labels

    # The size of the validation set must not change the others, so it is drawn last.
    train, test = draw(TRAIN), draw(TEST)
    parts = train, draw(validation), test
    return sets_in_memory(Images, parts, SYNTHETIC_CLASSES, SYNTHETIC_MEAN, SYNTHETIC_STD, augment=augment, seed=seed)


def sines(root: Path | None = None, *, validation: int, augment: Augment = (), seed: int = 0) -> DataSets:
    """Generate time series (2 channels, 32 steps): 480 for training, `validation` for validation, 150 for testing.

    In class c, one channel is a·sin(2π·t / period_c + φ), and the other channel is shifted by a quarter period.
    The amplitude a (0.6 to 1.4) and the phase φ are random, and normal noise with standard deviation 0.3 is added to
    all values.

    >>> from hdlif.data import sines
    >>> sets = sines(validation=90)
    >>> len(sets.train), len(sets.validation), len(sets.test), sets.shape
    (480, 90, 150, (2, 32, 1))

    Args:
        root, validation, augment, seed: as in `digits`.
    """
    _check_validation("sines", "series", validation, SINES_SHAPE)
    generator = torch.Generator().manual_seed(_CONTENT_SEED)
    channels, steps, _ = SINES_SHAPE
    quarter = torch.arange(channels)[None, :, None] * math.pi / 2

    def draw(n: int) -> tuple[Tensor, Tensor]:
        labels = torch.arange(n) % len(SINES_CLASSES)
        turns = torch.arange(steps) / torch.tensor(PERIODS)[labels][:, None] + torch.rand(n, 1, generator=generator)
        size = 0.6 + 0.8 * torch.rand(n, 1, 1, generator=generator)
        values = size * torch.sin(2 * math.pi * turns[:, None] + quarter)
        values += _NOISE * torch.randn(values.shape, generator=generator)
        return values[..., None], labels

    # The size of the validation set must not change the others, so it is drawn last.
    train, test = draw(SINES_TRAIN), draw(SINES_TEST)
    parts = train, draw(validation), test
    return sets_in_memory(SeriesSamples, parts, SINES_CLASSES, SINES_MEAN, SINES_STD, augment=augment, seed=seed)


def _check_validation(name: str, samples: str, validation: int, shape: tuple[int, ...]) -> None:
    """Raise `DataError` unless the validation split has at least one sample and at most `MOST_VALUES` values."""
    most = MOST_VALUES // math.prod(shape)
    if not 1 <= validation <= most:
        raise DataError(f"{name}: {validation} validation {samples} are refused; set validation to 1 to {most:,}")


def copy_task(
    root: Path | None = None,
    *,
    content: Copy = Copy(),  # noqa: B008 - frozen
    validation: int,
    augment: Augment = (),
    seed: int = 0,
) -> DataSets:
    """Generate time series of symbols that must be repeated after a delay.

    Each time series has `delay` + 2·`symbols` steps and `alphabet` + 1 channels. At each of the first `symbols` steps,
    the channel of the current symbol is 1. The last channel is 1 at the step before the repetition starts, and all
    other inputs are 0. The class of each step is the symbol shown at that step, or the number `alphabet` for a blank.
    Symbols are independent and equally likely (Hochreiter and Schmidhuber 1997; Arjovsky, arXiv 1511.06464). The random
    generator of each split depends only on (`draw`, part). Splits may share sequences unless `alphabet`^`symbols` is
    very large.

    >>> import torch
    >>> from hdlif.data import copy_task, rows
    >>> from hdlif.inputs.memory_tasks import Copy
    >>> sets = copy_task(content=Copy(delay=5, symbols=2, alphabet=4, samples=40, test=10), validation=10)
    >>> sets.train.frames = rows
    >>> x, y = sets.train.sequence(torch.arange(3))
    >>> list(x.shape), list(y.shape)
    ([9, 3, 5, 1, 1], [3, 9])

    Args:
        content: delay, symbols, alphabet, sizes and draw; the defaults of `Copy` by default.
        root, validation, augment, seed: as in `digits`.
    """
    check_generated("copy", content, validation)
    record, shown = content.input, content.symbols

    def draw(part: int, n: int) -> tuple[Tensor, Tensor]:
        symbols = torch.randint(content.alphabet, (n, shown), generator=part_generator(content.draw, part))
        values, labels = torch.zeros(n, *record.shape), torch.full((n, content.steps), content.alphabet)
        values[:, :, :shown, 0].scatter_(1, symbols[:, None], 1.0)
        values[:, -1, shown + content.delay - 1, 0] = 1
        labels[:, :shown] = symbols
        return values, labels

    counts = (content.samples, validation, content.test)
    parts = [draw(part, n) for part, n in enumerate(counts)]
    return sets_in_memory(SeriesSamples, parts, content.names, record.mean, record.std, augment=augment, seed=seed)


def delayed_xor(
    root: Path | None = None,
    *,
    content: DelayedXor = DelayedXor(),  # noqa: B008 - frozen
    validation: int,
    augment: Augment = (),
    seed: int = 0,
) -> DataSets:
    """Generate time series with `delay` + 1 steps and two channels, in which the class is the XOR of two bits.

    Channel 0 contains one bit (-1 or 1) at step 0, another bit at step `delay`, and normal noise in between. Channel 1
    is 1 at steps 0 and `delay`, and 0 elsewhere. The four pairs of bits alternate, so each class and each value of a
    bit occurs in half of the samples. The random generator of each split depends only on (`draw`, part).

    >>> import torch
    >>> from hdlif.data import delayed_xor, rows
    >>> from hdlif.inputs.memory_tasks import DelayedXor
    >>> sets = delayed_xor(content=DelayedXor(delay=5, samples=40, test=10), validation=10)
    >>> sets.train.frames = rows
    >>> x, y = sets.train.sequence(torch.arange(3))
    >>> list(x.shape), list(y.shape)
    ([6, 3, 2, 1, 1], [3])

    Args:
        content: delay, noise, sizes and draw; the defaults of `DelayedXor` by default.
        root, validation, augment, seed: as in `digits`.
    """
    check_generated("delayed_xor", content, validation)
    record = content.input

    def draw(part: int, n: int) -> tuple[Tensor, Tensor]:
        pair = torch.arange(n) % 4
        bits = torch.stack([pair // 2, pair % 2], 1)
        values = torch.zeros(n, *record.shape)
        values[:, 0, :, 0] = content.noise * torch.randn(n, content.steps, generator=part_generator(content.draw, part))
        values[:, 0, [0, -1], 0] = 2.0 * bits - 1
        values[:, 1, [0, -1], 0] = 1
        return values, bits[:, 0] ^ bits[:, 1]

    counts = (content.samples, validation, content.test)
    parts = [draw(part, n) for part, n in enumerate(counts)]
    return sets_in_memory(SeriesSamples, parts, content.names, record.mean, record.std, augment=augment, seed=seed)


def mackey_glass(
    root: Path | None = None,
    *,
    content: MackeyGlass = MackeyGlass(),  # noqa: B008 - frozen
    validation: int,
    augment: Augment = (),
    seed: int = 0,
) -> DataSets:
    """Generate normalised windows of a chaotic time series, with the values `ahead` steps later as targets.

    The splits use time series with different initial values, so no split is a section of another.

    >>> import torch
    >>> from hdlif.data import mackey_glass, rows
    >>> from hdlif.inputs.memory_tasks import MackeyGlass
    >>> sets = mackey_glass(content=MackeyGlass(steps=20, samples=8, test=4), validation=4)
    >>> sets.train.frames = rows
    >>> x, y = sets.train.sequence(torch.arange(3))
    >>> list(x.shape), list(y.shape)
    ([20, 3, 1, 1, 1], [3, 20, 1])

    Args:
        content: steps, ahead, stride and sizes; the defaults of `MackeyGlass` by default.
        root, validation, augment, seed: as in `digits`; validation counts windows.
    """
    record = content.input
    check_generated("mackey_glass", content, validation)
    counts = {"train": content.samples, "validation": validation, "test": content.test}
    lengths = content.lengths(validation)

    def windows(part: str, stride: int) -> tuple[Tensor, Tensor]:
        values = series(SKIPPED + lengths[part], STARTS[part])[SKIPPED:]
        learned = (values - content.mean[0]) / content.std[0]
        # Views of all windows; only the selected ones are copied.
        shown, later = (sliding_window_view(x.astype(np.float32), content.steps) for x in (values, learned))
        begins = stride * np.arange(counts[part])
        return (
            torch.from_numpy(shown[begins][:, None, :, None]),
            torch.from_numpy(later[begins + content.ahead][..., None]),
        )

    # Test windows do not overlap.
    parts = [windows("train", content.stride), *(windows(part, content.steps) for part in ("validation", "test"))]
    return sets_in_memory(SeriesSamples, parts, content.names, record.mean, record.std, augment=augment, seed=seed)


@cache
def series(n: int, start: float) -> NDArray[np.float64]:
    """Solve the Mackey-Glass equation for x(0), x(1), ..., x(n - 1), with x(t) = `start` for t <= 0.

    The equation is dx/dt = f(x(t - τ)) - γ·x(t), with f(x) = β·x/(1 + x^10). The solver is the classical Runge-Kutta
    method with 10 steps per unit of time. The delayed value in the middle of a step is interpolated by a cubic
    polynomial through four neighbours. The solver uses only basic arithmetic, so the chaotic time series is the same on
    every machine.
    """
    lag, h = TAU * _SUBSTEPS, 1 / _SUBSTEPS

    def fed_back(x: float) -> float:
        square = x * x
        fourth = square * square
        return BETA * x / (1 + fourth * fourth * square)

    # Interpolating the first step requires one more value than the lag.
    x = [start] * (lag + 2)
    after = fed_back(start)
    for place in range(1, _SUBSTEPS * (n - 1) + 1):
        now = x[-1]
        middle = (9 * (x[place] + x[place + 1]) - (x[place - 1] + x[place + 2])) / 16
        before, between, after = after, fed_back(middle), fed_back(x[place + 1])
        k1 = before - GAMMA * now
        k2 = between - GAMMA * (now + h / 2 * k1)
        k3 = between - GAMMA * (now + h / 2 * k2)
        k4 = after - GAMMA * (now + h * k3)
        x.append(now + h / 6 * (k1 + 2 * (k2 + k3) + k4))
    whole = np.array(x[lag + 1 :: _SUBSTEPS])
    whole.setflags(write=False)
    return whole
