"""The section `weights`: the body's convolutions, and which layers are fp32."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import TYPE_CHECKING

from hdlif.builders.arguments import Checked, checked, chosen, keys
from hdlif.builders.places import At
from hdlif.builders.spiking import SPIKING
from hdlif.config import Recipe
from hdlif.errors import RecipeError, brief, did_you_mean

if TYPE_CHECKING:
    from torch import nn

    from hdlif.models import ConvFactory
    from hdlif.nn import Temporal, WeightQuantizer


def _float() -> None:
    return None


WEIGHTS: Mapping[str, Callable[[], WeightQuantizer | None]] = {
    "float": _float,
    "ternary": At("hdlif.nn:Ternary"),
    "binary": At("hdlif.nn:Binary"),
    "integer": At("hdlif.nn:Integer"),
}
LAYERS = ("keep_float", "quantise")
"""Keys that name layers which are otherwise than the network's default."""


def build_conv(recipe: Recipe) -> ConvFactory:
    """What makes the body's convolutions."""
    from hdlif.nn import QuantConv2d

    return partial(QuantConv2d, quantizer=checked_weights(recipe)())


def checked_weights(recipe: Recipe) -> Checked[WeightQuantizer | None]:
    """The section, checked but for the layers that it names; it makes the body's quantiser."""
    kind, arguments = recipe.weights.kind, recipe.weights.arguments
    for key in LAYERS:
        _patterns(recipe, key)
        arguments.pop(key, None)
    make, others = chosen(WEIGHTS, kind, "weights.kind"), partial(keys, *WEIGHTS.values())
    return checked(make, "weights", arguments, kind=kind, others=others, beside=LAYERS)


def place_quantizers(recipe: Recipe, network: Temporal) -> None:
    """Take the quantiser from the layers that weights.keep_float names, and give one to those of weights.quantise."""
    from torch import nn

    from hdlif.nn import QuantLayer

    layers = {name: m for name, m in network.named_modules() if isinstance(m, nn.Conv1d | nn.Conv2d | nn.Linear)}
    quantizers = {n: m.quantizer for n, m in layers.items() if isinstance(m, QuantLayer)}
    keep, quantise = (_patterns(recipe, key) for key in LAYERS)
    quantizer = checked_weights(recipe)()
    # No layer is in both, but with float weights, where nothing can be quantised.
    of_body = [name for name, own in quantizers.items() if own == quantizer]
    fp32 = [name for name in layers if quantizers.get(name) is None]
    if quantise and quantizer is None:
        raise RecipeError(
            f'weights.quantise does not go with weights.kind = "{recipe.weights.kind}"; leave it out, or choose one of '
            f"{', '.join(sorted(WEIGHTS.keys() - {'float'}))}"
        )
    for name in _matched("keep_float", keep, of_body, "quantised"):
        network.get_submodule(name).quantizer = None  # type: ignore[assignment]
    for name in _matched("quantise", quantise, fp32, "fp32"):
        parent, _, own = name.rpartition(".")
        made = _quantised(layers[name], quantizer, f"weights.quantise: {name}")
        if recipe.model.kind == SPIKING:
            made.load_state_dict(layers[name].state_dict())
        setattr(network.get_submodule(parent), own, made)


def _patterns(recipe: Recipe, key: str) -> list[str]:
    patterns: object = recipe.weights.arguments.get(key, [])
    if not isinstance(patterns, list) or not all(isinstance(pattern, str) for pattern in patterns):
        raise RecipeError(f"weights.{key} = {brief(patterns)}; it must be a list of layer names, * stands for any")
    return patterns


def _matched(key: str, patterns: Collection[str], layers: Collection[str], what: str) -> list[str]:
    """The layers that a pattern matches. Raises `RecipeError` on a pattern that matches none."""
    for pattern in patterns:
        if not fnmatch.filter(layers, pattern):
            raise RecipeError(
                f"weights.{key}: {brief(pattern)} matches no {what} layer; {did_you_mean(pattern, layers)}"
            )
    return [name for name in layers if any(fnmatch.fnmatch(name, pattern) for pattern in patterns)]


def _quantised(layer: nn.Conv1d | nn.Conv2d | nn.Linear, quantizer: WeightQuantizer | None, key: str) -> nn.Module:
    """A layer of the same shape with low-bit weights, which start as the body's do."""
    from hdlif.nn.synapses import quant_like

    try:
        return quant_like(layer, quantizer)
    except ValueError as error:
        raise RecipeError(f"{key} {error}") from error
