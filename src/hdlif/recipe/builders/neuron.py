"""The `neuron` section: kinds of neurons, and factories that make the layer for a `Place` in the network."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self, cast

from pydantic import Field

from hdlif.config import Recipe
from hdlif.errors import RecipeError, brief, cut, did_you_mean, first_line
from hdlif.recipe.builders.external_parts import found_part
from hdlif.recipe.builders.layers import SPIKES, WEIGHTS
from hdlif.recipe.builders.part import At, Keys, Part, Section, called, field, takes

if TYPE_CHECKING:
    from hdlif.models import NeuronFactory, Place
    from hdlif.nn import Neuron, Temporal

Surrogate = Literal["triangle", "rectangle", "sigmoid", "atan", "dspike"]
Reset = Literal["soft", "hard", "soft_detached", "hard_detached"]
Pattern = Literal["none", "alternate", "second_block", "all"]
SURROGATES: Mapping[Surrogate, Callable[[], Any]] = {
    "triangle": At("hdlif.functional:Triangle"),
    "rectangle": At("hdlif.functional:Rectangle"),
    "sigmoid": At("hdlif.functional:Sigmoid"),
    "atan": At("hdlif.functional:ATan"),
    "dspike": At("hdlif.nn:Dspike"),
}
_HARD, _DETACHED = At("hdlif.functional:HardReset"), At("hdlif.functional:DetachedReset")
RESETS: Mapping[Reset, Callable[[], Any]] = {
    "soft": At("hdlif.functional:soft_reset").get,
    "hard": _HARD,
    "soft_detached": _DETACHED,
    "hard_detached": lambda: _DETACHED(_HARD()),
}
"""Factory of each reset; the soft reset is a function."""
PARALLEL_PATTERNS: Mapping[Pattern, Callable[[Place], bool]] = {
    "none": lambda place: False,
    "alternate": lambda place: place.index % 2 == 1,
    "second_block": lambda place: place.block % 2 == 1,
    "all": lambda place: True,
}
"""Patterns of stateless neuron layers. In a residual network, "alternate" selects the second layer of every block."""
LEAKS = ("leak", "decay", "synapse_leak", "adaptation_leak")
"""Names of leaks of shipped neurons; time constants without a name apply to a neuron's first leak."""
Span = bool | Annotated[list[float], Field(min_length=2, max_length=2)]


class Recurrence(Keys):
    """The recurrent synapse of a layer, whose input is the layer's output at the previous step."""

    kernel_size: int = field(1, "Side of the kernel, an odd number.", ge=1)


class MemBN(Keys, makes=At("hdlif.nn:MemBN")):
    """Batch norm of the membrane potential."""

    mix: Literal["raw", "sigmoid"] = field("raw", "raw learns the two scales directly; sigmoid keeps them in (0, 1).")
    eps: float = field(1e-5, "Constant added to the variance.", ge=0)
    momentum: float | None = field(0.1, "Weight of a new batch's statistics; null averages all batches.")


