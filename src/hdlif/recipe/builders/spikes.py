"""The section `spikes`: rounding of graded spikes."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from hdlif.recipe.builders.part import At, Part
from hdlif.recipe.builders.registry import Section


class Exact(Part):
    """Spikes as they are."""

    kind: Literal["exact"] = "exact"


class Quantised(Part):
    """Graded spikes on 2^bits levels."""

    MAKES = At("hdlif.nn.spikes:SpikeQuantizer")
    kind: Literal["quantised"] = "quantised"
    bits: int = Field(4, ge=1, le=8, description="The spike takes 2^bits levels.")
    step: float = Field(0.25, gt=0, description="Distance of two levels, at the start if it is learned.")
    offset: float = Field(0.5, ge=0, le=1, description="Rounding offset; 0.5 rounds to nearest.")
    learned: bool = Field(False, description="Learn the step, one number per layer.")
    gradient: Literal["identity", "clip"] = Field(
        "identity", description="identity passes the gradient everywhere, clip stops it above the range."
    )


SPIKES = Section[Part]("spikes", Exact, Quantised, own=Part)
"""Each build makes a quantiser, for layers do not share a learned step; `exact` makes None."""
