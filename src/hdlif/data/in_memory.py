"""Samples that are kept in memory: images as bytes, and time series or rows of tables as numbers."""

from collections.abc import Sequence
from typing import NoReturn, Self

import torch
from torch import Tensor

from hdlif.data.augment import Augment
from hdlif.data.samples import DataSets, Samples
from hdlif.errors import DataError, ShapeError
from hdlif.inputs import fitting, series
from hdlif.ops import InputRecord


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
) -> DataSets:
    """The sets of three (pixels, labels) pairs; only the training images are augmented."""
    channels, height, width = train[0].shape[1:]
    return DataSets(
        Images(*train, mean=mean, std=std, augment=augment, seed=seed),
        Images(*validation, mean=mean, std=std),
        Images(*test, mean=mean, std=std),
        classes=classes,
        shape=(channels, height, width),
        mean=mean,
        std=std,
    )


class SeriesSamples(Samples):
    """Labelled series in memory: x = (values - mean) / std by channel.

    Args:
        values: float32 [N, C, T, 1], as `hdlif.inputs.series.as_sample` lays them out.
        labels: [N, ...], what is learned of each; of a class int64 [N].
        mean, std: one per channel.
        augment, seed: as of `Samples`.
    Raises:
        ShapeError: tensors of another type or shape.
    """

    def __init__(
        self,
        values: Tensor,
        labels: Tensor,
        *,
        mean: Sequence[float],
        std: Sequence[float],
        augment: Augment | None = None,
        seed: int = 0,
    ) -> None:
        if values.dtype != torch.float32 or values.ndim != 4 or values.shape[3] != 1:
            raise ShapeError(f"values are {values.dtype} {list(values.shape)}; give torch.float32 [N, C, T, 1]")
        if labels.shape[:1] != values.shape[:1] or not len(mean) == len(std) == values.shape[1]:
            raise ShapeError(
                f"{list(values.shape)} values, {list(labels.shape)} labels, {len(mean)} means and {len(std)} stds; "
                "give a label for each series, and a mean and std for each channel"
            )
        super().__init__(labels, augment=augment, seed=seed)
        self.values, self.mean, self.std = values, tuple(mean), tuple(std)

    def first(self, count: int) -> Self:
        """The first `count` series, shown as these are."""
        return self._changed(values=self.values[:count], labels=self.labels[:count])

    def resized(self, size: int) -> NoReturn:
        """Series have no such size: raises `DataError`."""
        raise DataError(f"series have no side of {size} or another; leave size out")

    def read(self, indices: Tensor) -> Tensor:
        """Values float32 [B, C, T, 1]."""
        return self.values[indices]

    def scale(self, raw: Tensor) -> Tensor:
        """(raw - mean) / std."""
        return torch.from_numpy(series.normalised(raw.numpy(), self.mean, self.std))


def series_sets(
    parts: Sequence[tuple[Tensor, Tensor]],
    record: InputRecord,
    classes: tuple[str, ...],
    *,
    augment: Augment = (),
    seed: int = 0,
) -> DataSets:
    """Sets of series in memory.

    Args:
        parts: values and labels, as of `SeriesSamples`, of the training, validation and test part.
        record: what a sample is.
        classes: names of the classes or values.
        augment, seed: of the training part.
    """
    train, validation, test = (
        SeriesSamples(values, labels, mean=record.mean, std=record.std, augment=() if place else augment, seed=seed)
        for place, (values, labels) in enumerate(parts)
    )
    shape, mean, std = record.shape, record.mean, record.std
    return DataSets(train, validation, test, classes=classes, shape=shape, mean=mean, std=std)