class AnyNeuron(Part):
    """Base class for kinds of neurons, with binary or graded spikes."""

    BESIDE: ClassVar[frozenset[str]] = frozenset(
        {"granularity", "recurrent", "time_constants", "surrogate", "reset", "parallel", "mem_bn"}
    )
    IS_GRADED: ClassVar[bool] = True
    STATES: ClassVar[tuple[str, ...]] = ("potential",)
    """States that a shipped neuron has with default keys."""
    LEAKS: ClassVar[tuple[str, ...]] = ()
    """Parameters that time constants may initialise, with those named leak first."""

    granularity: Literal["layer", "channel"] = field(
        "layer", "Share the leak and threshold across a layer, or use one pair per channel."
    )
    recurrent: bool | Recurrence = field(
        False, "Each layer also receives its own output from the previous step: true, or {kernel_size: 3}."
    )

    @classmethod
    def derive(cls, function: Any, key: str, kind: str, given: Collection[str] = ()) -> type[Self]:
        from hdlif.nn import EquationNeuron

        layer = own_neuron_class(function, kind)
        leaks = leaks_of(layer)
        # Neurons with leaks also take time constants.
        part: Any = super(AnyNeuron, _Spread if leaks else cls).derive(layer, key, kind, given)  # type: ignore[misc]
        part.LEAKS, part.IS_GRADED = leaks, "quantizer" in takes(layer)
        if issubclass(layer, EquationNeuron):
            try:
                part.IS_GRADED = not layer(time_steps=1).program().emits_steps
            except ValueError as error:
                raise RecipeError(f"neuron.kind = {kind}: {first_line(error)}") from error
        return cast(type[Self], part)

    def layers(self, recipe: Recipe) -> tuple[NeuronFactory, ...]:
        """Return factories for the kinds of layers in use; each factory makes the layer for a `Place`."""
        made = self._layers(recipe)
        if self.recurrent is False:
            return made
        kernel = self.recurrent.kernel_size if isinstance(self.recurrent, Recurrence) else 1
        if kernel % 2 == 0:
            raise RecipeError(f"neuron.recurrent.kernel_size = {kernel}; it must be an odd number of at least 1")
        return tuple(_with_feedback(layer, kernel, WEIGHTS.read(recipe.weights)) for layer in made)

    def chosen(self, place: Place) -> int:
        """Return the index in `layers` of the factory for `place`."""
        return 0

    def _layers(self, recipe: Recipe) -> tuple[NeuronFactory, ...]:
        return (self.factory(recipe, **self.parts(recipe)),)

    def parts(self, recipe: Recipe) -> dict[str, Callable[[Place], Any]]:
        """Return factories for the parts of a layer; each factory makes the part for a `Place`."""
        spikes = SPIKES.read(recipe.spikes)
        if self.IS_GRADED:
            return {"quantizer": spikes.build_for}
        if spikes.kind != "exact" or spikes.layers:
            key = "spikes.layers" if spikes.layers else f'spikes.kind = "{spikes.kind}"'
            seen = f'{key} does not go with neuron.kind = "{self.kind}"'
            fix = "leave it out" if spikes.layers else "choose exact"
            raise RecipeError(f"{seen}, whose spikes are binary; {fix}")
        return {}

    def factory(self, recipe: Recipe, **parts: Callable[[Place], Any]) -> NeuronFactory:
        """Return a factory that calls `MAKES` to make the layer for a `Place`; each layer gets its own parts."""
        tables: dict[str, Mapping[Any, Callable[[], Any]]] = {"surrogate": SURROGATES, "reset": RESETS}
        stated = {key: getattr(self, key) for key in tables if key in self.model_fields_set}
        parts |= self._time_constants()

        def make(place: Place) -> Temporal:
            channels = place.channels if self.granularity == "channel" else None
            # GLIF's reset is a number.
            values = {key: tables[key][name]() if name in tables[key] else name for key, name in stated.items()}
            of_place = {name: made(place) for name, made in parts.items()}
            layer: Temporal = self.build(time_steps=recipe.time_steps, channels=channels, **values, **of_place)
            return layer

        return make

    def _time_constants(self) -> dict[str, Callable[[Place], Any]]:
        """Return the initialisers for the leaks in `neuron.time_constants`. Raises `RecipeError`."""
        stated = getattr(self, "time_constants", False)
        if stated is False:
            return {}
        if isinstance(stated, dict):
            named = {f"neuron.time_constants.{cut(name)}": (name, span) for name, span in stated.items()}
        elif self.LEAKS[0] in LEAKS:
            named = {"neuron.time_constants": (self.LEAKS[0], stated)}
        else:
            raise RecipeError(
                f"neuron.time_constants: {self.kind} has no parameter leak or decay; name the one that is 1 - 1/τ "
                f"of a time constant, as time_constants: {{{self.LEAKS[0]}: {brief(stated)}}}"
            )
        for key, (name, _) in named.items():
            if name not in self.LEAKS:
                raise RecipeError(f"{key}: it has no such leak; {did_you_mean(name, self.LEAKS)}")
            if name in self.arguments:
                raise RecipeError(f"{key} and neuron.{name} both set the initial {name}; leave one of them out")
        if self.granularity != "channel":
            seen = "neuron.time_constants spreads leaks over channels, but there is one leak per layer"
            raise RecipeError(f"{seen}; set neuron.granularity: channel")
        return {name: _spread(key, span) for key, (name, span) in named.items() if span is not False}


