"""Images that do not fit in memory: read and decoded when a batch asks for them."""

from collections.abc import Sequence
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hdlif.data.augment import Augment, resized_crop
from hdlif.data.draws import random_bits
from hdlif.data.files import ByteSource
from hdlif.data.in_memory import normalised
from hdlif.data.samples import Samples
from hdlif.errors import DataError, reason
from hdlif.inputs import Unreadable, pictures

SUFFIXES = (".jpeg", ".jpg", ".png")
_CROP = "random_resized_crop"


class ImageFiles(Samples):
    """Labelled images of any size, decoded as RGB and normalised: x = (augmented pixels / 255 - mean) / std.

    The augmentation random_resized_crop makes them size x size. Without it the shorter side is resized to `short_side`
    (bilinearly, antialiased), and the centre is cut out. `places` [N] are the numbers of the samples in `source`.
    """

    _drawn_in_read = (_CROP,)

    def __init__(
        self,
        source: ByteSource,
        places: NDArray[np.int64],
        labels: Tensor,
        *,
        size: int,
        short_side: int,
        mean: Sequence[float],
        std: Sequence[float],
        augment: Augment | None = None,
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
        """Return the images at size x size; the shorter side keeps its proportion to the size."""
        return self._changed(size=size, short_side=round(self.short_side * size / self.size))

    def read(self, indices: Tensor) -> Tensor:
        """Return pixels uint8 [B, 3, size, size]."""
        places = [int(place) for place in self.places[indices.numpy()]]
        images = [self._decoded(place) for place in places]
        if self.augment[:1] == (_CROP,):
            bits = random_bits(indices.numpy(), seed=self.seed, epoch=self.epoch, stream=1)
            return resized_crop(images, bits, size=self.size)
        return torch.stack([self._centred(*one) for one in zip(images, places, strict=True)])

    def _centred(self, image: Tensor, place: int) -> Tensor:
        try:
            return self._centre(image)
        except Unreadable as error:
            raise DataError(f"{self.source.name(place)}: as large as is asked for, {error}; remove it") from error

    def _centre(self, image: Tensor) -> Tensor:
        from torchvision.transforms.v2 import functional as F

        if min(image.shape[1:]) != self.short_side:
            # The proportions are kept, so a strip one pixel wide would become a wide one as many times as long.
            shorter, longer = sorted(image.shape[1:])
            pictures.check_size(self.short_side, self.short_side * longer // shorter)
            image = F.resize(image, [self.short_side], antialias=True)
        centre: Tensor = F.center_crop(image, [self.size, self.size])
        return centre

    def _decoded(self, place: int) -> Tensor:
        from torchvision.transforms.v2 import functional as F

        try:
            image = pictures.decode(self.source.encoded(place), "RGB", SUFFIXES)
        except (OSError, Unreadable) as error:
            name = self.source.name(place)
            raise DataError(f"{name}: cannot be read as an image ({reason(error)}); extract it again") from error
        pixels: Tensor = F.pil_to_tensor(image)
        return pixels

    def scale(self, raw: Tensor) -> Tensor:
        """Return (raw / 255 - mean) / std."""
        return normalised(raw, self.mean, self.std)
