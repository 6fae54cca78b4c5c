"""Images that do not fit in memory: read and decoded when a batch asks for them."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hdlif.data.augment import resized_crop
from hdlif.data.draws import random_bits
from hdlif.data.images import normalised
from hdlif.data.samples import Samples
from hdlif.errors import DataError

SUFFIXES = (".jpeg", ".jpg", ".png")
_CROP = "random_resized_crop"


class Source(Protocol):
    """Encoded images by place, 0..N-1."""

    def encoded(self, place: int) -> bytes:
        """The bytes of an image file."""

    def name(self, place: int) -> str:
        """Where it lies, for an error."""


class Folder:
    """Image files below one folder.

    Paths are held in one array: a million Python strings would be copied into every worker as their reference counts
    are touched.
    """

    def __init__(self, root: Path, paths: Sequence[str]) -> None:
        self.root = root
        encoded = [path.encode() for path in paths]
        self._text = np.frombuffer(b"".join(encoded), np.uint8)
        self._ends = np.cumsum([0, *map(len, encoded)])

    def name(self, place: int) -> str:
        path = self._text[self._ends[place] : self._ends[place + 1]].tobytes().decode()
        return str(self.root / path)

    def encoded(self, place: int) -> bytes:
        return Path(self.name(place)).read_bytes()


class ImageFiles(Samples):
    """Labelled images of any size, decoded as RGB and normalised: x = (augmented pixels / 255 - mean) / std.

    They become size x size by the augmentation random_resized_crop, where it is asked for, and else by resizing the
    shorter side to `short_side` and cutting out the centre; bilinearly, antialiased.

    Args:
        source: of the encoded images.
        places: int64 [N], where in the source each sample is.
        labels: int64 [N].
        size: side of the images.
        short_side: at least `size`.
        mean, std, augment, seed: as of `Images`.
    """

    _drawn_in_read = (_CROP,)

    def __init__(
        self,
        source: Source,
        places: NDArray[np.int64],
        labels: Tensor,
        *,
        size: int,
        short_side: int,
        mean: Sequence[float],
        std: Sequence[float],
        augment: Sequence[str] | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(labels, augment=augment, seed=seed)
        if _CROP in self.augment[1:]:
            raise DataError(f"augment: {list(self.augment)}: {_CROP} chooses what is read, so name it first and once")
        self.source, self.places = source, places
        self.size, self.short_side = size, short_side
        self.mean, self.std = tuple(mean), tuple(std)

    @property
    def costly(self) -> bool:
        return True

    def resized(self, size: int) -> Self:
        """The same images at size x size; the shorter side keeps its proportion to the size."""
        return self._changed(size=size, short_side=round(self.short_side * size / self.size))

    def read(self, indices: Tensor) -> Tensor:
        """Pixels uint8 [B, 3, size, size]."""
        images = [self._decoded(int(place)) for place in self.places[indices.numpy()]]
        if self.augment[:1] == (_CROP,):
            bits = random_bits(indices.numpy(), seed=self.seed, epoch=self.epoch, stream=1)
            return resized_crop(images, bits, size=self.size)
        return torch.stack([self._centre(image) for image in images])

    def _centre(self, image: Tensor) -> Tensor:
        from torchvision.transforms.v2 import functional as F

        if min(image.shape[1:]) != self.short_side:
            image = F.resize(image, [self.short_side], antialias=True)
        centre: Tensor = F.center_crop(image, [self.size, self.size])
        return centre

    def _decoded(self, place: int) -> Tensor:
        from PIL import Image
        from torchvision.transforms.v2 import functional as F

        try:
            with Image.open(io.BytesIO(self.source.encoded(place))) as image:
                pixels: Tensor = F.pil_to_tensor(image.convert("RGB"))
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            name = self.source.name(place)
            raise DataError(f"{name}: cannot be read as an image ({error}); extract it again") from error
        return pixels

    def scale(self, raw: Tensor) -> Tensor:
        """(raw / 255 - mean) / std."""
        return normalised(raw, self.mean, self.std)
