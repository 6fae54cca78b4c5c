"""Wines of three cultivars by 13 measurements: a small table that scikit-learn bundles."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from hdlif.data.samples import ImageSets
from hdlif.data.series_samples import SeriesSamples
from hdlif.data.splits import SPLIT_SEED, check_validation
from hdlif.datasets import WINE_CLASSES, WINE_COLUMNS, WINE_MEAN, WINE_STD

_TEST = 45


def wine(root: Path | None = None, *, validation: int, augment: Sequence[str] = (), seed: int = 0) -> ImageSets:
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
    remaining = len(labels) - _TEST
    # A stratified split needs a row of every class on either side.
    check_validation("wine", validation, least=len(WINE_CLASSES), most=remaining - len(WINE_CLASSES))
    rest, test = train_test_split(np.arange(len(labels)), test_size=_TEST, stratify=labels, random_state=SPLIT_SEED)
    train, held_out = train_test_split(rest, test_size=validation, stratify=labels[rest], random_state=SPLIT_SEED)

    def rows(part: NDArray[np.int64]) -> SeriesSamples:
        x, y = torch.from_numpy(values[part]), torch.from_numpy(labels[part])
        return SeriesSamples(x, y, mean=WINE_MEAN, std=WINE_STD)

    shape = (len(WINE_COLUMNS), 1, 1)
    sets = (rows(train), rows(held_out), rows(test))
    return ImageSets(*sets, classes=WINE_CLASSES, shape=shape, mean=WINE_MEAN, std=WINE_STD)
