"""In-memory samples: images as bytes, and time series and table rows as float32."""

from collections.abc import Sequence
from typing import ClassVar, Self

import torch
from torch import Tensor

from hdlif.data.augment import Augment
from hdlif.data.image_targets import Located
from hdlif.data.samples import DataSets, Samples
from hdlif.errors import ShapeError
from hdlif.inputs import fitting


class _InMemory(Samples):
    """Base class for in-memory samples [N, C, ...] that are normalised per channel."""

    DTYPE: ClassVar[torch.dtype]
    WHOLE: ClassVar[int]
    """Full scale, by which raw values are divided."""

    def __init__(
        self,
        values: Tensor,
        labels: Tensor,
        *,
        mean: Sequence[float],
        std: Sequence[float],
        augment: Augment | None = None,
        seed: int = 0,
        located: Located | None = None,
    ) -> None:
        if values.dtype != self.DTYPE or values.ndim != 4:
            seen = f"{values.dtype} {list(values.shape)}"
            raise ShapeError(f"samples are {seen}; give {self.DTYPE} [N, C, ...] with 4 axes")
        n, channels = values.shape[:2]
        if labels.shape[:1] != (n,) or (labels.ndim == 1 and labels.dtype != torch.int64):
            seen = f"{labels.dtype} {list(labels.shape)}"
            raise ShapeError(f"labels are {seen}; give torch.int64 [{n}], one per sample, or other targets [{n}, ...]")
        if not len(mean) == len(std) == channels:
            raise ShapeError(f"{len(mean)} means and {len(std)} stds; give one of each per channel, {channels}")
        super().__init__(labels, augment=augment, seed=seed, located=located)
        self.values, self.mean, self.std = values, tuple(mean), tuple(std)

    def first(self, count: int) -> Self:
        """Return the first `count` samples, with the same augmentation and the same `frames` function."""
        return self._changed(values=self.values[:count], labels=self.labels[:count])

    def read(self, indices: Tensor) -> Tensor:
        """Return the raw samples at `indices` as [B, C, ...]."""
        return self.values[indices]

    def scale(self, raw: Tensor) -> Tensor:
        """Normalise raw samples in float32, exactly as the runtime normalises the input of a deployed network."""
        return normalised(raw, self.mean, self.std, whole=self.WHOLE)


class Images(_InMemory):
    """Labelled images in memory, normalised to x = (augmented pixels / 255 - mean) / std when read.

    >>> import torch
    >>> from hdlif.data import Images
    >>> pixels = torch.full((4, 1, 8, 8), 255, dtype=torch.uint8)
    >>> images = Images(pixels, torch.arange(4), mean=[0.5], std=[0.25], augment=["shift"])
    >>> x, y = images.plain().sequence(torch.tensor([2]))
    >>> list(x.shape), x.max().item(), y.tolist()
    ([1, 1, 1, 8, 8], 2.0, [2])

    Args:
        values: the pixels uint8 [N, C, H, W].
        labels: int64 [N], or other targets [N, ...].
        mean, std: mean and deviation of pixels / 255, one per channel.
        augment, seed, located: as in `Samples`.
    Raises:
        ShapeError: the tensors have another type or shape.
        DataError: an augmentation is unknown.
    """

    DTYPE, WHOLE = torch.uint8, 255

    @property
    def pixels(self) -> Tensor:
        """The raw pixels as uint8 [N, C, H, W]."""
        return self.values

    def resized(self, size: int) -> Self:
        """Return the images resized to `size` x `size`, with the same augmentation and the same `frames` function."""
        from torchvision.transforms.v2 import functional as F

        return self._changed(values=F.resize(self.values, [size, size], antialias=True))


class SeriesSamples(_InMemory):
    """Labelled in-memory time series or table rows, as float32 [N, C, T, 1]."""

    DTYPE, WHOLE = torch.float32, 1


def normalised(raw: Tensor, mean: Sequence[float], std: Sequence[float], *, whole: int = 255) -> Tensor:
    """Return (raw / whole - mean) / std in float32 for raw samples [B, C, H, W], with `mean` and `std` per channel."""
    return torch.from_numpy(fitting.normalised(raw.numpy(), mean, std, whole=whole))


def sets_in_memory(
    kind: type[Images | SeriesSamples],
    parts: Sequence[tuple[Tensor, Tensor]],
    classes: tuple[str, ...],
    mean: tuple[float, ...],
    std: tuple[float, ...],
    *,
    augment: Augment = (),
    seed: int = 0,
) -> DataSets:
    """Create data sets from three pairs of raw samples and labels, augmenting only the training samples."""
    train, validation, test = parts
    channels, height, width = train[0].shape[1:]
    return DataSets(
        kind(*train, mean=mean, std=std, augment=augment, seed=seed),
        kind(*validation, mean=mean, std=std),
        kind(*test, mean=mean, std=std),
        classes=classes,
        shape=(channels, height, width),
        mean=mean,
        std=std,
    )
