"""Random transforms that are pure functions of a batch and 64 random bits per sample.

Images with identical random parameters are transformed in one operation. Transforms with many random draws call
torchvision once per image, with torch's generator seeded by the image's bits. An event sample consists of T·2 maps, and
each transform changes all of them in the same way.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hdlif.data import image_targets
from hdlif.data.draws import Bits, expanded, of_each
from hdlif.data.image_targets import Together
from hdlif.errors import DataError, brief, first_line

Transform = Callable[[Tensor, Bits], Tensor]
"""Maps a batch [B, C, H, W] and bits [B] to a batch, without changing its input."""

MOST_ROLL, MOST_DEGREES, MOST_ZOOM = 5, 30.0, 10.0
AXES = 3
"""Number of channels of a sensor whose time series are rotated."""
GENERATOR = "generator"
"""Name of the argument that passes the random generator to a custom augmentation."""


@dataclass(frozen=True)
class Augmentation:
    """A transform for training samples, with properties that determine how `hdlif` applies it.

    >>> from hdlif.data import Augmentation, digits
    >>> def inverted(pixels, bits):
    ...     return 255 - pixels
    >>> sets = digits(validation=200, augment=["shift", Augmentation(inverted, name="inverted")])

    Attributes:
        apply: maps a batch [B, C, H, W] and random bits uint64 [B] to a batch; it must not change its input.
        normalised: whether it is applied after normalisation, when 0 is the mean.
        costly: whether it takes long enough to justify a worker process.
        name: the name shown in errors.
        pads: whether it only moves bytes over zeros. If the samples have a `fill`, it moves them over the fill instead.
        target: makes the transform of images with targets at places (`Samples.located`); "kept" if no pixel moves.
            Without it, the augmentation cannot be applied to such samples.
    """

    apply: Transform
    normalised: bool = False
    costly: bool = False
    name: str = ""
    pads: bool = False
    target: Together | Literal["kept"] | None = None

    def __str__(self) -> str:
        return self.name


Augment = Sequence[str | Augmentation]
"""Augmentations in the order in which they are applied: names in `AUGMENTATIONS`, or objects."""


def flip(pixels: Tensor, bits: Bits) -> Tensor:
    """Mirror each image horizontally with probability 1/2, like torchvision's RandomHorizontalFlip."""
    mirrored = torch.from_numpy(bits >> np.uint64(63) == 1)
    return torch.where(mirrored[:, None, None, None], pixels.flip(-1), pixels)


def flip_vertical(pixels: Tensor, bits: Bits) -> Tensor:
    """Mirror each image vertically with probability 1/2, like torchvision's RandomVerticalFlip."""
    return flip(pixels.mT, bits).mT


def shift(pixels: Tensor, bits: Bits) -> Tensor:
    """Shift each image by a random offset of up to 1/14 of each side, like torchvision's RandomCrop.

    The limit is 2 pixels for 28x28 and 32x32 images, and 1 pixel for 8x8 images. Uncovered areas are filled with
    `Samples.fill`, or with zeros if `fill` is None.
    """
    return _moved(pixels, bits, part=14)


def crop(pixels: Tensor, bits: Bits) -> Tensor:
    """Shift each image by up to 1/8 of each side at random, like RandomCrop(32, padding=4) for 32x32 images."""
    return _moved(pixels, bits, part=8)


def _moved(pixels: Tensor, bits: Bits, *, part: int) -> Tensor:
    height, width = pixels.shape[-2:]
    low, high = bits & np.uint64(0xFFFFFFFF), bits >> np.uint64(32)
    down, right = max(1, round(height / part)), max(1, round(width / part))
    top, left = _offset(low, most=down), _offset(high, most=right)
    padded = torch.nn.functional.pad(pixels, (right, right, down, down))
    moved = torch.empty_like(pixels)
    for y, x in np.unique(np.stack([top, left], axis=1), axis=0).tolist():
        drew_it = torch.from_numpy((top == y) & (left == x))
        moved[drew_it] = padded[drew_it, :, y + down : y + down + height, x + right : x + right + width]
    return moved


def _offset(bits: Bits, *, most: int) -> NDArray[np.int64]:
    """Convert 32 random bits to an offset from -`most` to `most`, uniform to within 1 in 10**6."""
    return (bits % np.uint64(2 * most + 1)).astype(np.int64) - most


def cutout(x: Tensor, bits: Bits, *, side: int) -> Tensor:
    """Zero a square of `side` x `side` pixels around a random pixel of each image, as in Cutout."""
    height, width = x.shape[-2:]
    centres = ((bits & np.uint64(0xFFFFFFFF)) % np.uint64(height), (bits >> np.uint64(32)) % np.uint64(width))
    inside = []
    for centre, extent in zip(centres, (height, width), strict=True):
        first = torch.from_numpy(centre.astype(np.int64))[:, None] - side // 2
        place = torch.arange(extent)
        inside.append((place >= first) & (place < first + side))
    return x.masked_fill((inside[0][:, :, None] & inside[1][:, None, :])[:, None], 0)


