"""Load the handwritten digits and the wine data that are bundled with scikit-learn."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hdlif.data.augment import Augment
from hdlif.data.in_memory import Images, SeriesSamples, sets_in_memory
from hdlif.data.samples import DataSets
from hdlif.data.split import SPLIT_SEED, check_validation
from hdlif.inputs.datasets import DIGITS_CLASSES, DIGITS_MEAN, DIGITS_STD, WINE_CLASSES, WINE_MEAN, WINE_STD

_DIGITS_TEST, _WINE_TEST = 360, 45


def digits(root: Path | None = None, *, validation: int, augment: Augment = (), seed: int = 0) -> DataSets:
    """Load the 1,797 handwritten digits (8x8) bundled with scikit-learn.

    The 360 test images and the validation images are stratified by class and are the same for every seed.

    >>> from hdlif.data import digits
    >>> sets = digits(validation=200, augment=["shift"])
    >>> len(sets.train), len(sets.validation), len(sets.test), sets.shape
    (1237, 200, 360, (1, 8, 8))

    Args:
        root: not needed.
        validation: number of training samples that are held out.
        augment: names from `AUGMENTATIONS`, or `Augmentation`s, applied in this order to the training samples.
        seed: seed of the augmentation.
    """
    from sklearn.datasets import load_digits

    bunch = load_digits()
    # Scale grey levels 0..16 to bytes.
    pixels = np.rint(bunch.images * (255 / 16)).astype(np.uint8)[:, None]
    parts = _stratified("digits", pixels, bunch.target, len(DIGITS_CLASSES), _DIGITS_TEST, validation)
    return sets_in_memory(Images, parts, DIGITS_CLASSES, DIGITS_MEAN, DIGITS_STD, augment=augment, seed=seed)


def wine(root: Path | None = None, *, validation: int, augment: Sequence[str] = (), seed: int = 0) -> DataSets:
    """Load the wine data bundled with scikit-learn, which describe 178 wines by 13 features each.

    The 45 test rows and the validation rows are stratified by class and are the same for every seed.

    >>> from hdlif.data import wine
    >>> sets = wine(validation=20)
    >>> len(sets.train), len(sets.validation), len(sets.test), sets.shape
    (113, 20, 45, (13, 1, 1))

    Args:
        root, validation, augment, seed: as in `digits`.
    """
    from sklearn.datasets import load_wine

    bunch = load_wine()
    values, labels = bunch.data.astype(np.float32)[:, :, None, None], bunch.target.astype(np.int64)
    parts = _stratified("wine", values, labels, len(WINE_CLASSES), _WINE_TEST, validation)
    return sets_in_memory(SeriesSamples, parts, WINE_CLASSES, WINE_MEAN, WINE_STD)


def _stratified(
    name: str, values: NDArray[Any], labels: NDArray[np.int64], classes: int, test: int, validation: int
) -> list[tuple[Tensor, Tensor]]:
    """Return the values and labels of stratified training, validation and test splits."""
    from sklearn.model_selection import train_test_split

    # A stratified split needs a sample of every class on both sides.
    check_validation(name, validation, least=classes, most=len(labels) - test - classes)
    rest, tested = train_test_split(np.arange(len(labels)), test_size=test, stratify=labels, random_state=SPLIT_SEED)
    train, held_out = train_test_split(rest, test_size=validation, stratify=labels[rest], random_state=SPLIT_SEED)
    return [(torch.from_numpy(values[part]), torch.from_numpy(labels[part])) for part in (train, held_out, tested)]
