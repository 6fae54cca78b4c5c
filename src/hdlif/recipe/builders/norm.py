"""The section `norm`: normalisation after the body's convolutions."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from hdlif.recipe.builders.part import Part
from hdlif.recipe.builders.registry import Section

if TYPE_CHECKING:
    from hdlif.models import NormFactory


def _batch_norm(
    *, time_steps: int, per_step: bool = False, momentum: float | None = 0.1, eps: float = 1e-5
) -> NormFactory:
    from hdlif.nn import BatchNorm2d

    return partial(BatchNorm2d, time_steps=time_steps if per_step else None, momentum=momentum, eps=eps)


def _affine(*, scale: float = 1.0) -> NormFactory:
    from hdlif.nn import Affine

    return partial(Affine, scale=scale)


class BatchNorm(Part):
    """Batch norm per channel."""

    MAKES = staticmethod(_batch_norm)
    kind: Literal["batch_norm"] = "batch_norm"
    per_step: bool = Field(False, description="Keep statistics of its own for each time step.")
    momentum: Annotated[float, Field(gt=0, le=1)] | None = Field(
        0.1, description="Weight of a new batch's statistics; null takes the mean of all batches."
    )
    eps: float = Field(1e-5, ge=0, description="Added to the variance.")


class Affine(Part):
    """A gain and a shift per channel, without statistics."""

    MAKES = staticmethod(_affine)
    kind: Literal["affine"] = "affine"
    scale: float = Field(1.0, gt=0, description="Gain at the start.")


NORMS = Section[Part]("norm", Affine, BatchNorm, own=Part, given=("time_steps",))
"""Each makes a function of the channels."""
