"""The section `norm`: normalisation after the body's convolutions."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from hdlif.recipe.builders.part import Part, field
from hdlif.recipe.builders.registry import Section

if TYPE_CHECKING:
    from hdlif.models import NormFactory


class BatchNorm(Part, kind="batch_norm"):
    """Batch norm per channel."""

    per_step: bool = field(False, "Keep statistics of its own for each time step.")
    momentum: Annotated[float, Field(gt=0, le=1)] | None = field(
        0.1, "Weight of a new batch's statistics; null takes the mean of all batches."
    )
    eps: float = field(1e-5, "Added to the variance.", ge=0)

    def build(self, **given: Any) -> NormFactory:
        from hdlif.nn import BatchNorm2d

        time_steps = given["time_steps"] if self.per_step else None
        return partial(BatchNorm2d, time_steps=time_steps, momentum=self.momentum, eps=self.eps)


class Affine(Part, kind="affine"):
    """A gain and a shift per channel, without statistics."""

    scale: float = field(1.0, "Gain at the start.", gt=0)

    def build(self, **given: Any) -> NormFactory:
        from hdlif.nn import Affine as Norm

        return partial(Norm, scale=self.scale)


NORMS = Section[Part]("norm", Affine, BatchNorm, own=Part, given=("time_steps",))
"""Each builds a function of the channels."""
