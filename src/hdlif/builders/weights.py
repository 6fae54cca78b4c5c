"""The section `weights`: the body's convolutions, and the layers that stay fp32."""

import fnmatch
from collections.abc import Callable, Mapping
from functools import partial

from hdlif import nn as hnn
from hdlif.builders.arguments import call, choose
from hdlif.config import Recipe
from hdlif.errors import RecipeError, did_you_mean
from hdlif.models import ConvFactory, Network

WEIGHTS: Mapping[str, Callable[[], hnn.WeightQuantizer | None]] = {
    "float": lambda: None,
    "ternary": hnn.Ternary,
    "binary": hnn.Binary,
    "integer": hnn.Integer,
}


def build_conv(recipe: Recipe) -> ConvFactory:
    """What makes the body's convolutions."""
    arguments = recipe.weights.arguments
    arguments.pop("keep_float", None)
    kind = recipe.weights.kind
    quantizer = call(choose(WEIGHTS, kind, "weights.kind"), "weights", arguments, kind=kind, beside=("keep_float",))
    return partial(hnn.QuantConv2d, quantizer=quantizer)


def keep_float(recipe: Recipe, network: Network) -> None:
    """Take the quantiser from the synapses whose names match a pattern of weights.keep_float."""
    patterns: object = recipe.weights.arguments.get("keep_float", [])
    if not isinstance(patterns, list) or not all(isinstance(pattern, str) for pattern in patterns):
        raise RecipeError(
            f"weights.keep_float = {patterns!r}; it must be a list of layer names, where * stands for any"
        )
    synapses = {
        name: module
        for name, module in network.named_modules()
        if isinstance(module, hnn.QuantConv2d | hnn.QuantLinear)
    }
    for pattern in patterns:
        found = fnmatch.filter(synapses, pattern)
        if not found:
            raise RecipeError(
                f"weights.keep_float: {pattern!r} matches no quantised layer; {did_you_mean(pattern, list(synapses))}"
            )
        for name in found:
            synapses[name].quantizer = None
