"""The section `spikes`: rounding of graded spikes."""

from __future__ import annotations

from typing import Literal

from hdlif.recipe.builders.part import At, Part, field
from hdlif.recipe.builders.registry import Section


class Exact(Part, kind="exact"):
    """Spikes as they are."""


class Quantised(Part, kind="quantised", makes=At("hdlif.nn.spikes:SpikeQuantizer")):
    """Graded spikes on 2^bits levels."""

    bits: int = field(4, "The spike takes 2^bits levels.", ge=1, le=8)
    step: float = field(0.25, "Distance of two levels, at the start if it is learned.", gt=0)
    offset: float = field(0.5, "Rounding offset; 0.5 rounds to nearest.", ge=0, le=1)
    learned: bool = field(False, "Learn the step, one number per layer.")
    gradient: Literal["identity", "clip"] = field(
        "identity", "identity passes the gradient everywhere, clip stops it above the range."
    )


SPIKES = Section[Part]("spikes", Exact, Quantised, own=Part)
"""Each build makes a quantiser, for layers do not share a learned step; `exact` makes None."""