def event_policy(x: Tensor, bits: Bits) -> Tensor:
    """Apply two transforms, drawn with replacement from roll, rotation and cutout, to all channels of each sample.

    A roll shifts the maps cyclically by up to 5 pixels on each axis. A rotation turns the maps by up to 30 degrees,
    with nearest-neighbour interpolation and zero padding. A cutout zeroes a square whose side is a third of the image's
    width.
    """
    turns = expanded(bits, 4)
    for kind, amount in ((turns[:, 0], turns[:, 1]), (turns[:, 2], turns[:, 3])):
        chosen = torch.from_numpy((kind % np.uint64(3)).astype(np.int64))
        x = x.clone()
        transforms: tuple[Transform, ...] = (_roll, _rotate, partial(cutout, side=round(x.shape[-1] / 3)))
        for number, transform in enumerate(transforms):
            drew_it = chosen == number
            if drew_it.any():
                x[drew_it] = transform(x[drew_it], amount[drew_it.numpy()])
    return x


def _roll(x: Tensor, bits: Bits) -> Tensor:
    down = _offset(bits & np.uint64(0xFFFFFFFF), most=MOST_ROLL).tolist()
    right = _offset(bits >> np.uint64(32), most=MOST_ROLL).tolist()
    return torch.stack([s.roll((d, r), (-2, -1)) for s, d, r in zip(x, down, right, strict=True)])


def _rotate(x: Tensor, bits: Bits) -> Tensor:
    from torchvision.transforms.v2 import functional as F

    # A float64 holds 53 bits.
    share = (bits >> np.uint64(11)).astype(np.float64) / 2**53
    degrees = ((2 * share - 1) * MOST_DEGREES).tolist()
    return torch.stack([F.rotate(sample, angle) for sample, angle in zip(x, degrees, strict=True)])


def autoaugment(pixels: Tensor, bits: Bits, *, policy: Literal["cifar10", "imagenet"]) -> Tensor:
    """Apply a random sub-policy of AutoAugment (Cubuk et al. 2019) to each uint8 image with 1 or 3 channels."""
    from torchvision.transforms import v2

    return of_each(v2.AutoAugment(v2.AutoAugmentPolicy(policy)), list(pixels), bits)


def resized_crop(images: list[Tensor], bits: Bits, *, size: int) -> Tensor:
    """Resize a random crop of each image to `size` x `size`, like torchvision's RandomResizedCrop.

    The crop covers 8 to 100 % of the image's area, with an aspect ratio between 3:4 and 4:3.
    """
    from torchvision.transforms import v2

    return of_each(v2.RandomResizedCrop(size, antialias=True), images, bits)


def random_resized_crop(pixels: Tensor, bits: Bits) -> Tensor:
    """Apply `resized_crop` without changing the size of the images."""
    return resized_crop(list(pixels), bits, size=pixels.shape[-1])


def recoloured(pixels: Tensor, bits: Bits, *, strength: float) -> Tensor:
    """Multiply brightness, contrast and saturation by random factors between 1 - `strength` and 1 + `strength`."""
    from torchvision.transforms import v2

    return of_each(v2.ColorJitter(strength, strength, strength), list(pixels), bits)


def zoomed(x: Tensor, bits: Bits, *, largest: float) -> Tensor:
    """Zoom and shift each normalised image with `image_targets.zoomed`."""
    return of_each(image_targets.zoomed(*x.shape[-2:], largest=largest), list(x), bits)


def _autoaugment(policy: Literal["cifar10", "imagenet"]) -> Augmentation:
    return Augmentation(partial(autoaugment, policy=policy), costly=True)


def jittered(x: Tensor, bits: Bits, *, deviation: float) -> Tensor:
    """Add normally distributed noise with standard deviation σ to each normalised value."""
    return of_each(lambda one: one + deviation * torch.randn(one.shape), list(x), bits)


def scaled(x: Tensor, bits: Bits, *, deviation: float) -> Tensor:
    """Multiply each normalised channel of a time series by a random factor 1 + σ·n, where n is standard normal."""
    return of_each(lambda one: one * (1 + deviation * torch.randn(len(one), 1, 1)), list(x), bits)


def rotated(x: Tensor, bits: Bits, *, deviation: float) -> Tensor:
    """Rotate raw time series from three-channel sensors (x, y and z) in space.

    All sensors in a sample are rotated by |σ·n| radians about the random vector n, whose entries are standard normal.
    Raises `DataError` unless the number of channels is a multiple of three.
    """
    if x.shape[1] % AXES:
        raise DataError(f"rotate needs three channels (x, y, z) per sensor; the series has {x.shape[1]}")

    def turned(one: Tensor) -> Tensor:
        a, b, c = (deviation * torch.randn(AXES)).tolist()
        turn = torch.linalg.matrix_exp(torch.tensor([[0, -c, b], [c, 0, -a], [-b, a, 0]], dtype=one.dtype))
        result: Tensor = (turn @ one.reshape(-1, AXES, one.shape[1])).reshape(one.shape)
        return result

    return of_each(turned, list(x), bits)


