"""From a recipe to objects: the one place where names choose things. Checks names and arguments."""

import fnmatch
import inspect
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from pydantic import ConfigDict, PydanticSchemaGenerationError, TypeAdapter, ValidationError

from hdlif import data, learning, models
from hdlif import nn as hnn
from hdlif.artefact import InputRecord
from hdlif.config import Recipe
from hdlif.data import ImageSets, images
from hdlif.data.synthetic import SYNTHETIC_CLASSES, SYNTHETIC_MEAN, SYNTHETIC_STD
from hdlif.errors import RecipeError, did_you_mean
from hdlif.functional import ATan, DetachedReset, HardReset, Rectangle, Sigmoid, Triangle, soft_reset
from hdlif.learning import Rule
from hdlif.models import AttentionFactory, Network, NeuronFactory, NormFactory, Place
from hdlif.training import activity
from hdlif.training.activity import Penalty


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


def _batch_norm(
    *, time_steps: int, per_step: bool = False, momentum: float | None = 0.1, eps: float = 1e-5
) -> NormFactory:
    rows = time_steps if per_step else None
    return lambda channels: hnn.BatchNorm2d(channels, time_steps=rows, momentum=momentum, eps=eps)


def _no_attention() -> None:
    return None


def _seca(*, time_steps: int, per_step: bool = False, kernel_size: int = 5, bias: bool = True) -> AttentionFactory:
    arguments = {"kernel_size": kernel_size, "bias": bias, "time_steps": time_steps if per_step else None}
    hnn.SECA(1, **arguments)  # type: ignore[arg-type]
    return lambda channels: hnn.SECA(channels, **arguments)  # type: ignore[arg-type]


def _eca(*, time_steps: int) -> AttentionFactory:
    return hnn.eca


ATTENTIONS: Mapping[str, Callable[..., AttentionFactory | None]] = {"none": _no_attention, "seca": _seca, "eca": _eca}
ATTENTION_FORMS = {"I": models.AttentionBlockI, "II": models.AttentionBlockII}
"""Of residual blocks; a plain network has one form."""
FRAMES: Mapping[str, data.Frames] = {"constant": data.constant, "rows": data.rows}
STEMS = {"cifar": models.cifar_stem, "imagenet": models.imagenet_stem}
SURROGATES = {"triangle": Triangle, "rectangle": Rectangle, "sigmoid": Sigmoid, "atan": ATan, "dspike": hnn.Dspike}
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
GRANULARITIES: Mapping[str, Callable[[Place], int | None]] = {
    "layer": lambda place: None,
    "channel": lambda place: place.channels,
}
"""Whom a neuron's leak and threshold are shared by."""
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


def _sltt_k(*, criterion: learning.Criterion, k: int = 1) -> Rule:
    return learning.StochasticStep(k, criterion=criterion, complete=True)


RULES: Mapping[str, Callable[..., Rule]] = {
    "stbp": learning.STBP,
    "sltt": learning.SLTT,
    "sltt_k": _sltt_k,
    "ottt": learning.OTTT,
    "ndot": learning.NDOT,
    "stochastic_step": learning.StochasticStep,
}
DRAWS = {"uniform": learning.Uniform(), "stratified": learning.Stratified()}
PENALTIES: Mapping[str, Callable[..., Penalty | None]] = {
    "free": lambda: None,
    "surplus": activity.Surplus,
    "density": activity.Density,
    "sops": activity.Budget,
}
REDUCTIONS = {"mean": learning.mean_logits, "sum": learning.sum_logits}


TRIED = Place("tried", 0, 0, 0, 0, 1)
"""Where arguments are tried out before there is a network."""
Spikes = Callable[[Place], hnn.SpikeQuantizer | None]
"""Makes a layer's own spike quantiser (a learned step is not shared), or None."""


def _lif(time_steps: int, spikes: Spikes, **arguments: Any) -> NeuronFactory:
    _only_binary(spikes, "lif")
    return _neurons(hnn.LIF, time_steps, arguments)


def _glif(time_steps: int, spikes: Spikes, **arguments: Any) -> NeuronFactory:
    _only_binary(spikes, "glif")
    return _neurons(hnn.GLIF, time_steps, arguments)


