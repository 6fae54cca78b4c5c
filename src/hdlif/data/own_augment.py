"""An augmentation of the user's own: a function of one sample, its draws a function of (seed, epoch, index) as ours."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hdlif.data.augment import Augmentation
from hdlif.data.draws import Bits, of_each
from hdlif.errors import DataError, brief, first_line

GENERATOR = "generator"
"""The argument by which it is given what it draws from."""


@dataclass(frozen=True)
class OwnTransform:
    """Calls `transform` for each sample by itself.

    Torch's own generator is seeded by the sample's bits meanwhile, and is what `transform` is given as `generator`,
    where it takes that: draws of `torch.rand` and of torchvision's transforms are as good as those from it.

    Raises:
        DataError: it fails, or gives something else than a tensor of the sample's shape and type.
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
            f"data.augment: {self.name} gives {seen} of a sample {dtype} {list(shape)}; it must give a tensor of the "
            "same shape and type"
        )


def own_augmentation(transform: Callable[..., Any], name: str, *, takes_generator: bool) -> Augmentation:
    """An augmentation by `transform`, whose attributes `normalised` and `costly`, if any, are those of it."""
    return Augmentation(
        OwnTransform(transform, name, takes_generator),
        normalised=bool(getattr(transform, "normalised", False)),
        costly=bool(getattr(transform, "costly", False)),
        name=name,
    )
