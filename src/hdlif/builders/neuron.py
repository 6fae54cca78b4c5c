"""The section `neuron`: kinds of neurons, and the names that their arguments choose from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from hdlif.builders.arguments import call, checked, choose, keys
from hdlif.builders.installed import part
from hdlif.builders.places import At, parameters
from hdlif.builders.spikes import checked_spikes
from hdlif.builders.weights import checked_weights
from hdlif.config import Recipe
from hdlif.errors import RecipeError, brief, cut, did_you_mean, first_line

if TYPE_CHECKING:
    from hdlif.models import NeuronFactory, Place
    from hdlif.nn import Neuron, Temporal

SURROGATES: Mapping[str, Callable[[], Any]] = {
    "triangle": At("hdlif.functional:Triangle"),
    "rectangle": At("hdlif.functional:Rectangle"),
    "sigmoid": At("hdlif.functional:Sigmoid"),
    "atan": At("hdlif.functional:ATan"),
    "dspike": At("hdlif.nn:Dspike"),
}
_HARD, _DETACHED = At("hdlif.functional:HardReset"), At("hdlif.functional:DetachedReset")
RESETS: Mapping[str, Callable[[], Any]] = {
    "soft": At("hdlif.functional:soft_reset").get,
    "hard": _HARD,
    "soft_detached": _DETACHED,
    "hard_detached": lambda: _DETACHED(_HARD()),
}
"""What makes each; the soft reset is a function."""
_LIF, _GLIF, _GRADED_LIF, _HDLIF, _PARALLEL_HDLIF = _LAYERS = (
    At("hdlif.nn:LIF"),
    At("hdlif.nn:GLIF"),
    At("hdlif.nn:GradedLIF"),
    At("hdlif.nn:HDLIF"),
    At("hdlif.nn:ParallelHDLIF"),
)
EQUATIONS: Mapping[str, At] = {
    "adaptive_hdlif": At("hdlif.nn:AdaptiveHDLIF"),
    "second_order_hdlif": At("hdlif.nn:SecondOrderHDLIF"),
    "resonate_hdlif": At("hdlif.nn:ResonateHDLIF"),
    "sliding_parallel_hdlif": At("hdlif.nn:SlidingParallelHDLIF"),
}
"""Kinds of the same class as one's own are."""
CLASSES: Mapping[str, At] = {
    "lif": _LIF,
    "glif": _GLIF,
    "graded_lif": _GRADED_LIF,
    "hdlif": _HDLIF,
    "parallel_hdlif": _PARALLEL_HDLIF,
    **EQUATIONS,
}
"""Of each kind that ships."""
GRANULARITIES: Mapping[str, Callable[[Place], int | None]] = {
    "layer": lambda place: None,
    "channel": lambda place: place.channels,
}
"""Whom a neuron's leak and threshold are shared by."""
LEAKS = ("leak", "decay", "synapse_leak", "adaptation_leak")
"""Of the kinds that ship; the first that a neuron has is the one that time constants mean without a name."""
PARALLEL_PATTERNS: Mapping[str, Callable[[Place], bool]] = {
    "none": lambda place: False,
    "alternate": lambda place: place.index % 2 == 1,
    "second_block": lambda place: place.block % 2 == 1,
    "all": lambda place: True,
}
"""Which neuron layers have no accumulation. In a residual net "alternate" is the second neuron of every block."""


@dataclass(frozen=True)
class CheckedNeuron:
    """The section, checked.

    Attributes:
        make: a neuron layer, from its place.
        layers: makes one layer each of all kinds that there may be.
    """

    make: NeuronFactory
    layers: tuple[NeuronFactory, ...]


def build_neuron(recipe: Recipe) -> NeuronFactory:
    """What makes the recipe's neuron layers from their places."""
    from hdlif.models import Place

    neuron = checked_neuron(recipe)
    # Values are tried out before there is a network.
    for make in neuron.layers:
        make(Place("tried", 0, 0, 0, 0, 1))
    return neuron.make