def _spread(key: str, span: bool | list[float]) -> Callable[[Place], Any]:
    arguments: dict[str, Any] = {} if isinstance(span, bool) else {"shortest": span[0], "longest": span[1]}
    return lambda place: called(key, At("hdlif.nn:TimeConstants"), arguments)


def _with_feedback(make: NeuronFactory, kernel: int, weights: Part) -> NeuronFactory:
    """Return a factory for recurrent layers, which also receive a convolution of their outputs at the previous step."""

    def layer(place: Place) -> Temporal:
        from hdlif.models import led_back
        from hdlif.nn import QuantConv2d

        width, quantizer = place.channels, weights.build()
        return led_back(make(place), QuantConv2d(width, width, kernel, padding=kernel // 2, quantizer=quantizer))

    return layer


class _Threshold(AnyNeuron):
    threshold: float = field(0.5, "Initial threshold θ.")
    path: Literal["steps", "fused"] | None = field(
        None, "Run a chunk step by step or fused, which differs only by rounding; automatic by default."
    )


class _Learned(_Threshold):
    learned: bool = field(True, "Learn the leak and the threshold; otherwise both are fixed.")
    per_step: bool = field(True, "Use separate values for each time step; false shares them across steps.")


class _Formed(_Learned):
    threshold_form: Literal["sigmoid", "softplus"] = field("sigmoid", "Function that bounds a learned threshold.")


class _Spread(AnyNeuron):
    time_constants: Span | Annotated[dict[str, Span], Field(min_length=1)] = field(
        False,
        (
            "Time constants to spread over channels: [shortest, longest] in steps such as [2, 128], true for 2 to T, "
            "or a mapping of leaks to such ranges."
        ),
    )


class _Stepped(AnyNeuron):
    surrogate: Surrogate = field("triangle", "Surrogate gradient, which replaces the derivative of the step function.")


class _Low(_Stepped):
    threshold_low: float | None = field(None, "Lower limit of a learned threshold.")


class _Leak(_Spread):
    LEAKS: ClassVar[tuple[str, ...]] = ("leak",)
    leak: float = field(0.5, "Initial leak λ: the fraction of the potential that a step keeps.")


class LIF(_Formed, _Leak, _Low, kind="lif", makes=At("hdlif.nn:LIF")):
    """Leaky integrate-and-fire neurons with binary spikes."""

    IS_GRADED = False
    threshold: float = field(1.0, "Initial threshold θ.")
    learned: bool = field(False, "Learn the leak and the threshold; otherwise both are fixed.")
    reset: Reset = field("soft", "Subtract the threshold (soft), or set to 0 (hard); detached resets have no gradient.")


class GLIF(_Threshold, _Stepped, kind="glif", makes=At("hdlif.nn:GLIF")):
    """Gated LIF neurons with spikes of 0 or 1."""

    IS_GRADED = False
    STATES = ("potential", "fired")
    per_step: bool = field(False, "Use separate values for each time step; false shares them across steps.")
    leak: float = field(0.25, "Initial exponential decay.")
    linear_leak: float | None = field(None, "Initial amount that each step subtracts.")
    reset: float | None = field(None, "Initial amount that a spike subtracts; the threshold by default.")


class GradedLIF(_Formed, _Leak, _Low, kind="graded_lif", makes=At("hdlif.nn:GradedLIF")):
    """LIF neurons with graded spikes, which equal the amount by which the membrane potential exceeds the threshold."""


class ParallelHDLIF(_Formed, kind="parallel_hdlif", makes=At("hdlif.nn:ParallelHDLIF")):
    """HD-LIF neurons without accumulation or state."""

    STATES = ()


class HDLIF(_Formed, _Leak, kind="hdlif", makes=At("hdlif.nn:HDLIF")):
    """HD-LIF neurons, which have graded spikes and a reset whose gradient factors are constant."""

    parallel: Pattern | list[str] = field("none", "Stateless layers: a pattern, or a list of layer names.")
    mem_bn: bool | MemBN = field(False, "Batch norm of the membrane potential: true, or {mix: sigmoid}.")

    def _layers(self, recipe: Recipe) -> tuple[NeuronFactory, ...]:
        parts = self.parts(recipe)
        accumulating = self.factory(recipe, **parts, norm=self._mem_bn(recipe))
        shared = ParallelHDLIF.model_fields.keys() - {"kind"}
        stated = [key for key in type(self).model_fields if key in self.model_fields_set]
        idle = [key for key in stated if key not in {*shared, "kind", "parallel"} and getattr(self, key) is not False]
        if self.parallel == "all" and idle:
            seen = f'neuron.{idle[0]} has no effect with neuron.parallel = "all", where nothing is accumulated'
            raise RecipeError(f"{seen}; leave it out, or let some layers accumulate")
        without = ParallelHDLIF.read("neuron", {key: getattr(self, key) for key in stated if key in shared})
        return accumulating, without.factory(recipe, **parts)

    def chosen(self, place: Place) -> int:
        if isinstance(self.parallel, list):
            return int(place.name in self.parallel)
        return int(PARALLEL_PATTERNS[self.parallel](place))

    def _mem_bn(self, recipe: Recipe) -> Callable[[Place], Any]:
        if self.mem_bn is False:
            return lambda place: None
        norm = MemBN.read("neuron.mem_bn", self.mem_bn.arguments if isinstance(self.mem_bn, MemBN) else {})
        return lambda place: norm.build(time_steps=recipe.time_steps, channels=place.channels)


class AdaptiveHDLIF(_Learned, _Leak, kind="adaptive_hdlif", makes=At("hdlif.nn:AdaptiveHDLIF")):
    """HD-LIF neurons with a threshold that rises with each spike and then decays."""

    STATES = ("potential", "adaptation")
    LEAKS = ("leak", "adaptation_leak")
    adaptation_leak: float = field(0.9, "Initial ρ: the fraction of the threshold's rise that a step keeps.")
    rise: float = field(0.1, "Initial δ: the rise of the threshold per unit of emitted spike.")


class SecondOrderHDLIF(_Learned, _Leak, kind="second_order_hdlif", makes=At("hdlif.nn:SecondOrderHDLIF")):
    """HD-LIF neurons with an additional synaptic current, which has its own leak."""

    STATES = ("synapse", "potential")
    LEAKS = ("leak", "synapse_leak")
    synapse_leak: float = field(0.5, "Initial μ: the fraction of the synaptic current that a step keeps.")


class ResonateHDLIF(_Learned, _Spread, kind="resonate_hdlif", makes=At("hdlif.nn:ResonateHDLIF")):
    """Neurons with HD-LIF's graded spikes and a state of two numbers, which is rotated at each step."""

    STATES = ("potential", "w")
    LEAKS = ("decay",)
    decay: float = field(0.9, "Initial fraction of the state that a step keeps.")
    angle: float = field(0.5, "Initial rotation of the state per step, in radians.")


class SlidingParallelHDLIF(_Learned, kind="sliding_parallel_hdlif", makes=At("hdlif.nn:SlidingParallelHDLIF")):
    """Parallel HD-LIF neurons that filter the most recent currents with taps of -1, 0 and 1."""

    STATES = ("delayed_1",)
    taps: list[int] = field([1, 1], "Weights of the last currents: one to four values from -1, 0 and 1.")


NEURONS = Section[AnyNeuron](
    "neuron",
    *(LIF, GLIF, GradedLIF, HDLIF, ParallelHDLIF),
    *(AdaptiveHDLIF, SecondOrderHDLIF, ResonateHDLIF, SlidingParallelHDLIF),
    own=AnyNeuron,
    given=("time_steps", "channels", "quantizer", "norm"),
)


CLASSES: Mapping[str, Any] = {kind: part.MAKES for kind, part in NEURONS.items()}
"""Class of each shipped kind, as an `At`."""
EQUATIONS: Mapping[str, Any] = {
    kind: CLASSES[kind] for kind in ("adaptive_hdlif", "second_order_hdlif", "resonate_hdlif", "sliding_parallel_hdlif")
}
"""Shipped kinds that are an `EquationNeuron`, like custom neurons."""


def read_neuron(recipe: Recipe) -> AnyNeuron:
    """Check the sections `neuron` and `spikes`."""
    for key in ("time_steps", "spikes"):
        if key in recipe.neuron.arguments:
            raise RecipeError(f"neuron.{key} cannot be set here; set {key} at the top level of the recipe")
    neuron = NEURONS.read(recipe.neuron)
    neuron.layers(recipe)
    return neuron


def build_neuron(recipe: Recipe) -> NeuronFactory:
    """Return the factory that makes the recipe's neuron layer for a `Place` in the network."""
    from hdlif.models import Place

    neuron = read_neuron(recipe)
    layers = neuron.layers(recipe)
    # Check the values before building a network.
    for make in layers:
        make(Place("tried", 0, 0, 0, 0, 1))
    return lambda place: layers[neuron.chosen(place)](place)


def check_parallel(recipe: Recipe, network: Temporal) -> None:
    """Raise `RecipeError` if `neuron.parallel` lists a layer that the network does not have."""
    parallel = recipe.neuron.arguments.get("parallel")
    if not isinstance(parallel, list):
        return
    from hdlif import nn

    both = nn.HDLIF | nn.ParallelHDLIF
    layers = [name for name, module in network.named_modules() if isinstance(module, both)]
    places = [name.removesuffix(".neuron") for name in layers]
    for name in map(str, parallel):
        if name not in places:
            raise RecipeError(f"neuron.parallel: {brief(name)} is not a neuron layer; {did_you_mean(name, places)}")
        layer = network.get_submodule(layers[places.index(name)])
        if not isinstance(layer, nn.ParallelHDLIF):
            raise RecipeError(
                f"neuron.parallel: {brief(name)} was created from its channels, so it has no name until the network "
                "contains it; give a pattern, or create it in the network as neuron(hdlif.models.Place(name, ...))"
            )


def own_neuron(kind: str) -> type[Neuron]:
    """Return the custom neuron class at `package.module:Name`, or from an installed package. Raises `RecipeError`."""
    return own_neuron_class(found_part(kind, "neuron.kind", NEURONS), kind)


def own_neuron_class(found: Any, kind: str) -> type[Neuron]:
    """Return `found` if it is a neuron class. Raises `RecipeError`."""
    from hdlif.nn import Neuron

    if not (isinstance(found, type) and issubclass(found, Neuron)):
        fix = "it must be a class derived from hdlif.nn.EquationNeuron, or from hdlif.nn.Neuron"
        raise RecipeError(f'neuron.kind = "{kind}" is {brief(found)}; {fix}')
    return found


def leaks_of(layer: type[Neuron]) -> tuple[str, ...]:
    """Return the parameters of a class that `time_constants` may set; those in `LEAKS` come first."""
    taken, declared = takes(layer), getattr(layer, "declared", ())
    return tuple(dict.fromkeys((*(name for name in LEAKS if name in taken), *declared)))