def _graded_lif(time_steps: int, spikes: Spikes, **arguments: Any) -> NeuronFactory:
    return _neurons(hnn.GradedLIF, time_steps, arguments, quantizer=spikes)


def _hdlif(
    time_steps: int,
    spikes: Spikes,
    *,
    parallel: str | list[str] = "none",
    mem_bn: bool | dict[str, Any] = False,
    **arguments: Any,
) -> NeuronFactory:
    listed = isinstance(parallel, list)
    is_parallel = (
        (lambda place: place.name in parallel) if listed else _choose(PARALLEL_PATTERNS, parallel, "neuron.parallel")
    )
    vanilla = _neurons(hnn.HDLIF, time_steps, arguments, quantizer=spikes, norm=_mem_bn(time_steps, mem_bn))
    shared = ("threshold", "learned", "granularity", "per_step")
    without = _neurons(
        hnn.ParallelHDLIF,
        time_steps,
        {key: value for key, value in arguments.items() if key in shared},
        quantizer=spikes,
    )
    return lambda place: (without if is_parallel(place) else vanilla)(place)


def _parallel_hdlif(time_steps: int, spikes: Spikes, **arguments: Any) -> NeuronFactory:
    return _neurons(hnn.ParallelHDLIF, time_steps, arguments, quantizer=spikes)


def _mem_bn(time_steps: int, chosen: bool | dict[str, Any]) -> Callable[[Place], hnn.MemBN] | None:
    if chosen is False:
        return None
    if chosen is not True and not isinstance(chosen, dict):
        raise RecipeError(f"neuron.mem_bn = {chosen!r}; it must be true, false or a mapping such as {{mix: sigmoid}}")
    arguments = chosen if isinstance(chosen, dict) else {}
    return lambda place: _call(hnn.MemBN, "neuron.mem_bn", arguments, time_steps=time_steps, channels=place.channels)


def _only_binary(spikes: Spikes, kind: str) -> None:
    if spikes(TRIED) is not None:
        raise RecipeError(
            f'spikes.kind = "quantised" does not go with neuron.kind = "{kind}", whose spikes are binary; choose exact'
        )


def _neurons(
    kind: type[hnn.Temporal], time_steps: int, arguments: dict[str, Any], **parts: Callable[..., Any] | None
) -> NeuronFactory:
    """A factory of one kind of neuron; its arguments are tried out at once.

    Args:
        parts: make what each layer has of its own, from its place.
    """
    plain = dict(arguments)
    granularity = _choose(GRANULARITIES, plain.pop("granularity", "layer"), "neuron.granularity")
    if "surrogate" in plain:
        surrogate = _choose(SURROGATES, plain.pop("surrogate"), "neuron.surrogate")
        parts["surrogate"] = lambda place: surrogate()
    if "reset" in plain and kind is not hnn.GLIF:
        plain["reset"] = _choose(RESETS, plain["reset"], "neuron.reset")

    def make(place: Place) -> hnn.Temporal:
        own = {name: part(place) for name, part in parts.items() if part is not None}
        neuron: hnn.Temporal = _call(kind, "neuron", plain, time_steps=time_steps, channels=granularity(place), **own)
        return neuron

    make(TRIED)
    return make


NEURONS: Mapping[str, Callable[..., NeuronFactory]] = {
    "lif": _lif,
    "glif": _glif,
    "graded_lif": _graded_lif,
    "hdlif": _hdlif,
    "parallel_hdlif": _parallel_hdlif,
}


def build_data(recipe: Recipe, root: Path | None = None) -> ImageSets:
    """The recipe's data set, from `root` where it is not bundled."""
    kind: DataKind = _choose(DATA, recipe.data.kind, "data.kind")
    for name in recipe.data.augment:
        _choose(data.AUGMENTATIONS, name, "data.augment")
    frames = _choose(FRAMES, recipe.data.frames, "data.frames")
    sets = kind.load(root, validation=recipe.data.validation, augment=recipe.data.augment, seed=recipe.seed)
    sets = sets.shown_as(frames)
    if recipe.data.train is None:
        return sets
    if recipe.data.train > len(sets.train):
        raise RecipeError(f"data.train = {recipe.data.train}; there are {len(sets.train)} training images")
    return replace(sets, train=sets.train.first(recipe.data.train))


