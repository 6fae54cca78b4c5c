"""From a recipe to objects: the one place where names choose things. Checks names and arguments."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from hdlif import data, learning, models
from hdlif import nn as hnn
from hdlif.artefact import InputRecord
from hdlif.config import Recipe
from hdlif.data import ImageSets, images
from hdlif.data.synthetic import SYNTHETIC_CLASSES, SYNTHETIC_MEAN, SYNTHETIC_STD
from hdlif.errors import RecipeError, did_you_mean
from hdlif.functional import ATan, DetachedReset, HardReset, Rectangle, Sigmoid, Triangle, soft_reset
from hdlif.learning import Rule
from hdlif.models import Network, NeuronFactory, NormFactory, Place

GIVEN = ("neuron", "conv", "norm", "criterion", "time_steps")
"""Arguments that other sections of a recipe decide."""


@dataclass(frozen=True)
class DataKind:
    """A data set's loader, and what can be said of its images without reading them."""

    load: Callable[..., ImageSets]
    input: InputRecord
    labels: tuple[str, ...]


DATA: Mapping[str, DataKind] = {
    "digits": DataKind(
        data.digits,
        InputRecord((1, 8, 8), images.DIGITS_MEAN, images.DIGITS_STD),
        images.DIGITS_CLASSES,
    ),
    "fashion_mnist": DataKind(
        data.fashion_mnist,
        InputRecord((1, 28, 28), images.FASHION_MNIST_MEAN, images.FASHION_MNIST_STD),
        images.FASHION_MNIST_CLASSES,
    ),
    "synthetic": DataKind(
        data.synthetic,
        InputRecord((1, 8, 8), SYNTHETIC_MEAN, SYNTHETIC_STD),
        SYNTHETIC_CLASSES,
    ),
}


def _batch_norm(*, time_steps: int, per_step: bool = False, **arguments: Any) -> NormFactory:
    arguments["time_steps"] = time_steps if per_step else None
    hnn.BatchNorm2d(1, **arguments)
    return lambda channels: hnn.BatchNorm2d(channels, **arguments)


STEMS = {"cifar": models.cifar_stem, "imagenet": models.imagenet_stem}
SURROGATES = {"triangle": Triangle, "rectangle": Rectangle, "sigmoid": Sigmoid, "atan": ATan}
RESETS = {
    "soft": soft_reset,
    "hard": HardReset(),
    "soft_detached": DetachedReset(),
    "hard_detached": DetachedReset(HardReset()),
}
NORMS: Mapping[str, Callable[..., NormFactory]] = {"batch_norm": _batch_norm}
WEIGHTS: Mapping[str, Callable[[], hnn.WeightQuantizer | None]] = {
    "float": lambda: None,
    "ternary": hnn.Ternary,
    "binary": hnn.Binary,
    "integer": hnn.Integer,
}
SPIKES: Mapping[str, Callable[..., hnn.SpikeQuantizer | None]] = {
    "exact": lambda: None,
    "quantised": hnn.SpikeQuantizer,
}
PARALLEL_PATTERNS: Mapping[str, Callable[[Place], bool]] = {
    "none": lambda place: False,
    "alternate": lambda place: place.index % 2 == 1,
    "second_block": lambda place: place.block % 2 == 1,
    "all": lambda place: True,
}
"""Which neuron layers have no accumulation. In a residual net "alternate" is the second neuron of every block."""
MODELS: Mapping[str, Callable[..., Network]] = {
    "resnet": models.resnet,
    "resnet18": models.resnet18,
    "resnet34": models.resnet34,
    "vgg_snn": models.vgg_snn,
}
RULES: Mapping[str, Callable[..., Rule]] = {
    "stbp": learning.STBP,
    "sltt": learning.SLTT,
    "stochastic_step": learning.StochasticStep,
}
REDUCTIONS = {"mean": learning.mean_logits, "sum": learning.sum_logits}


def _lif(
    time_steps: int,
    quantizer: hnn.SpikeQuantizer | None,
    *,
    surrogate: str = "triangle",
    reset: str = "soft",
    **arguments: Any,
) -> NeuronFactory:
    if quantizer is not None:
        raise RecipeError(
            'spikes.kind = "quantised" does not go with neuron.kind = "lif", whose spikes are binary; choose exact'
        )
    chosen = {
        "surrogate": _choose(SURROGATES, surrogate, "neuron.surrogate")(),
        "reset": _choose(RESETS, reset, "neuron.reset"),
    }
    return _checked(hnn.LIF, "neuron", {**chosen, **arguments}, time_steps)


def _hdlif(
    time_steps: int, quantizer: hnn.SpikeQuantizer | None, *, parallel: str | list[str] = "none", **arguments: Any
) -> NeuronFactory:
    listed = isinstance(parallel, list)
    is_parallel = (
        (lambda place: place.name in parallel) if listed else _choose(PARALLEL_PATTERNS, parallel, "neuron.parallel")
    )
    vanilla = _checked(hnn.HDLIF, "neuron", {"quantizer": quantizer, **arguments}, time_steps)
    shared = {key: value for key, value in arguments.items() if key in ("threshold", "learned")}
    without = _checked(hnn.ParallelHDLIF, "neuron", {"quantizer": quantizer, **shared}, time_steps)
    return lambda place: (without if is_parallel(place) else vanilla)(place)


