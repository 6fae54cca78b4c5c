"""The section `model`: a whole network, with the neurons, weights, norms and attention of their own sections."""

from collections.abc import Callable, Mapping

from hdlif import models
from hdlif.builders.activity import check_budgets
from hdlif.builders.arguments import call, choose, keys
from hdlif.builders.attention import attention_arguments
from hdlif.builders.data import data_kind, input_record
from hdlif.builders.neuron import build_neuron, check_parallel
from hdlif.builders.norm import build_norm
from hdlif.builders.weights import build_conv, place_quantizers
from hdlif.config import Recipe
from hdlif.deploy.lower import COARSEST_GRID
from hdlif.errors import RecipeError
from hdlif.models import Grid, Network

MODELS: Mapping[str, Callable[..., Network]] = {
    "resnet": models.resnet,
    "resnet18": models.resnet18,
    "resnet19": models.resnet19,
    "resnet34": models.resnet34,
    "reversible_resnet": models.reversible_resnet,
    "vgg_snn": models.vgg_snn,
}
MOST_LAYERS = 1000
"""Blocks of all stages together, or entries of a plan: each is built, if only to be counted."""
MOST_STAGES = 16
"""Each doubles the channels."""
STEMS = {"cifar": models.cifar_stem, "imagenet": models.imagenet_stem}


def build_model(recipe: Recipe) -> Network:
    """The recipe's network, freshly initialised from torch's random state."""
    make = choose(MODELS, recipe.model.kind, "model.kind")
    arguments = recipe.model.arguments
    for key in ("attention", "conv", "neuron", "norm"):
        if key in arguments:
            raise RecipeError(
                f"model.{key} is not set there; attention, neuron, norm and weights are sections of their own"
            )
    _check_depth(arguments)
    parts = {
        **attention_arguments(recipe, make),
        "neuron": build_neuron(recipe),
        "conv": build_conv(recipe),
        "norm": build_norm(recipe),
        "classes": len(data_kind(recipe).labels),
        "in_channels": input_record(recipe).shape[0],
    }
    network = call(
        make,
        "model",
        arguments,
        kind=recipe.model.kind,
        others=lambda: keys(*MODELS.values(), tables=["stem"]),
        tables={"stem": STEMS},
        **parts,
    )
    place_quantizers(recipe, network)
    check_parallel(recipe, network)
    check_budgets(recipe, network)
    _check_grid(network)
    return network


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


def _check_grid(network: Network) -> None:
    step = max((module.step for module in network.modules() if isinstance(module, Grid)), default=0.0)
    if step > COARSEST_GRID:
        raise RecipeError(
            f"model.grid = {step}; the deployed network does without it, so that it must be at most {COARSEST_GRID}"
        )
