"""Data sets that scikit-learn bundles: handwritten digits, and a table of wines."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from hdlif.data.augment import Augment
from hdlif.data.in_memory import SeriesSamples, image_sets
from hdlif.data.samples import DataSets
from hdlif.data.split import SPLIT_SEED, check_validation
from hdlif.datasets import (
    DIGITS_CLASSES,
    DIGITS_MEAN,
    DIGITS_STD,
    WINE_CLASSES,
    WINE_COLUMNS,
    WINE_MEAN,
    WINE_STD,
)

_DIGITS_TEST, _WINE_TEST = 360, 45


def digits(root: Path | None = None, *, validation: int, augment: Augment = (), seed: int = 0) -> DataSets:
    """The 1,797 handwritten digits, 8x8, that scikit-learn bundles.

    360 test images and `validation` ones, each stratified by class and the same for every seed.

    >>> from hdlif.data import digits
    >>> sets = digits(validation=200, augment=["shift"])
    >>> len(sets.train), len(sets.validation), len(sets.test), sets.shape
    (1237, 200, 360, (1, 8, 8))

    Args:
        root: not needed.
        validation: how many samples are held out of the training ones.
        augment: names out of `AUGMENTATIONS`, or `Augmentation`s, for the training samples, in this order.
        seed: of the augmentation.
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    bunch = load_digits()
    # 0..16 grey levels to bytes.
    pixels = np.rint(bunch.images * (255 / 16)).astype(np.uint8)[:, None]
    labels = bunch.target
    remaining = len(labels) - _DIGITS_TEST
    # A stratified split needs an image of every class on either side.
    check_validation("digits", validation, least=10, most=remaining - 10)
    rest, test = train_test_split(
        np.arange(len(labels)), test_size=_DIGITS_TEST, stratify=labels, random_state=SPLIT_SEED
    )
    train, held_out = train_test_split(rest, test_size=validation, stratify=labels[rest], random_state=SPLIT_SEED)
    return image_sets(
        *((torch.from_numpy(pixels[part]), torch.from_numpy(labels[part])) for part in (train, held_out, test)),
        classes=DIGITS_CLASSES,
        mean=DIGITS_MEAN,
        std=DIGITS_STD,
        augment=augment,
        seed=seed,
    )


def wine(root: Path | None = None, *, validation: int, augment: Sequence[str] = (), seed: int = 0) -> DataSets:
    """178 wines, 13 numbers each.

    45 test rows and `validation` ones, each stratified by class and the same for every seed.

    >>> from hdlif.data import wine
    >>> sets = wine(validation=20)
    >>> len(sets.train), len(sets.validation), len(sets.test), sets.shape
    (113, 20, 45, (13, 1, 1))

    Args:
        root, validation, augment, seed: as of `digits`.
    """
    from sklearn.datasets import load_wine
    from sklearn.model_selection import train_test_split

    bunch = load_wine()
    values, labels = bunch.data.astype(np.float32)[:, :, None, None], bunch.target.astype(np.int64)
    remaining = len(labels) - _WINE_TEST
    # A stratified split needs a row of every class on either side.
    check_validation("wine", validation, least=len(WINE_CLASSES), most=remaining - len(WINE_CLASSES))
    rest, test = train_test_split(
        np.arange(len(labels)), test_size=_WINE_TEST, stratify=labels, random_state=SPLIT_SEED
    )
    train, held_out = train_test_split(rest, test_size=validation, stratify=labels[rest], random_state=SPLIT_SEED)

    def rows(part: NDArray[np.int64]) -> SeriesSamples:
        x, y = torch.from_numpy(values[part]), torch.from_numpy(labels[part])
        return SeriesSamples(x, y, mean=WINE_MEAN, std=WINE_STD)

    shape = (len(WINE_COLUMNS), 1, 1)
    sets = (rows(train), rows(held_out), rows(test))
    return DataSets(*sets, classes=WINE_CLASSES, shape=shape, mean=WINE_MEAN, std=WINE_STD)
