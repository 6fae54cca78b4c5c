"""The section `model`: a whole network, with the neurons, weights, norms and attention of their own sections."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hdlif.builders.activity import check_budgets
from hdlif.builders.arguments import Checked, checked, chosen, keys
from hdlif.builders.attention import CheckedAttention, checked_attention
from hdlif.builders.data import data_kind, input_record
from hdlif.builders.neuron import build_neuron, check_parallel, checked_neuron
from hdlif.builders.norm import build_norm, checked_norm
from hdlif.builders.places import At
from hdlif.builders.spiking import SPIKING, check_of
from hdlif.builders.weights import build_conv, checked_weights, place_quantizers
from hdlif.config import Recipe
from hdlif.errors import RecipeError

if TYPE_CHECKING:
    from hdlif.models import NeuronFactory, Place
    from hdlif.nn import Temporal

MODELS: Mapping[str, Callable[..., Temporal]] = {
    "conv1d": At("hdlif.models:conv1d"),
    "dense": At("hdlif.models:dense"),
    "imported": At("hdlif.builders.imported_network:imported_network"),
    "recurrent": At("hdlif.models:recurrent"),
    "resnet": At("hdlif.models:resnet"),
    "resnet18": At("hdlif.models:resnet18"),
    "resnet19": At("hdlif.models:resnet19"),
    "resnet34": At("hdlif.models:resnet34"),
    "reversible_resnet": At("hdlif.models:reversible_resnet"),
    SPIKING: At("hdlif.builders.spiking:spiking_network"),
    "vgg_snn": At("hdlif.models:vgg_snn"),
}
MOST_LAYERS = 1000
"""Blocks of all stages together, or entries of a plan: each is built, if only to be counted."""
MOST_STAGES = 16
"""Each doubles the channels."""
STEMS: Mapping[str, Callable[[], Callable[[int, int], Any]]] = {
    "cifar": At("hdlif.models:cifar_stem").get,
    "imagenet": At("hdlif.models:imagenet_stem").get,
}
"""What makes each: the function of (channels of the image, width)."""


PARTS = ("neuron", "conv", "quantizer", "norm", "classes", "in_channels", "in_size", "time_steps")
"""What a network is given that takes an argument of that name: makers of its parts, and what follows from the data."""


@dataclass(frozen=True)
class CheckedModel:
    """The section and those of its parts, checked; each part is made from the recipe when the network is."""

    network: Checked[Any]
    attention: CheckedAttention | None


def checked_model(recipe: Recipe) -> CheckedModel:
    """The section and those of attention, neuron, spikes, weights and norm, checked."""
    kind = recipe.model.kind
    make = chosen(MODELS, kind, "model.kind")
    arguments = recipe.model.arguments
    for key in ("attention", "conv", "neuron", "norm"):
        if key in arguments:
            raise RecipeError(
                f"model.{key} is not set there; attention, neuron, norm and weights are sections of their own"
            )
    _check_depth(arguments)
    attention = checked_attention(recipe, make)
    given = (*([attention.argument] if attention else []), *PARTS, *(["filled"] if kind in MODELS else []))
    if kind == SPIKING:
        check_of(arguments.get("of"))
    checked_neuron(recipe)
    checked_weights(recipe)
    checked_norm(recipe)
    network = checked(
        make,
        "model",
        arguments,
        kind=kind,
        others=lambda: keys(*MODELS.values(), tables=["stem"]),
        tables={"stem": STEMS} if kind in MODELS else {},
        given=given,
    )
    return CheckedModel(network, attention)


def build_model(recipe: Recipe, *, pretrained: bool = False) -> Temporal:
    """The recipe's network, freshly initialised from torch's random state.

    Args:
        pretrained: whether it starts from the weights of the file that the recipe names, if it names one: what is to
            be trained does, and what is filled from a checkpoint does without.
    Raises:
        CheckpointError: that file is absent, damaged, or of another network.
    """
    from hdlif.models import as_network

    checked_as = checked_model(recipe)
    channels, *size = input_record(recipe).shape
    made = checked_as.network(
        **(checked_as.attention() if checked_as.attention else {}),
        neuron=_by_place_or_channels(build_neuron(recipe)),
        conv=build_conv(recipe),
        quantizer=checked_weights(recipe)(),
        norm=build_norm(recipe),
        classes=len(data_kind(recipe).labels),
        in_channels=channels,
        in_size=tuple(size),
        time_steps=recipe.time_steps,
        filled=pretrained,
    )
    try:
        network = as_network(made)
    except TypeError as error:
        raise RecipeError(f'model.kind = "{recipe.model.kind}": {error}') from error
    place_quantizers(recipe, network)
    check_parallel(recipe, network)
    check_budgets(recipe, network)
    _check_grid(network)
    return network


def _by_place_or_channels(make: NeuronFactory) -> Callable[[Place | int], Temporal]:
    """Makes a neuron layer from its place; or from its channels, and then layers are counted as they are made."""
    count = itertools.count()

    def neuron(place: Place | int) -> Temporal:
        from hdlif.models import Place

        if not isinstance(place, Place):
            index = next(count)
            place = Place(f"neuron{index}", 0, index, 0, index, place)
        return make(place)

    return neuron


def _check_depth(arguments: Mapping[str, object]) -> None:
    """Raise `RecipeError` where building the network would not come to an end."""
    blocks, plan = arguments.get("blocks"), arguments.get("plan")
    layers = sum(n for n in blocks if isinstance(n, int)) if isinstance(blocks, list) else 0
    layers = max(layers, len(plan) if isinstance(plan, list) else 0)
    stages = len(blocks) if isinstance(blocks, list) else 0
    if layers > MOST_LAYERS or stages > MOST_STAGES:
        raise RecipeError(
            f"model: {layers:,} blocks or layers in {stages} stages are refused; "
            f"at most {MOST_LAYERS:,} are accepted, in {MOST_STAGES} stages"
        )


def _check_grid(network: Temporal) -> None:
    from hdlif.deploy.blocks import COARSEST_GRID
    from hdlif.models import Grid

    step = max((module.step for module in network.modules() if isinstance(module, Grid)), default=0.0)
    if step > COARSEST_GRID:
        raise RecipeError(
            f"model.grid = {step}; the deployed network does without it, so that it must be at most {COARSEST_GRID}"
        )
