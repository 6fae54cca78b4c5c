"""The section `spikes`: what graded spikes are rounded to."""

from collections.abc import Callable, Mapping
from functools import partial

from hdlif import nn as hnn
from hdlif.builders.arguments import call, choose, keys
from hdlif.config import Recipe
from hdlif.models import Place

SpikesFactory = Callable[[Place], hnn.SpikeQuantizer | None]
"""Makes a layer's own spike quantiser (a learned step is not shared), or None."""

SPIKES: Mapping[str, Callable[..., hnn.SpikeQuantizer | None]] = {
    "exact": lambda: None,
    "quantised": hnn.SpikeQuantizer,
}


def build_spikes(recipe: Recipe) -> SpikesFactory:
    """What makes the recipe's spike quantisers."""
    make = choose(SPIKES, recipe.spikes.kind, "spikes.kind")
    others = partial(keys, *SPIKES.values())
    quantizer = partial(call, make, "spikes", recipe.spikes.arguments, kind=recipe.spikes.kind, others=others)
    return lambda place: quantizer()
