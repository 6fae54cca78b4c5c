"""Data sets of static images whose pixels are kept as bytes in memory."""

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import Tensor

from hdlif.data.augment import Augment
from hdlif.data.idx import parse_idx
from hdlif.data.roots import SetFolder, by_torchvision
from hdlif.data.samples import ImageSets, Samples
from hdlif.data.splits import SPLIT_SEED, check_validation, fixed_permutation
from hdlif.datasets import (
    DIGITS_CLASSES,
    DIGITS_MEAN,
    DIGITS_STD,
    FASHION_MNIST_CLASSES,
    FASHION_MNIST_MEAN,
    FASHION_MNIST_STD,
)
from hdlif.errors import ShapeError, reason
from hdlif.inputs import MOST_BYTES, Unreadable, fitting
from hdlif.whole_files import read_regular

_DIGITS_TEST = 360


class Images(Samples):
    """Labelled images in memory, normalised as they are read: x = (augmented pixels / 255 - mean) / std.

    >>> import torch
    >>> from hdlif.data import Images
    >>> pixels = torch.full((4, 1, 8, 8), 255, dtype=torch.uint8)
    >>> images = Images(pixels, torch.arange(4), mean=[0.5], std=[0.25], augment=["shift"])
    >>> x, y = images.plain().sequence(torch.tensor([2]))
    >>> list(x.shape), x.max().item(), y.tolist()
    ([1, 1, 1, 8, 8], 2.0, [2])

    Args:
        pixels: uint8 [N, C, H, W].
        labels: int64 [N], or what else is learned of each image, [N, ...].
        mean: of pixels / 255, one per channel.
        std: likewise.
        augment: names out of `AUGMENTATIONS`, applied in this order.
        seed: of the augmentation.
    Raises:
        ShapeError: tensors of another type or shape.
        DataError: an unknown augmentation.
    """

    def __init__(
        self,
        pixels: Tensor,
        labels: Tensor,
        *,
        mean: Sequence[float],
        std: Sequence[float],
        augment: Augment | None = None,
        seed: int = 0,
    ) -> None:
        if pixels.dtype != torch.uint8 or pixels.ndim != 4:
            seen = f"{pixels.dtype} {list(pixels.shape)}"
            raise ShapeError(f"pixels are {seen}; give torch.uint8 [N, C, H, W]")
        if labels.shape[:1] != pixels.shape[:1] or (labels.ndim == 1 and labels.dtype != torch.int64):
            seen, n = f"{labels.dtype} {list(labels.shape)}", len(pixels)
            raise ShapeError(
                f"labels are {seen}; give torch.int64 [{n}], one per image, or what else is learned, [{n}, ...]"
            )
        if not len(mean) == len(std) == pixels.shape[1]:
            raise ShapeError(f"{len(mean)} means and {len(std)} stds; give one per channel, {pixels.shape[1]}")
        super().__init__(labels, augment=augment, seed=seed)
        self.pixels = pixels
        self.mean = tuple(mean)
        self.std = tuple(std)

    def first(self, count: int) -> Self:
        """The first `count` images, augmented and shown as these are."""
        return self._changed(pixels=self.pixels[:count], labels=self.labels[:count])

    def resized(self, size: int) -> Self:
        """The images at size x size, augmented and shown as these are."""
        from torchvision.transforms.v2 import functional as F

        return self._changed(pixels=F.resize(self.pixels, [size, size], antialias=True))

    def read(self, indices: Tensor) -> Tensor:
        """Pixels uint8 [B, C, H, W]."""
        return self.pixels[indices]

    def scale(self, raw: Tensor) -> Tensor:
        """(raw / 255 - mean) / std."""
        return normalised(raw, self.mean, self.std)


def normalised(pixels: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """(pixels / 255 - mean) / std in float32, of pixels 0..255 [B, C, H, W], as a deployed network's input is made."""
    return torch.from_numpy(fitting.normalised(pixels.numpy(), mean, std))


def digits(root: Path | None = None, *, validation: int, augment: Augment = (), seed: int = 0) -> ImageSets:
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


def fashion_mnist(
    root: Path | None = None,
    *,
    validation: int,
    augment: Augment = (),
    seed: int = 0,
    per_class: tuple[int, int] = (6000, 1000),
) -> ImageSets:
    """Fashion-MNIST, 28x28, read from ROOT/FashionMNIST/raw; nothing is downloaded.

    The validation images are the last ones of a fixed permutation of the training set.

    Args:
        per_class: training and test images that each class must have.
        root: the folder that holds the data; it is required.
        validation: how many samples are held out of the training ones.
        augment: names out of `AUGMENTATIONS`, or `Augmentation`s, for the training samples, in this order.
        seed: of the augmentation.
    Raises:
        DataError: `root` is missing or damaged, or a class has another number of images.
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
    pixels, labels = _read_fashion_mnist(folder, per_class[0], train=True)
    check_validation("fashion_mnist", validation, least=1, most=len(labels) - 1)
    order = fixed_permutation(len(labels))
    train, held_out = order[:-validation], order[-validation:]
    return image_sets(
        (pixels[train], labels[train]),
        (pixels[held_out], labels[held_out]),
        _read_fashion_mnist(folder, per_class[1], train=False),
        classes=FASHION_MNIST_CLASSES,
        mean=FASHION_MNIST_MEAN,
        std=FASHION_MNIST_STD,
        augment=augment,
        seed=seed,
    )


def image_sets(
    train: tuple[Tensor, Tensor],
    validation: tuple[Tensor, Tensor],
    test: tuple[Tensor, Tensor],
    *,
    classes: tuple[str, ...],
    mean: tuple[float, ...],
    std: tuple[float, ...],
    augment: Augment,
    seed: int,
) -> ImageSets:
    """The sets of three (pixels, labels) pairs; only the training images are augmented."""
    channels, height, width = train[0].shape[1:]
    return ImageSets(
        Images(*train, mean=mean, std=std, augment=augment, seed=seed),
        Images(*validation, mean=mean, std=std),
        Images(*test, mean=mean, std=std),
        classes=classes,
        shape=(channels, height, width),
        mean=mean,
        std=std,
    )


def _read_fashion_mnist(folder: SetFolder, per_class: int, *, train: bool) -> tuple[Tensor, Tensor]:
    """Pixels uint8 [N, 1, 28, 28] and labels int64 [N]."""
    part = "train" if train else "t10k"
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


def refuse_other_counts(
    folder: SetFolder, files: str, labels: Tensor, *, name: str, classes: Sequence[str], per_class: int
) -> None:
    """Raise `DataError` unless every class of the set `name` has `per_class` of the images of some files."""
    counts = torch.bincount(labels, minlength=len(classes)).tolist()
    for label, count in zip(classes, counts, strict=True):
        if count != per_class:
            raise folder.error(
                folder.path, f"{files}: {count} images of {label}; {name} has {per_class} of each class there"
            )
