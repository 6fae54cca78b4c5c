"""What all kinds of neurons have in common: how a section makes layers from their places."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from hdlif.errors import RecipeError, brief, cut, did_you_mean
from hdlif.recipe.builders.part import At, Keys, Part, called, field
from hdlif.recipe.builders.spikes import SPIKES
from hdlif.recipe.builders.weights import WEIGHTS
from hdlif.recipe.config import Recipe

if TYPE_CHECKING:
    from hdlif.models import NeuronFactory, Place
    from hdlif.nn import Temporal

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
"""What makes each; the soft reset is a function."""
PARALLEL_PATTERNS: Mapping[Pattern, Callable[[Place], bool]] = {
    "none": lambda place: False,
    "alternate": lambda place: place.index % 2 == 1,
    "second_block": lambda place: place.block % 2 == 1,
    "all": lambda place: True,
}
"""Which neuron layers have no accumulation. In a residual net "alternate" is the second neuron of every block."""
LEAKS = ("leak", "decay", "synapse_leak", "adaptation_leak")
"""Of the kinds that ship; the first that a neuron has is the one that time constants mean without a name."""
Span = bool | Annotated[list[float], Field(min_length=2, max_length=2)]


class Recurrence(Keys):
    """The synapse of a layer that reads what it emitted at the step before."""

    kernel_size: int = field(1, "Side of its kernel, odd.", ge=1)


class MemBN(Keys, makes=At("hdlif.nn:MemBN")):
    """Batch norm of the membrane."""

    mix: Literal["raw", "sigmoid"] = field("raw", "raw learns the two scales themselves; sigmoid keeps them in (0, 1).")
    eps: float = field(1e-5, "Added to the variance.", ge=0)
    momentum: float | None = field(0.1, "Weight of a new batch's statistics; null takes the mean of all batches.")


class AnyNeuron(Part):
    """A neuron; its layers have binary or graded spikes."""

    BESIDE: ClassVar[frozenset[str]] = frozenset(
        {"granularity", "recurrent", "time_constants", "surrogate", "reset", "parallel", "mem_bn"}
    )
    IS_GRADED: ClassVar[bool] = True
    LEAKS: ClassVar[tuple[str, ...]] = ()
    """The parameters that time constants may spread, first those that are leaks by their name."""

    granularity: Literal["layer", "channel"] = field(
        "layer", "Share leak and threshold in a layer, or give each channel its own."
    )
    recurrent: bool | Recurrence = field(
        False, "Each layer also reads what it emitted at the step before: true, or {kernel_size: 3}."
    )

    def layers(self, recipe: Recipe) -> tuple[NeuronFactory, ...]:
        """Return what makes a layer of each kind that there may be, from its place."""
        made = self._layers(recipe)
        if self.recurrent is False:
            return made
        kernel = self.recurrent.kernel_size if isinstance(self.recurrent, Recurrence) else 1
        if kernel % 2 == 0:
            raise RecipeError(f"neuron.recurrent.kernel_size = {kernel}; it must be an odd number of at least 1")
        return tuple(_with_feedback(layer, kernel, WEIGHTS.read(recipe.weights)) for layer in made)

    def chosen(self, place: Place) -> int:
        """Return which of `layers` stands at a place."""
        return 0

    def _layers(self, recipe: Recipe) -> tuple[NeuronFactory, ...]:
        return (self.factory(recipe, **self.parts(recipe)),)

    def parts(self, recipe: Recipe) -> dict[str, Callable[[Place], Any]]:
        """Return what makes the parts that each layer has of its own, from its place."""
        spikes = SPIKES.read(recipe.spikes)
        if self.IS_GRADED:
            return {"quantizer": lambda place: spikes.build()}
        if spikes.kind != "exact":
            raise RecipeError(
                f'spikes.kind = "{spikes.kind}" does not go with neuron.kind = "{self.kind}", whose spikes are binary; '
                "choose exact"
            )
        return {}

    def factory(self, recipe: Recipe, **parts: Callable[[Place], Any]) -> NeuronFactory:
        """Return what makes a layer of `MAKES` from its place; its parts are made for each layer."""
        tables: dict[str, Mapping[Any, Callable[[], Any]]] = {"surrogate": SURROGATES, "reset": RESETS}
        stated = {key: getattr(self, key) for key in tables if key in self.model_fields_set}
        parts |= self._time_constants()

        def make(place: Place) -> Temporal:
            channels = place.channels if self.granularity == "channel" else None
            # The reset of GLIF is a number.
            values = {key: tables[key][name]() if name in tables[key] else name for key, name in stated.items()}
            of_place = {name: made(place) for name, made in parts.items()}
            layer: Temporal = self.build(time_steps=recipe.time_steps, channels=channels, **values, **of_place)
            return layer

        return make

    def _time_constants(self) -> dict[str, Callable[[Place], Any]]:
        """Return what makes the starts of the leaks that neuron.time_constants names.

        Raises:
            RecipeError: it names no leak, a leak has a start of its own, or there are no channels.
        """
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
                raise RecipeError(f"{key} and neuron.{name} both say where {name} starts; leave one of them out")
        if self.granularity != "channel":
            raise RecipeError(
                "neuron.time_constants spreads leaks over channels, and there is one leak per layer; "
                "set neuron.granularity: channel"
            )
        return {name: _spread(key, span) for key, (name, span) in named.items() if span is not False}


def _spread(key: str, span: bool | list[float]) -> Callable[[Place], Any]:
    arguments: dict[str, Any] = {} if isinstance(span, bool) else {"shortest": span[0], "longest": span[1]}
    return lambda place: called(key, At("hdlif.nn:TimeConstants"), arguments)


def _with_feedback(make: NeuronFactory, kernel: int, weights: Part) -> NeuronFactory:
    """Make layers recurrent, by a convolution of what they emitted at the step before."""

    def layer(place: Place) -> Temporal:
        from hdlif.models import led_back
        from hdlif.nn import QuantConv2d

        width, quantizer = place.channels, weights.build()
        return led_back(make(place), QuantConv2d(width, width, kernel, padding=kernel // 2, quantizer=quantizer))

    return layer