def input_record(recipe: Recipe) -> InputRecord:
    """What the recipe's network takes at each step: the data set's images, or a part of one.

    Raises:
        RecipeError: an image does not last for time_steps steps.
    """
    record: InputRecord = _choose(DATA, recipe.data.kind, "data.kind").input
    frames: data.Frames = _choose(FRAMES, recipe.data.frames, "data.frames")
    steps, _, *shape = frames(torch.zeros(1, *record.shape)).shape
    if steps not in (1, recipe.time_steps):
        raise RecipeError(
            f'data.frames = "{recipe.data.frames}" makes {steps} steps of an image; set time_steps={steps}'
        )
    channels, height, width = shape
    return replace(record, shape=(channels, height, width))


def build_model(recipe: Recipe) -> Network:
    """The recipe's network, freshly initialised from torch's random state."""
    kind: DataKind = _choose(DATA, recipe.data.kind, "data.kind")
    make_spikes = _choose(SPIKES, recipe.spikes.kind, "spikes.kind")
    chosen = recipe.weights.arguments
    kept_float = chosen.pop("keep_float", [])
    weights = _call(_choose(WEIGHTS, recipe.weights.kind, "weights.kind"), "weights", chosen)
    make_neuron = _choose(NEURONS, recipe.neuron.kind, "neuron.kind")
    spikes = partial(_call, make_spikes, "spikes", recipe.spikes.arguments)
    for key in ("time_steps", "spikes"):
        if key in recipe.neuron.arguments:
            raise RecipeError(f"neuron.{key} is not set there; it is a key of its own")
    neuron = make_neuron(recipe.time_steps, lambda place: spikes(), **recipe.neuron.arguments)
    arguments = dict(recipe.model.arguments)
    if "stem" in arguments:
        arguments["stem"] = _choose(STEMS, arguments["stem"], "model.stem")
    make_norm = _choose(NORMS, recipe.norm.kind, "norm.kind")
    norm = _call(make_norm, "norm", recipe.norm.arguments, time_steps=recipe.time_steps)
    given = {**_attention(recipe), "neuron": neuron, "conv": partial(hnn.QuantConv2d, quantizer=weights), "norm": norm}
    for key in given:
        if key in arguments:
            raise RecipeError(f"model.{key} is not set there; neuron, norm and weights are sections of their own")
    sizes = {"classes": len(kind.labels), "in_channels": input_record(recipe).shape[0]}
    network: Network = _call(_choose(MODELS, recipe.model.kind, "model.kind"), "model", arguments, **given, **sizes)
    _keep_float(network, kept_float)
    parallel = recipe.neuron.arguments.get("parallel")
    if isinstance(parallel, list):
        places = [name for name, module in network.named_modules() if isinstance(module, hnn.HDLIF | hnn.ParallelHDLIF)]
        for name in parallel:
            if name not in places:
                raise RecipeError(f"neuron.parallel: {name!r} is no neuron layer; {did_you_mean(str(name), places)}")
    return network


def _attention(recipe: Recipe) -> dict[str, Any]:
    """The argument that gives the recipe's network its attention, if any."""
    make = _choose(ATTENTIONS, recipe.attention.kind, "attention.kind")
    arguments = recipe.attention.arguments
    form = _choose(ATTENTION_FORMS, arguments.pop("form", "I"), "attention.form")
    attention: models.AttentionFactory | None = _call(
        make, "attention", arguments, **({} if make is _no_attention else {"time_steps": recipe.time_steps})
    )
    if attention is None:
        return {}
    accepted = inspect.signature(_choose(MODELS, recipe.model.kind, "model.kind")).parameters
    if "block" in accepted:
        return {"block": partial(form, attention=attention)}
    if "attention" in accepted:
        return {"attention": attention}
    raise RecipeError(
        f'attention.kind = "{recipe.attention.kind}" does not go with model.kind = "{recipe.model.kind}"; choose none'
    )


def _keep_float(network: Network, patterns: object) -> None:
    """Take the quantiser from the synapses whose names match one of the patterns."""
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


