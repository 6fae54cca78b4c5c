"""Load Fashion-MNIST from IDX files."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hdlif.data.augment import Augment
from hdlif.data.in_memory import Images, sets_in_memory
from hdlif.data.roots import SetFolder, by_torchvision, refuse_other_counts
from hdlif.data.samples import DataSets
from hdlif.data.split import hold_out
from hdlif.errors import reason
from hdlif.inputs import MOST_BYTES, Unreadable
from hdlif.inputs.datasets import FASHION_MNIST_CLASSES, FASHION_MNIST_MEAN, FASHION_MNIST_STD
from hdlif.whole_files import read_regular

_UNSIGNED_BYTES = 8
"""Type code of unsigned bytes, the only accepted type."""


def parse_idx(content: bytes, dimensions: int) -> NDArray[np.uint8]:
    """Return the values in an IDX file as a uint8 view with the given number of dimensions.

    An IDX file consists of two zero bytes, the type, the number of dimensions, the lengths of the dimensions and the
    values. Each length is a 4-byte big-endian integer.

    Raises:
        Unreadable: the content has another format, or its size differs from the header.
    """
    start = 4 + 4 * dimensions
    if content[:4] != bytes([0, 0, _UNSIGNED_BYTES, dimensions]) or len(content) < start:
        expected = bytes([0, 0, _UNSIGNED_BYTES, dimensions]).hex(" ")
        raise Unreadable(
            f"begins with {content[:4].hex(' ')}; IDX of bytes in {dimensions} dimensions begins with {expected}"
        )
    shape = [int.from_bytes(content[i : i + 4], "big") for i in range(4, start, 4)]
    if math.prod(shape) != len(content) - start:
        raise Unreadable(f"should have {shape} values according to its header, but has {len(content) - start}")
    values: NDArray[Any] = np.frombuffer(content, np.uint8, offset=start)
    try:
        return values.reshape(shape)
    # A length of 0 can hide other lengths whose product exceeds any array.
    except ValueError as error:
        raise Unreadable(f"should have {shape} values according to its header, which no array can have") from error


def fashion_mnist(
    root: Path | None = None,
    *,
    validation: int,
    augment: Augment = (),
    seed: int = 0,
    per_class: tuple[int, int] = (6000, 1000),
) -> DataSets:
    """Load Fashion-MNIST (28x28) from ROOT/FashionMNIST/raw without downloading anything.

    The last images in a fixed permutation of the training set form the validation set.

    Args:
        per_class: required numbers of training and test images per class.
        root: the folder that contains the data; required.
        validation, augment, seed: as in `digits`.
    Raises:
        DataError: `root` is missing or damaged, or a class has the wrong number of images.
    """
    files = [f"{part}-{kind}-ubyte" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")]
    folder = SetFolder(
        "fashion_mnist",
        root,
        "FashionMNIST/raw",
        layout=", ".join(files),
        source=by_torchvision("FashionMNIST"),
        archive="PART.gz",
        holds=files,
    )
    pixels, labels = _read_fashion_mnist(folder, "train", per_class[0])
    train, held_out = hold_out("fashion_mnist", len(labels), validation)
    parts = [(pixels[part], labels[part]) for part in (train, held_out)] + [
        _read_fashion_mnist(folder, "t10k", per_class[1])
    ]
    return sets_in_memory(
        Images, parts, FASHION_MNIST_CLASSES, FASHION_MNIST_MEAN, FASHION_MNIST_STD, augment=augment, seed=seed
    )


def _read_fashion_mnist(folder: SetFolder, part: str, per_class: int) -> tuple[Tensor, Tensor]:
    """Return the training or test images as uint8 [N, 1, 28, 28], and the labels as int64 [N]."""
    pixels = _read_idx(folder, f"{part}-images-idx3-ubyte", 3)
    labels = _read_idx(folder, f"{part}-labels-idx1-ubyte", 1).long()
    if pixels.shape[1:] != (28, 28) or labels.shape != pixels.shape[:1] or not len(labels):
        seen = f"{part}: images {list(pixels.shape)} and labels {list(labels.shape)}"
        raise folder.error(folder.path, f"{seen} are not Fashion-MNIST")
    if int(labels.max()) >= len(FASHION_MNIST_CLASSES):
        raise folder.error(folder.path, f"{part}: a label is outside 0..9")
    refuse_other_counts(
        folder,
        f"{part}-labels-idx1-ubyte",
        labels,
        name="Fashion-MNIST",
        classes=FASHION_MNIST_CLASSES,
        per_class=per_class,
    )
    return pixels[:, None], labels


def _read_idx(folder: SetFolder, name: str, dimensions: int) -> Tensor:
    try:
        values = parse_idx(read_regular(folder.path / name, most=MOST_BYTES), dimensions)
    except (OSError, Unreadable) as error:
        raise folder.error(folder.path, f"{name} {reason(error)}") from error
    return torch.tensor(values)
