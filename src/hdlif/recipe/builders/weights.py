"""The section `weights`: precision of the body's weights, and the layers that differ from it."""

from __future__ import annotations

import fnmatch
from collections.abc import Collection
from functools import partial
from typing import TYPE_CHECKING

from hdlif.errors import RecipeError, brief, did_you_mean
from hdlif.recipe.builders.part import At, Part, field
from hdlif.recipe.builders.registry import Section
from hdlif.recipe.config import Recipe

if TYPE_CHECKING:
    from torch import nn

    from hdlif.models import ConvFactory
    from hdlif.nn import Temporal, WeightQuantizer


class Weights(Part):
    """A precision, and the names of layers that differ from it."""

    BESIDE = frozenset({"keep_float", "quantise"})
    keep_float: list[str] = field([], "Layers of the body that stay fp32; * stands for any text.")
    quantise: list[str] = field([], "Other layers that are quantised too; * stands for any text.")


class Float(Weights, kind="float"):
    """fp32 weights."""


class Ternary(Weights, kind="ternary", makes=At("hdlif.nn:Ternary")):
    """1.5-bit weights."""


class Binary(Weights, kind="binary", makes=At("hdlif.nn:Binary")):
    """1-bit weights."""


class Integer(Weights, kind="integer", makes=At("hdlif.nn:Integer")):
    """Weights of 2 to 8 bits, with a scale per output channel."""

    bits: int = field(4, "Bits per weight; 1 and 1.5 are kinds of their own.", ge=2, le=8)


WEIGHTS = Section[Weights]("weights", Float, Ternary, Binary, Integer, own=Weights)
"""Each makes the body's quantiser; `float` makes None."""


def build_conv(recipe: Recipe) -> ConvFactory:
    """Return the function that makes the body's convolutions."""
    from hdlif.nn import QuantConv2d

    return partial(QuantConv2d, quantizer=WEIGHTS.read(recipe.weights).build())


def place_quantizers(recipe: Recipe, network: Temporal, *, keep_weights: bool = False) -> None:
    """Take the quantiser from the layers that weights.keep_float names, and give one to those of weights.quantise.

    Args:
        keep_weights: layers that are replaced keep their weights.
    """
    from torch import nn

    from hdlif.nn import QuantLayer

    part = WEIGHTS.read(recipe.weights)
    layers = {name: m for name, m in network.named_modules() if isinstance(m, nn.Conv1d | nn.Conv2d | nn.Linear)}
    quantizers = {n: m.quantizer for n, m in layers.items() if isinstance(m, QuantLayer)}
    quantizer = part.build()
    # No layer is in both, but with float weights, where nothing can be quantised.
    of_body = [name for name, own in quantizers.items() if own == quantizer]
    fp32 = [name for name in layers if quantizers.get(name) is None]
    if part.quantise and quantizer is None:
        raise RecipeError(
            f'weights.quantise does not go with weights.kind = "{part.kind}"; leave it out, or choose one of '
            f"{', '.join(sorted(WEIGHTS.keys() - {'float'}))}"
        )
    for name in _matched("keep_float", part.keep_float, of_body, "quantised"):
        network.get_submodule(name).quantizer = None  # type: ignore[assignment]
    for name in _matched("quantise", part.quantise, fp32, "fp32"):
        parent, _, own = name.rpartition(".")
        made = _quantised(layers[name], quantizer, f"weights.quantise: {name}")
        if keep_weights:
            made.load_state_dict(layers[name].state_dict())
        setattr(network.get_submodule(parent), own, made)


def _matched(key: str, patterns: Collection[str], layers: Collection[str], what: str) -> list[str]:
    """Return the layers that a pattern matches. Raises `RecipeError` on a pattern that matches none."""
    for pattern in patterns:
        if not fnmatch.filter(layers, pattern):
            raise RecipeError(
                f"weights.{key}: {brief(pattern)} matches no {what} layer; {did_you_mean(pattern, layers)}"
            )
    return [name for name in layers if any(fnmatch.fnmatch(name, pattern) for pattern in patterns)]


def _quantised(layer: nn.Conv1d | nn.Conv2d | nn.Linear, quantizer: WeightQuantizer | None, key: str) -> nn.Module:
    """Return a layer of the same shape with low-bit weights, which start as the body's do."""
    from hdlif.nn.synapses import quant_like

    try:
        return quant_like(layer, quantizer)
    except ValueError as error:
        raise RecipeError(f"{key} {error}") from error