def build_rule(recipe: Recipe) -> Rule:
    """The recipe's learning rule, with cross-entropy smoothed as the training section says."""
    arguments: dict[str, Any] = dict(recipe.rule.arguments)
    for key, table in (("reduce", REDUCTIONS), ("draw", DRAWS)):
        if key in arguments:
            arguments[key] = _choose(table, arguments[key], f"rule.{key}")
    smoothing = recipe.training.label_smoothing
    if "mse_share" in arguments:
        share = {"share": arguments.pop("mse_share")}
        criterion: learning.Criterion = _call(learning.OTTTCriterion, "rule", share, label_smoothing=smoothing)
    else:
        criterion = partial(F.cross_entropy, label_smoothing=smoothing)
    rule: Rule = _call(_choose(RULES, recipe.rule.kind, "rule.kind"), "rule", arguments, criterion=criterion)
    if isinstance(rule, learning.StochasticStep) and rule.k > recipe.time_steps:
        raise RecipeError(f"rule.k = {rule.k}; it must be at most time_steps = {recipe.time_steps}")
    return rule


def build_penalty(recipe: Recipe) -> Penalty | None:
    """The recipe's penalty on activity; None where spikes are free."""
    kind = recipe.activity.kind
    make = _choose(PENALTIES, kind, "activity.kind")
    if kind == "sops" and recipe.rule.kind in ("ottt", "ndot"):
        raise RecipeError(
            f'activity.kind = "sops" does not go with rule.kind = "{recipe.rule.kind}", whose synapses run on traces; '
            "choose density"
        )
    penalty: Penalty | None = _call(
        make, "activity", recipe.activity.arguments, **({"time_steps": recipe.time_steps} if kind == "sops" else {})
    )
    return penalty


def check(recipe: Recipe) -> None:
    """Raise `RecipeError` on the first name or argument of the recipe that cannot be built."""
    _choose(DATA, recipe.data.kind, "data.kind")
    for name in recipe.data.augment:
        _choose(data.AUGMENTATIONS, name, "data.augment")
    build_rule(recipe)
    build_penalty(recipe)
    network = build_model(recipe)
    shape = input_record(recipe).shape
    # One image tells whether the network's maps fit the data's.
    try:
        network.eval()(torch.zeros(1, 1, *shape), steps=range(1))
    except RuntimeError as error:
        raise RecipeError(f"model.{recipe.model.kind} does not fit images of {list(shape)}: {error}") from error


def _choose(table: Mapping[str, Any], name: object, key: str) -> Any:
    if not isinstance(name, str) or name not in table:
        raise RecipeError(f'{key} = "{name}" is unknown; {did_you_mean(str(name), table)}')
    return table[name]


def _call(function: Callable[..., Any], section: str, arguments: dict[str, Any], **given: Any) -> Any:
    """Call with the arguments of a recipe's section, and with those given, which it may not set.

    What comes from the file as it stands (numbers, text, lists) must have the type that the function states.
    """
    parameters = {name: p for name, p in inspect.signature(function).parameters.items() if name not in given}
    for name, value in arguments.items():
        if name not in parameters:
            choices = did_you_mean(name, parameters) if parameters else "it takes no arguments"
            raise RecipeError(f"{section}.{name} is unknown; {choices}")
        if isinstance(value, str | int | float | list | dict | None):
            _check_type(f"{section}.{name}", value, _annotation(function, name))
    for name, parameter in parameters.items():
        if parameter.default is parameter.empty and name not in arguments:
            raise RecipeError(f"{section}.{name} is missing; give it a value")
    try:
        return function(**arguments, **given)
    except (TypeError, ValueError, RuntimeError) as error:
        raise RecipeError(f"{section}: {error}") from error


def _annotation(function: Callable[..., Any], name: str) -> Any:
    stated = function.__init__ if inspect.isclass(function) else function
    return typing.get_type_hints(stated).get(name, Any)


def _check_type(key: str, value: object, annotation: Any) -> None:
    """Raise `RecipeError` unless `value` is of the type stated; types that pydantic cannot check pass."""
    try:
        # Lenient for sequences alone: a YAML list stands for any of them, and no text for a number.
        TypeAdapter(annotation, config=ConfigDict(strict=True)).validate_python(value)
    except PydanticSchemaGenerationError:
        return
    except ValidationError as error:
        message = error.errors()[0]["msg"]
        raise RecipeError(f"{key} = {value!r} is refused; it {message.removeprefix('Input ')}") from None
