"""The section `spikes`: what graded spikes are rounded to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from hdlif.builders.arguments import Checked, checked, chosen, keys
from hdlif.builders.places import At
from hdlif.config import Recipe

if TYPE_CHECKING:
    from hdlif.nn import SpikeQuantizer


def _exact() -> None:
    return None


SPIKES: Mapping[str, Callable[..., SpikeQuantizer | None]] = {
    "exact": _exact,
    "quantised": At("hdlif.nn.spikes:SpikeQuantizer"),
}


def checked_spikes(recipe: Recipe) -> Checked[SpikeQuantizer | None]:
    """The section, checked; each call makes a quantiser, for a learned step is not shared by layers, or None."""
    kind = recipe.spikes.kind
    make = chosen(SPIKES, kind, "spikes.kind")
    return checked(make, "spikes", recipe.spikes.arguments, kind=kind, others=partial(keys, *SPIKES.values()))
