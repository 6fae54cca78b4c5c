"""Series, and rows of tables, as labelled samples in memory."""

from collections.abc import Sequence
from typing import NoReturn, Self

import torch
from torch import Tensor

from hdlif.data.augment import Augment
from hdlif.data.samples import ImageSets, Samples
from hdlif.errors import DataError, ShapeError
from hdlif.inputs import series
from hdlif.ops import InputRecord


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
) -> ImageSets:
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
    return ImageSets(train, validation, test, classes=classes, shape=shape, mean=mean, std=std)