def _parallel_hdlif(time_steps: int, quantizer: hnn.SpikeQuantizer | None, **arguments: Any) -> NeuronFactory:
    return _checked(hnn.ParallelHDLIF, "neuron", {"quantizer": quantizer, **arguments}, time_steps)


NEURONS: Mapping[str, Callable[..., NeuronFactory]] = {
    "lif": _lif,
    "hdlif": _hdlif,
    "parallel_hdlif": _parallel_hdlif,
}


def build_data(recipe: Recipe, root: Path | None = None) -> ImageSets:
    """The recipe's data set, from `root` where it is not bundled."""
    kind: DataKind = _choose(DATA, recipe.data.kind, "data.kind")
    for name in recipe.data.augment:
        _choose(data.AUGMENTATIONS, name, "data.augment")
    return kind.load(root, validation=recipe.data.validation, augment=recipe.data.augment, seed=recipe.seed)


def build_model(recipe: Recipe) -> Network:
    """The recipe's network, freshly initialised from torch's random state."""
    kind: DataKind = _choose(DATA, recipe.data.kind, "data.kind")
    quantizer = _call(_choose(SPIKES, recipe.spikes.kind, "spikes.kind"), "spikes", recipe.spikes.arguments)
    weights = _call(_choose(WEIGHTS, recipe.weights.kind, "weights.kind"), "weights", recipe.weights.arguments)
    make_neuron = _choose(NEURONS, recipe.neuron.kind, "neuron.kind")
    neuron = make_neuron(recipe.time_steps, quantizer, **recipe.neuron.arguments)
    arguments = dict(recipe.model.arguments)
    if "stem" in arguments:
        arguments["stem"] = _choose(STEMS, arguments["stem"], "model.stem")
    make_norm = _choose(NORMS, recipe.norm.kind, "norm.kind")
    norm = _call(make_norm, "norm", {"time_steps": recipe.time_steps, **recipe.norm.arguments})
    given = {"neuron": neuron, "conv": partial(hnn.QuantConv2d, quantizer=weights), "norm": norm}
    for key in given:
        if key in arguments:
            raise RecipeError(f"model.{key} is not set there; neuron, norm and weights are sections of their own")
    arguments = {"classes": len(kind.labels), "in_channels": kind.input.shape[0], **given, **arguments}
    network: Network = _call(_choose(MODELS, recipe.model.kind, "model.kind"), "model", arguments)
    parallel = recipe.neuron.arguments.get("parallel")
    if isinstance(parallel, list):
        places = [name for name, module in network.named_modules() if isinstance(module, hnn.HDLIF | hnn.ParallelHDLIF)]
        for name in parallel:
            if name not in places:
                raise RecipeError(f"neuron.parallel: {name!r} is no neuron layer; {did_you_mean(str(name), places)}")
    return network


def build_rule(recipe: Recipe) -> Rule:
    """The recipe's learning rule, with cross-entropy smoothed as the training section says."""
    arguments: dict[str, Any] = dict(recipe.rule.arguments)
    if "reduce" in arguments:
        arguments["reduce"] = _choose(REDUCTIONS, arguments["reduce"], "rule.reduce")
    criterion = partial(F.cross_entropy, label_smoothing=recipe.training.label_smoothing)
    rule: Rule = _call(_choose(RULES, recipe.rule.kind, "rule.kind"), "rule", {"criterion": criterion, **arguments})
    if isinstance(rule, learning.StochasticStep) and rule.k > recipe.time_steps:
        raise RecipeError(f"rule.k = {rule.k}; it must be at most time_steps = {recipe.time_steps}")
    return rule


def check(recipe: Recipe) -> None:
    """Raise `RecipeError` on the first name or argument of the recipe that cannot be built."""
    kind: DataKind = _choose(DATA, recipe.data.kind, "data.kind")
    for name in recipe.data.augment:
        _choose(data.AUGMENTATIONS, name, "data.augment")
    build_rule(recipe)
    network = build_model(recipe)
    # One image tells whether the network's maps fit the data's.
    try:
        network.eval()(torch.zeros(1, 1, *kind.input.shape), steps=range(1))
    except RuntimeError as error:
        raise RecipeError(
            f"model.{recipe.model.kind} does not fit images of {list(kind.input.shape)}: {error}"
        ) from error


def _choose(table: Mapping[str, Any], name: object, key: str) -> Any:
    if not isinstance(name, str) or name not in table:
        raise RecipeError(f'{key} = "{name}" is unknown; {did_you_mean(str(name), table)}')
    return table[name]


def _call(function: Callable[..., Any], section: str, arguments: dict[str, Any]) -> Any:
    """Call with arguments from a recipe; unknown or unfit ones are the recipe's error."""
    accepted = [name for name in inspect.signature(function).parameters if name not in GIVEN]
    for name in arguments:
        if name not in inspect.signature(function).parameters:
            raise RecipeError(
                f"{section}.{name} is unknown; {did_you_mean(name, accepted) if accepted else 'it takes no arguments'}"
            )
    try:
        return function(**arguments)
    except (TypeError, ValueError, RuntimeError) as error:
        raise RecipeError(f"{section}: {error}") from error


def _checked(kind: type[hnn.Temporal], section: str, arguments: dict[str, Any], time_steps: int) -> NeuronFactory:
    """A factory of one kind of neuron that is the same at every place; its arguments are tried out at once."""
    _call(partial(kind, time_steps), section, arguments)
    return lambda place: kind(time_steps, **arguments)