def jitter(*, deviation: float = 0.05) -> Augmentation:
    """Return an augmentation that applies `jittered`."""
    return Augmentation(partial(jittered, deviation=_positive(deviation)), normalised=True, name="jitter")


def scale(*, deviation: float = 0.1) -> Augmentation:
    """Return an augmentation that applies `scaled`."""
    return Augmentation(partial(scaled, deviation=_positive(deviation)), normalised=True, name="scale")


def rotate(*, deviation: float = 0.1) -> Augmentation:
    """Return an augmentation that applies `rotated`."""
    return Augmentation(partial(rotated, deviation=_positive(deviation)), name="rotate")


def color_jitter(*, strength: float = 0.2) -> Augmentation:
    """Return an augmentation that applies `recoloured`."""
    if not 0 < strength <= 1:
        raise ValueError(f"strength = {strength}; it must be above 0, and at most 1")
    return Augmentation(partial(recoloured, strength=strength), name="color_jitter", target="kept")


def zoom(*, largest: float = 1.5) -> Augmentation:
    """Return an augmentation that applies `zoomed` to normalised images."""
    if not 1 < largest <= MOST_ZOOM:
        raise ValueError(f"largest = {largest}; it must be above 1, and at most {MOST_ZOOM:g}")
    together = partial(image_targets.zoomed, largest=largest)
    return Augmentation(partial(zoomed, largest=largest), normalised=True, name="zoom", target=together)


def _positive(deviation: float) -> float:
    if not 0 < deviation < math.inf:
        raise ValueError(f"deviation = {deviation}; it must be above 0")
    return deviation


# `recipe.builders.augment` lists the samples that each augmentation accepts.
AUGMENTATIONS: Mapping[str, Augmentation] = {
    "autoaugment_cifar10": _autoaugment("cifar10"),
    "autoaugment_imagenet": _autoaugment("imagenet"),
    "color_jitter": color_jitter(),
    "crop": Augmentation(crop, pads=True, target=partial(image_targets.shifted, part=8)),
    "cutout_12": Augmentation(partial(cutout, side=12), normalised=True, target="kept"),
    "cutout_16": Augmentation(partial(cutout, side=16), normalised=True, target="kept"),
    "event_policy": Augmentation(event_policy, costly=True),
    "flip": Augmentation(flip, target=image_targets.flipped),
    "flip_vertical": Augmentation(flip_vertical, target=image_targets.flipped_vertically),
    "jitter": jitter(),
    "random_resized_crop": Augmentation(random_resized_crop, costly=True, target=image_targets.resized_crop),
    "rotate": rotate(),
    "scale": scale(),
    "shift": Augmentation(shift, pads=True, target=partial(image_targets.shifted, part=14)),
    "zoom": zoom(),
}


@dataclass(frozen=True)
class OwnTransform:
    """A callable that applies `transform` to each sample after seeding torch's generator with the sample's random bits.

    Raises:
        DataError: `transform` fails, or does not return a tensor of the sample's shape and type.
    """

    transform: Callable[..., Any]
    name: str
    takes_generator: bool

    def __call__(self, x: Tensor, bits: Bits) -> Tensor:
        return of_each(self._one, list(x), bits)

    def _one(self, sample: Tensor) -> Tensor:
        given = {GENERATOR: torch.default_generator} if self.takes_generator else {}
        shape, dtype = sample.shape, sample.dtype
        try:
            made = self.transform(sample, **given)
        except Exception as error:
            raise DataError(f"data.augment: {self.name}: {type(error).__name__}: {first_line(error)}") from error
        if isinstance(made, Tensor) and (made.shape, made.dtype) == (shape, dtype):
            return made
        seen = f"{made.dtype} {list(made.shape)}" if isinstance(made, Tensor) else brief(made)
        raise DataError(
            f"data.augment: {self.name} returns {seen} for a sample {dtype} {list(shape)}; it must return a tensor of "
            "the same shape and type"
        )


def own_augmentation(transform: Callable[..., Any], name: str, *, takes_generator: bool) -> Augmentation:
    """Return an augmentation that applies `transform`, which may have the attributes `normalised` and `costly`.

    Transforms from torchvision.transforms.v2 are also applied to label maps and boxes. A custom transform leaves label
    maps and boxes unchanged if its attribute `keeps_places` is true.
    """
    return Augmentation(
        OwnTransform(transform, name, takes_generator),
        normalised=bool(getattr(transform, "normalised", False)),
        costly=bool(getattr(transform, "costly", False)),
        name=name,
        target=_target_of(transform),
    )


def _as_it_is(transform: Any, height: int, width: int) -> Any:
    return transform


def _target_of(transform: Callable[..., Any]) -> Together | Literal["kept"] | None:
    from torchvision.transforms import v2

    if isinstance(transform, v2.Transform):
        return partial(_as_it_is, transform)
    return "kept" if getattr(transform, "keeps_places", False) else None