def checked_neuron(recipe: Recipe) -> CheckedNeuron:
    """The section and that of spikes, checked."""
    kind = recipe.neuron.kind
    make = NEURONS[kind] if kind in NEURONS else partial(_own, own_neuron(kind))
    for key in ("time_steps", "spikes"):
        if key in recipe.neuron.arguments:
            raise RecipeError(f"neuron.{key} is not set there; it is a key of its own")
    arguments = dict(recipe.neuron.arguments)
    recurrent = arguments.pop("recurrent", False)
    checked_as = make(recipe, **arguments)
    if recurrent is False:
        return checked_as
    leading_back = _recurrent(recipe, recurrent)
    layers = tuple(leading_back(layer) for layer in checked_as.layers)
    return CheckedNeuron(leading_back(checked_as.make), layers)


def _recurrent(recipe: Recipe, chosen: object) -> Callable[[NeuronFactory], NeuronFactory]:
    """What makes layers recurrent, by a convolution of what they emitted at the step before."""
    sizes = chosen if isinstance(chosen, dict) else {}
    kernel = sizes.get("kernel_size", 1)
    if not (chosen is True or isinstance(chosen, dict)) or sizes.keys() - {"kernel_size"}:
        raise RecipeError(
            f"neuron.recurrent = {brief(chosen)}; it must be true, false or a mapping such as {{kernel_size: 3}}"
        )
    if type(kernel) is not int or kernel < 1 or kernel % 2 == 0:
        raise RecipeError(f"neuron.recurrent.kernel_size = {brief(kernel)}; it must be an odd number of at least 1")
    quantizer = checked_weights(recipe)

    def leading_back(make: NeuronFactory) -> NeuronFactory:
        def layer(place: Place) -> Temporal:
            from hdlif.models import led_back
            from hdlif.nn import QuantConv2d

            width = place.channels
            return led_back(make(place), QuantConv2d(width, width, kernel, padding=kernel // 2, quantizer=quantizer()))

        return layer

    return leading_back


def check_parallel(recipe: Recipe, network: Temporal) -> None:
    """Raise `RecipeError` where neuron.parallel lists a layer that the network does not have."""
    parallel = recipe.neuron.arguments.get("parallel")
    if not isinstance(parallel, list):
        return
    from hdlif.nn import HDLIF, ParallelHDLIF

    layers = [name for name, module in network.named_modules() if isinstance(module, HDLIF | ParallelHDLIF)]
    places = [name.removesuffix(".neuron") for name in layers]
    for name in map(str, parallel):
        if name not in places:
            raise RecipeError(f"neuron.parallel: {brief(name)} is not a neuron layer; {did_you_mean(name, places)}")
        layer = network.get_submodule(layers[places.index(name)])
        if not isinstance(layer, ParallelHDLIF):
            raise RecipeError(
                f"neuron.parallel: {brief(name)} was made by its channels, and has no name until the network has it; "
                "give a pattern, or let the network make it as neuron(hdlif.models.Place(name, ...))"
            )


def _binary(layer: At | type[Neuron], recipe: Recipe, **arguments: Any) -> CheckedNeuron:
    kind = recipe.neuron.kind
    checked_spikes(recipe)
    if recipe.spikes.kind != "exact":
        raise RecipeError(
            f'spikes.kind = "{recipe.spikes.kind}" does not go with neuron.kind = "{kind}", whose spikes are binary; '
            "choose exact"
        )
    make = _neurons(layer, recipe, arguments)
    return CheckedNeuron(make, (make,))


def _graded(layer: At | type[Neuron], recipe: Recipe, **arguments: Any) -> CheckedNeuron:
    make = _neurons(layer, recipe, arguments, quantizer=_quantizer(recipe))
    return CheckedNeuron(make, (make,))


def own_neuron(kind: str) -> type[Neuron]:
    """The user's neuron class, `package.module:Name` or an installed package's. Raises `RecipeError`."""
    found = part(kind, "neuron.kind", NEURONS)
    from hdlif.nn import Neuron

    if not (isinstance(found, type) and issubclass(found, Neuron)):
        raise RecipeError(
            f'neuron.kind = "{kind}" is {brief(found)}; it must be a class derived from hdlif.nn.EquationNeuron, or '
            "from hdlif.nn.Neuron"
        )
    return found


def _own(layer: type[Neuron], recipe: Recipe, **arguments: Any) -> CheckedNeuron:
    from hdlif.nn import EquationNeuron

    if issubclass(layer, EquationNeuron):
        try:
            emits_steps = layer(time_steps=1).program().emits_steps
        except ValueError as error:
            raise RecipeError(f"neuron.kind = {recipe.neuron.kind}: {first_line(error)}") from error
        return (_binary if emits_steps else _graded)(layer, recipe, **arguments)
    return (_graded if "quantizer" in parameters(layer) else _binary)(layer, recipe, **arguments)


def _hdlif(
    recipe: Recipe,
    *,
    parallel: str | list[str] = "none",
    mem_bn: bool | dict[str, Any] = False,
    **arguments: Any,
) -> CheckedNeuron:
    listed = isinstance(parallel, list)
    if listed and (odd := [name for name in parallel if not isinstance(name, str)]):
        raise RecipeError(
            f"neuron.parallel has {brief(odd[0])}, which is no name of a layer; give names as text: "
            f"--set 'neuron.parallel=[\"{cut(str(odd[0]))}\"]'"
        )
    is_parallel = (
        (lambda place: place.name in parallel) if listed else choose(PARALLEL_PATTERNS, parallel, "neuron.parallel")
    )
    quantizer = _quantizer(recipe)
    vanilla = _neurons(
        _HDLIF, recipe, arguments, beside=("parallel", "mem_bn"), quantizer=quantizer, norm=_mem_bn(recipe, mem_bn)
    )
    shared = ["threshold", "learned", "granularity", "per_step", "threshold_form", "path"]
    if parallel == "all":
        idle = [key for key in arguments if key not in shared] + ["mem_bn"] * (mem_bn is not False)
        if idle:
            raise RecipeError(
                f'neuron.{idle[0]} has no effect with neuron.parallel = "all", where nothing is accumulated; '
                "leave it out, or let some layers accumulate"
            )
    of_both = {key: value for key, value in arguments.items() if key in shared}
    without = _neurons(_PARALLEL_HDLIF, recipe, of_both, quantizer=quantizer)
    return CheckedNeuron(lambda place: (without if is_parallel(place) else vanilla)(place), (vanilla, without))


NEURONS: Mapping[str, Callable[..., CheckedNeuron]] = {
    "lif": partial(_binary, _LIF),
    "glif": partial(_binary, _GLIF),
    "graded_lif": partial(_graded, _GRADED_LIF),
    "hdlif": _hdlif,
    "parallel_hdlif": partial(_graded, _PARALLEL_HDLIF),
    **{kind: partial(_graded, layer) for kind, layer in EQUATIONS.items()},
}


def _quantizer(recipe: Recipe) -> Callable[[Place], Any]:
    make = checked_spikes(recipe)
    return lambda place: make()


def _mem_bn(recipe: Recipe, chosen: bool | dict[str, Any]) -> Callable[[Place], Any]:
    if chosen is False:
        return lambda place: None
    if chosen is not True and not isinstance(chosen, dict):
        raise RecipeError(
            f"neuron.mem_bn = {brief(chosen)}; it must be true, false or a mapping such as {{mix: sigmoid}}"
        )
    arguments = chosen if isinstance(chosen, dict) else {}
    make = checked(At("hdlif.nn:MemBN"), "neuron.mem_bn", arguments, given=("time_steps", "channels"))
    return lambda place: make(time_steps=recipe.time_steps, channels=place.channels)


def _neurons(
    layer: At | type[Neuron],
    recipe: Recipe,
    arguments: Mapping[str, Any],
    *,
    beside: tuple[str, ...] = (),
    **parts: Callable[[Place], Any],
) -> NeuronFactory:
    """A factory of one kind of neuron, its arguments checked.

    Args:
        beside: keys that are not arguments of the neuron.
        parts: make what each layer has of its own, from its place.
    """
    plain = dict(arguments)
    granularity = choose(GRANULARITIES, plain.pop("granularity", "layer"), "neuron.granularity")
    if leaks := leaks_of(layer):
        parts |= _time_constants(recipe, plain, leaks)
        beside = ("time_constants", *beside)
    # One's own has no names of ours, and the reset of GLIF is a number.
    tables = {"surrogate": SURROGATES, "reset": RESETS} if isinstance(layer, At) else {}
    if layer is _GLIF:
        del tables["reset"]
    neuron = checked(
        layer,
        "neuron",
        plain,
        kind=recipe.neuron.kind,
        others=lambda: {
            "parallel",
            "mem_bn",
            "recurrent",
            "time_constants",
            *keys(*_LAYERS, *EQUATIONS.values(), tables=["surrogate", "reset"]),
        },
        tables=tables,
        beside=("granularity", *beside),
        given=("time_steps", "channels", *parts),
    )

    def make(place: Place) -> Temporal:
        own: Temporal = neuron(
            time_steps=recipe.time_steps,
            channels=granularity(place),
            **{name: part(place) for name, part in parts.items()},
        )
        return own

    return make


def leaks_of(layer: At | type[Neuron]) -> tuple[str, ...]:
    """The parameters that time constants may spread, first those that are leaks by their name; none of GLIF's."""
    if layer is _GLIF:
        return ()
    taken, declared = parameters(layer), () if isinstance(layer, At) else getattr(layer, "declared", ())
    return tuple(dict.fromkeys((*(name for name in LEAKS if name in taken), *declared)))


def _time_constants(recipe: Recipe, plain: dict[str, Any], leaks: Sequence[str]) -> dict[str, Callable[[Place], Any]]:
    """What makes the starts of the leaks that neuron.time_constants names; the key is taken out of `plain`.

    Raises:
        RecipeError: it names no leak, is none of the forms, has a leak beside it that it starts, or no channels.
    """
    chosen = plain.pop("time_constants", False)
    if chosen is False:
        return {}
    if isinstance(chosen, dict) and chosen:
        named = {f"neuron.time_constants.{cut(str(name))}": (name, span) for name, span in chosen.items()}
    elif leaks[0] in LEAKS:
        named = {"neuron.time_constants": (leaks[0], chosen)}
    else:
        raise RecipeError(
            f"neuron.time_constants: {recipe.neuron.kind} has no parameter leak or decay; name the one that is 1 - 1/τ "
            f"of a time constant, as time_constants: {{{leaks[0]}: {brief(chosen)}}}"
        )
    for key, (name, _) in named.items():
        if name not in leaks:
            raise RecipeError(f"{key}: it has no such leak; {did_you_mean(str(name), leaks)}")
        if name in plain:
            raise RecipeError(f"{key} and neuron.{name} both say where {name} starts; leave one of them out")
    if recipe.neuron.arguments.get("granularity", "layer") != "channel":
        raise RecipeError(
            "neuron.time_constants spreads leaks over channels, and there is one leak a layer; "
            "set neuron.granularity: channel"
        )
    return {name: _spread(key, span) for key, (name, span) in named.items()}


def _spread(key: str, span: object) -> Callable[[Place], Any]:
    """What makes the start of a layer's leak. Raises `RecipeError`."""
    if span is True:
        arguments = {}
    elif isinstance(span, list) and len(span) == 2 and all(type(one) in (int, float) for one in span):
        arguments = {"shortest": span[0], "longest": span[1]}
    else:
        raise RecipeError(
            f"{key} = {brief(span)}; it must be the shortest and the longest time constant in steps, such as [2, 128], "
            "or true for 2 to time_steps"
        )
    return lambda place: call(At("hdlif.nn:TimeConstants"), key, arguments)
