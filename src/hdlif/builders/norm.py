"""The section `norm`: what is behind the body's convolutions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from hdlif.builders.arguments import Checked, checked, chosen
from hdlif.config import Recipe

if TYPE_CHECKING:
    from hdlif.models import NormFactory


def _batch_norm(
    *, time_steps: int, per_step: bool = False, momentum: float | None = 0.1, eps: float = 1e-5
) -> NormFactory:
    from hdlif.nn import BatchNorm2d

    # Tried out at once: an error names this section.
    BatchNorm2d(1, momentum=momentum, eps=eps)
    return partial(BatchNorm2d, time_steps=time_steps if per_step else None, momentum=momentum, eps=eps)


def _affine(*, scale: float = 1.0) -> NormFactory:
    from hdlif.nn import Affine

    Affine(1, scale=scale)
    return partial(Affine, scale=scale)


NORMS: Mapping[str, Callable[..., NormFactory]] = {"affine": _affine, "batch_norm": _batch_norm}


def build_norm(recipe: Recipe) -> NormFactory:
    """What makes the recipe's norms from their channels."""
    return checked_norm(recipe)(time_steps=recipe.time_steps)


def checked_norm(recipe: Recipe) -> Checked[NormFactory]:
    """The section, checked."""
    make = chosen(NORMS, recipe.norm.kind, "norm.kind")
    return checked(make, "norm", recipe.norm.arguments, kind=recipe.norm.kind, given=("time_steps",))
