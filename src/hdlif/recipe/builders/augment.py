"""The key `data.augment`: shipped and custom augmentations with their arguments."""

from __future__ import annotations

import inspect
from collections.abc import Collection
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Self

from hdlif.config import Component, DataConfig
from hdlif.errors import DataError, RecipeError
from hdlif.recipe.builders.part import At, Part, Section, field, takes, without_keys

if TYPE_CHECKING:
    from hdlif.data.augment import Augmentation

KEY = "data.augment"
_GENERATOR = "generator"
"""Copy of `hdlif.data.augment.GENERATOR`, whose module needs PyTorch."""
_MARKS = ("normalised", "costly", "keeps_places")
"""Names of the attributes of a custom function that `own_augmentation` reads."""
_GIVEN = {"image": "8-bit pixels", "events": "counts", "series": "series", "table": "rows of numbers"}
_MAPS = ("image", "events")


class Augment(Part):
    """An augmentation; `samples` lists the accepted kinds of samples, or is None if any kind is accepted."""

    samples: ClassVar[tuple[str, ...] | None] = _MAPS


class _OfSeries(Augment):
    samples = ("series",)
    deviation: float = field(0.1, "Standard deviation of the change.")


class Jitter(_OfSeries, kind="jitter", makes=At("hdlif.data.augment:jitter")):
    """Add Gaussian noise to each value of a time series."""

    deviation: float = field(0.05, "Standard deviation of the change.")


class Rotate(_OfSeries, kind="rotate", makes=At("hdlif.data.augment:rotate")):
    """Rotate sensor axes at random, in groups of three channels."""


class Scale(_OfSeries, kind="scale", makes=At("hdlif.data.augment:scale")):
    """Multiply each channel of a time series by a random factor close to 1."""


class ColorJitter(Augment, kind="color_jitter", makes=At("hdlif.data.augment:color_jitter")):
    """Change brightness, contrast and saturation of images at random."""

    samples = ("image",)
    strength: float = field(0.2, "Maximum change of each property, as a fraction.")


class Zoom(Augment, kind="zoom", makes=At("hdlif.data.augment:zoom")):
    """Enlarge or shrink images at random and fill the border with the mean."""

    largest: float = field(1.5, "Maximum factor of enlargement or reduction.")


_MAPPED = {
    "crop": "A random crop of the padded image.",
    "cutout_12": "Blank a random square of side 12.",
    "cutout_16": "Blank a random square of side 16.",
    "flip": "Mirror left and right at random.",
    "flip_vertical": "Mirror top and bottom at random.",
    "shift": "Shift by a random number of pixels.",
}
_OF_IMAGES = {
    "autoaugment_cifar10": "AutoAugment's policy for CIFAR-10.",
    "autoaugment_imagenet": "AutoAugment's policy for ImageNet.",
    "random_resized_crop": "Resize a random part to the full size.",
}


class Own(Augment):
    """A custom augmentation: a function of a sample, or a class whose instances are callable."""

    samples = None

    @classmethod
    def derive(cls, function: Any, key: str, kind: str, given: Collection[str] = ()) -> type[Self]:
        part = super().derive(function, key, kind, given)
        if isinstance(function, type):
            return part
        first = next(iter(takes(function)), _GENERATOR)
        if first == _GENERATOR:
            fix = "it must be a function (x, generator), or a class with such a call"
            raise RecipeError(f'{key} = "{kind}" has no parameter for the sample; {fix}')
        return super().derive(function, key, kind, (first, _GENERATOR))

    def build(self, **given: Any) -> Augmentation:
        from hdlif.data.augment import own_augmentation

        make = self.MAKES
        transform: Any = super().build() if isinstance(make, type) else make
        if not callable(transform):
            fix = "give it __call__(x, generator)"
            raise RecipeError(f'{KEY} = "{self.kind}" makes an object that cannot be called with a sample; {fix}')
        takes_generator = _GENERATOR in inspect.signature(transform).parameters
        if transform is make and self.arguments:
            transform = partial(make, **self.arguments)
            vars(transform).update({name: getattr(make, name) for name in _MARKS if hasattr(make, name)})
        return own_augmentation(transform, self.kind, takes_generator=takes_generator)


AUGMENTS = Section[Augment](
    KEY,
    *without_keys(Augment, _MAPPED),
    *without_keys(Augment, _OF_IMAGES, samples=("image",)),
    *without_keys(Augment, {"event_policy": "A random change of event-camera recordings."}, samples=("events",)),
    *(Jitter, Rotate, Scale, ColorJitter, Zoom),
    own=Own,
    name=KEY,
)


def read_augment(section: DataConfig, samples: str | None) -> list[Augment]:
    """Check `data.augment` for a kind of samples; pass None before the data are inspected. Raises `RecipeError`."""
    parts = [AUGMENTS.read(one, f"{KEY}.{place}") for place, one in enumerate(_stated(section))]
    for part in parts:
        if samples is not None and part.samples is not None and samples not in part.samples:
            raise RecipeError(
                f'{KEY}: "{part.kind}" takes {" or ".join(_GIVEN[one] for one in part.samples)}, but {section.kind} '
                f"gives {_GIVEN[samples]}; leave it out"
            )
    return parts


def build_augment(section: DataConfig, samples: str) -> list[str | Augmentation]:
    """Return the augmentations in order; a shipped augmentation without arguments is represented by its name."""
    return [part.build() or part.kind for part in read_augment(section, samples)]


def try_augment(section: DataConfig, samples: str, shape: tuple[int, ...]) -> None:
    """Raise `RecipeError` if a custom augmentation fails on a raw sample, or is not reproducible."""
    made = build_augment(section, samples)
    own = [one for one, stated in zip(made, _stated(section), strict=True) if stated.kind not in AUGMENTS]
    if not own:
        return
    import numpy as np
    import torch

    some = torch.rand(2, *shape, generator=torch.Generator().manual_seed(0))
    if samples == "image":
        some = (some * 255).to(torch.uint8)
    bits = np.arange(2, dtype=np.uint64)
    for one in own:
        assert not isinstance(one, str)
        x = some.float() if one.normalised else some
        try:
            first, again = (one.apply(x.clone(), bits) for _ in range(2))
        except DataError as error:
            raise RecipeError(str(error)) from error
        if not torch.equal(first, again):
            fix = "draw random numbers from `generator` or torch, and keep no state between samples"
            raise RecipeError(f"{KEY}: {one.name} returns two results for the same sample and random numbers; {fix}")


def _stated(section: DataConfig) -> list[Component]:
    return [Component.model_validate({"kind": one}) if isinstance(one, str) else one for one in section.augment]
