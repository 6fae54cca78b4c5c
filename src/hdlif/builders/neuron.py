"""The section `neuron`: kinds of neurons, and the names that their arguments choose from."""

from collections.abc import Callable, Mapping
from typing import Any

from hdlif import nn as hnn
from hdlif.builders.arguments import call, choose, keys
from hdlif.builders.spikes import SpikesFactory, build_spikes
from hdlif.config import Recipe
from hdlif.errors import RecipeError, brief, did_you_mean
from hdlif.functional import ATan, DetachedReset, HardReset, Rectangle, Sigmoid, Triangle, soft_reset
from hdlif.models import Network, NeuronFactory, Place

SURROGATES = {"triangle": Triangle, "rectangle": Rectangle, "sigmoid": Sigmoid, "atan": ATan, "dspike": hnn.Dspike}
RESETS = {
    "soft": soft_reset,
    "hard": HardReset(),
    "soft_detached": DetachedReset(),
    "hard_detached": DetachedReset(HardReset()),
}
_LAYERS = (hnn.LIF, hnn.GLIF, hnn.GradedLIF, hnn.HDLIF, hnn.ParallelHDLIF)
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

TRIED = Place("tried", 0, 0, 0, 0, 1)
"""Where arguments are tried out before there is a network."""


def build_neuron(recipe: Recipe) -> NeuronFactory:
    """What makes the recipe's neuron layers from their places."""
    make = choose(NEURONS, recipe.neuron.kind, "neuron.kind")
    for key in ("time_steps", "spikes"):
        if key in recipe.neuron.arguments:
            raise RecipeError(f"neuron.{key} is not set there; it is a key of its own")
    return make(recipe.time_steps, build_spikes(recipe), **recipe.neuron.arguments)


def check_parallel(recipe: Recipe, network: Network) -> None:
    """Raise `RecipeError` where neuron.parallel lists a layer that the network does not have."""
    parallel = recipe.neuron.arguments.get("parallel")
    if not isinstance(parallel, list):
        return
    places = [name for name, module in network.named_modules() if isinstance(module, hnn.HDLIF | hnn.ParallelHDLIF)]
    for name in parallel:
        if name not in places:
            raise RecipeError(f"neuron.parallel: {brief(name)} is no neuron layer; {did_you_mean(str(name), places)}")


def _lif(time_steps: int, spikes: SpikesFactory, **arguments: Any) -> NeuronFactory:
    _only_binary(spikes, "lif")
    return _neurons("lif", hnn.LIF, time_steps, arguments)


def _glif(time_steps: int, spikes: SpikesFactory, **arguments: Any) -> NeuronFactory:
    _only_binary(spikes, "glif")
    return _neurons("glif", hnn.GLIF, time_steps, arguments)


def _graded_lif(time_steps: int, spikes: SpikesFactory, **arguments: Any) -> NeuronFactory:
    return _neurons("graded_lif", hnn.GradedLIF, time_steps, arguments, quantizer=spikes)


def _hdlif(
    time_steps: int,
    spikes: SpikesFactory,
    *,
    parallel: str | list[str] = "none",
    mem_bn: bool | dict[str, Any] = False,
    **arguments: Any,
) -> NeuronFactory:
    listed = isinstance(parallel, list)
    is_parallel = (
        (lambda place: place.name in parallel) if listed else choose(PARALLEL_PATTERNS, parallel, "neuron.parallel")
    )
    vanilla = _neurons(
        "hdlif",
        hnn.HDLIF,
        time_steps,
        arguments,
        beside=("parallel", "mem_bn"),
        quantizer=spikes,
        norm=_mem_bn(time_steps, mem_bn),
    )
    shared = ("threshold", "learned", "granularity", "per_step", "threshold_form")
    if parallel == "all":
        idle = [key for key in arguments if key not in shared] + ["mem_bn"] * (mem_bn is not False)
        if idle:
            raise RecipeError(
                f'neuron.{idle[0]} has no effect with neuron.parallel = "all", where nothing is accumulated; '
                "leave it out, or let some layers accumulate"
            )
    without = _neurons(
        "hdlif",
        hnn.ParallelHDLIF,
        time_steps,
        {key: value for key, value in arguments.items() if key in shared},
        quantizer=spikes,
    )
    return lambda place: (without if is_parallel(place) else vanilla)(place)


def _parallel_hdlif(time_steps: int, spikes: SpikesFactory, **arguments: Any) -> NeuronFactory:
    return _neurons("parallel_hdlif", hnn.ParallelHDLIF, time_steps, arguments, quantizer=spikes)


NEURONS: Mapping[str, Callable[..., NeuronFactory]] = {
    "lif": _lif,
    "glif": _glif,
    "graded_lif": _graded_lif,
    "hdlif": _hdlif,
    "parallel_hdlif": _parallel_hdlif,
}


def _mem_bn(time_steps: int, chosen: bool | dict[str, Any]) -> Callable[[Place], hnn.MemBN | None]:
    if chosen is False:
        return lambda place: None
    if chosen is not True and not isinstance(chosen, dict):
        raise RecipeError(
            f"neuron.mem_bn = {brief(chosen)}; it must be true, false or a mapping such as {{mix: sigmoid}}"
        )
    arguments = chosen if isinstance(chosen, dict) else {}
    return lambda place: call(hnn.MemBN, "neuron.mem_bn", arguments, time_steps=time_steps, channels=place.channels)


def _only_binary(spikes: SpikesFactory, kind: str) -> None:
    if spikes(TRIED) is not None:
        raise RecipeError(
            f'spikes.kind = "quantised" does not go with neuron.kind = "{kind}", whose spikes are binary; choose exact'
        )


def _neurons(
    kind: str,
    neuron: type[hnn.Temporal],
    time_steps: int,
    arguments: dict[str, Any],
    *,
    beside: tuple[str, ...] = (),
    **parts: Callable[[Place], Any],
) -> NeuronFactory:
    """A factory of one kind of neuron; its arguments are tried out at once.

    Args:
        beside: keys that are not arguments of the neuron.
        parts: make what each layer has of its own, from its place.
    """
    plain = dict(arguments)
    granularity = choose(GRANULARITIES, plain.pop("granularity", "layer"), "neuron.granularity")

    def make(place: Place) -> hnn.Temporal:
        tables: dict[str, Mapping[str, Any]] = {"surrogate": {name: new() for name, new in SURROGATES.items()}}
        # The reset of GLIF is a number.
        if neuron is not hnn.GLIF:
            tables["reset"] = RESETS
        return call(
            neuron,
            "neuron",
            plain,
            kind=kind,
            others=lambda: {"parallel", "mem_bn", *keys(*_LAYERS, tables=["surrogate", "reset"])},
            tables=tables,
            beside=("granularity", *beside),
            time_steps=time_steps,
            channels=granularity(place),
            **{name: part(place) for name, part in parts.items()},
        )

    make(TRIED)
    return make
