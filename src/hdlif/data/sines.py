"""Sines of three frequencies in noise: series that a small network learns in seconds, to try out a recipe with."""

import math
from pathlib import Path

import torch

from hdlif.data.augment import Augment
from hdlif.data.samples import ImageSets
from hdlif.data.series_samples import SeriesSamples
from hdlif.datasets import SINES_CLASSES, SINES_MEAN, SINES_SHAPE, SINES_STD
from hdlif.errors import DataError

TRAIN, TEST = 480, 150
PERIODS = (16.0, 8.0, 5.0)
"""In steps, of each class."""
_NOISE, _CONTENT_SEED = 0.3, 0


def sines(root: Path | None = None, *, validation: int, augment: Augment = (), seed: int = 0) -> ImageSets:
    """480 training and 150 test series of 2 channels and 32 steps, and `validation` more.

    A series of class c is a·sin(2π·t / period_c + φ) and the same a quarter of a period later, with a in 0.6..1.4, φ
    anywhere, and normal noise of 0.3 on each value. They are the same for every `seed`.

    >>> from hdlif.data import sines
    >>> sets = sines(validation=90)
    >>> len(sets.train), len(sets.validation), len(sets.test), sets.shape
    (480, 90, 150, (2, 32, 1))

    Args:
        root, validation, augment, seed: as of `digits`.
    """
    if validation < 1:
        raise DataError(f"sines: {validation} validation series are refused; set validation to 1 or more")
    generator = torch.Generator().manual_seed(_CONTENT_SEED)
    channels, steps, _ = SINES_SHAPE
    quarter = torch.arange(channels)[None, :, None] * math.pi / 2

    def draw(n: int, augment: Augment = ()) -> SeriesSamples:
        labels = torch.arange(n) % len(SINES_CLASSES)
        turns = torch.arange(steps) / torch.tensor(PERIODS)[labels][:, None] + torch.rand(n, 1, generator=generator)
        size = 0.6 + 0.8 * torch.rand(n, 1, 1, generator=generator)
        values = size * torch.sin(2 * math.pi * turns[:, None] + quarter)
        values += _NOISE * torch.randn(values.shape, generator=generator)
        return SeriesSamples(values[..., None], labels, mean=SINES_MEAN, std=SINES_STD, augment=augment, seed=seed)

    # The size of the validation set must not change the others, so it is drawn last.
    train, test = draw(TRAIN, augment), draw(TEST)
    return ImageSets(
        train, draw(validation), test, classes=SINES_CLASSES, shape=SINES_SHAPE, mean=SINES_MEAN, std=SINES_STD
    )
