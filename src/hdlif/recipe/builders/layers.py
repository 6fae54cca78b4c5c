"""The sections `weights`, `spikes`, `norm` and `attention`, which set properties of the layers in a network's body."""

from __future__ import annotations

import fnmatch
from collections.abc import Collection, Mapping
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, Field, WithJsonSchema

from hdlif.config import Recipe
from hdlif.errors import RecipeError, brief, did_you_mean
from hdlif.recipe.builders.part import At, Keys, Part, Section, called, field

if TYPE_CHECKING:
    from hdlif.models import AttentionFactory, NormFactory, Place
    from hdlif.nn import Temporal, WeightQuantizer

V = TypeVar("V")
WEIGHT_BITS = (1, 1.5, 2, 3, 4, 5, 6, 7, 8, 32)
"""Accepted bits per weight for a single layer; 32 is fp32."""


def _weight_bits(bits: float) -> float:
    if bits not in WEIGHT_BITS:
        raise ValueError(f"should be one of {', '.join(map(str, WEIGHT_BITS))}")
    return bits


WeightBits = Annotated[float, AfterValidator(_weight_bits), WithJsonSchema({"enum": list(WEIGHT_BITS)})]


class Weights(Part):
    """The precision of the weights, with exceptions for individual layers."""

    BESIDE = frozenset({"keep_float", "quantise", "layers"})
    layers: dict[str, WeightBits] = field(
        {}, "Bits per weight of individual body layers: 1, 1.5, 2 to 8, or 32 for fp32; * matches any text."
    )
    keep_float: list[str] = field([], "Body layers that stay fp32; * matches any text.")
    quantise: list[str] = field(
        [], "Additional layers to quantise, such as stem.conv and classifier; * matches any text."
    )


class Float(Weights, kind="float"):
    """fp32 weights."""


class Ternary(Weights, kind="ternary", makes=At("hdlif.nn:Ternary")):
    """1.5-bit weights."""


class Binary(Weights, kind="binary", makes=At("hdlif.nn:Binary")):
    """1-bit weights."""


class Integer(Weights, kind="integer", makes=At("hdlif.nn:Integer")):
    """Weights of 2 to 8 bits, with a scale per output channel."""

    bits: int = field(4, "Bits per weight; for 1 and 1.5 bits, use the kinds binary and ternary.", ge=2, le=8)


WEIGHTS = Section[Weights]("weights", Float, Ternary, Binary, Integer, own=Weights)
"""Factories of the body's quantiser; `float` returns None."""


def place_quantizers(recipe: Recipe, network: Temporal, *, keep_weights: bool = False) -> None:
    """Set the quantisers of the layers listed in `weights.layers`, `weights.keep_float` and `weights.quantise`.

    Args:
        keep_weights: whether replaced layers keep their weights.
    """
    from torch import nn

    from hdlif.nn import QuantLayer
    from hdlif.nn.synapses import quant_like

    part = WEIGHTS.read(recipe.weights)
    layers = {name: m for name, m in network.named_modules() if isinstance(m, nn.Conv1d | nn.Conv2d | nn.Linear)}
    quantizers = {n: m.quantizer for n, m in layers.items() if isinstance(m, QuantLayer)}
    quantizer = part.build()
    # A layer is in both lists only if the weights are float, and weights.quantise then raises an error.
    of_body = [name for name, own in quantizers.items() if own == quantizer]
    fp32 = [name for name in layers if quantizers.get(name) is None]
    if part.quantise and quantizer is None:
        raise RecipeError(
            f'weights.quantise does not go with weights.kind = "{part.kind}"; leave it out, or choose one of '
            f"{', '.join(sorted(WEIGHTS.keys() - {'float'}))}"
        )
    for name in _matched("weights.keep_float", part.keep_float, of_body, "quantised"):
        network.get_submodule(name).quantizer = None  # type: ignore[assignment]
    for name in _matched("weights.quantise", part.quantise, fp32, "fp32"):
        parent, _, own = name.rpartition(".")
        try:
            made = quant_like(layers[name], quantizer)
        except ValueError as error:
            raise RecipeError(f"weights.quantise: {name} {error}") from error
        if keep_weights:
            made.load_state_dict(layers[name].state_dict())
        setattr(network.get_submodule(parent), own, made)
    in_body = {n: m for n, m in network.named_modules() if isinstance(m, QuantLayer)}
    own_bits = [name for name, layer in in_body.items() if quantizer is None or layer.quantizer is not None]
    for name in _matched("weights.layers", part.layers, own_bits, "body"):
        bits = of_layer(name, part.layers)
        assert bits is not None, "the name matches"
        in_body[name].quantizer = quantizer_of(bits)


def _matched(key: str, patterns: Collection[str], layers: Collection[str], what: str) -> list[str]:
    """Return the layers that match a pattern. Raises `RecipeError` if a pattern does not match any layer."""
    for pattern in patterns:
        if not fnmatch.filter(layers, pattern):
            fix = did_you_mean(pattern, layers)
            raise RecipeError(f"{key}: {brief(pattern)} matches no {what} layer; {fix}")
    return [name for name in layers if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)]


def of_layer(name: str, stated: Mapping[str, V]) -> V | None:
    """Return a section's entry for a layer, or None; an exact name takes precedence over patterns with *."""
    return stated.get(name, next((one for key, one in stated.items() if fnmatch.fnmatchcase(name, key)), None))


def quantizer_of(bits: float) -> WeightQuantizer | None:
    """Return the quantiser for a weight precision in `WEIGHT_BITS`, or None for fp32."""
    from hdlif import nn

    few: dict[float, Any] = {1: nn.Binary(), 1.5: nn.Ternary(), 32: None}
    return few[bits] if bits in few else nn.Integer(int(bits))


class Levels(Keys):
    """The levels to which the spikes of a single layer are rounded."""

    bits: int = field(..., "Bits per spike, which has 2^bits levels.", ge=1, le=8)
    step: float = field(0.25, "Distance between two levels; the initial distance if it is learned.", gt=0)


class Spikes(Part):
    """The rounding of spikes, with exceptions for individual layers."""

    BESIDE = frozenset({"layers"})
    layers: dict[str, Levels] = field(
        {}, "Levels of individual neuron layers, such as {body.stage1.*: {bits: 2, step: 0.5}}; * matches any text."
    )

    def build_for(self, place: Place) -> Any:
        """Return the spike quantiser of the neuron layer at `place`, or None for exact spikes."""
        levels = of_layer(place.name, self.layers)
        if levels is None:
            return self.build()
        stated = self.model_dump(include={"offset", "learned", "gradient"}) if isinstance(self, Quantised) else {}
        return Quantised.read("spikes.layers", stated | {"bits": levels.bits, "step": levels.step}).build()


class Exact(Spikes, kind="exact"):
    """Spikes without rounding."""


class Quantised(Spikes, kind="quantised", makes=At("hdlif.nn.spikes:SpikeQuantizer")):
    """Graded spikes, rounded to 2^bits levels."""

    bits: int = field(4, "Bits per spike, which has 2^bits levels.", ge=1, le=8)
    step: float = field(0.25, "Distance between two levels; the initial distance if it is learned.", gt=0)
    offset: float = field(0.5, "Rounding offset; 0.5 rounds to nearest.", ge=0, le=1)
    learned: bool = field(False, "Learn the step, one number per layer.")
    gradient: Literal["identity", "clip"] = field(
        "identity", "identity passes the gradient everywhere; clip stops it above the range."
    )


SPIKES = Section[Spikes]("spikes", Exact, Quantised, own=Spikes)
"""Builders that make a new quantiser per call, because layers do not share a learned step; `exact` returns None."""


def check_spike_layers(recipe: Recipe, network: Temporal) -> None:
    """Raise `RecipeError` if a layer in `spikes.layers` is missing or has a different number of levels than listed."""
    from hdlif.nn import Neuron

    stated = SPIKES.read(recipe.spikes).layers
    neurons = {name.removesuffix(".neuron"): m for name, m in network.named_modules() if isinstance(m, Neuron)}
    for name in _matched("spikes.layers", stated, list(neurons), "neuron"):
        levels, quantizer = of_layer(name, stated), getattr(neurons[name], "quantizer", None)
        if levels is None or quantizer is None or quantizer.bits != levels.bits:
            raise RecipeError(
                f"spikes.layers: {brief(name)} was created from its channels, so it has no name until the network "
                "contains it; leave it out, or create it in the network as neuron(hdlif.models.Place(name, ...))"
            )


class BatchNorm(Part, kind="batch_norm"):
    """Batch norm per channel."""

    per_step: bool = field(
        False, "Keep separate statistics for each time step; unsuitable if steps are blank in most samples."
    )
    momentum: Annotated[float, Field(gt=0, le=1)] | None = field(
        0.1, "Weight of a new batch's statistics; null averages all batches."
    )
    eps: float = field(1e-5, "Constant added to the variance.", ge=0)

    def build(self, **given: Any) -> NormFactory:
        from hdlif.nn import BatchNorm2d

        time_steps = given["time_steps"] if self.per_step else None
        return partial(BatchNorm2d, time_steps=time_steps, momentum=self.momentum, eps=self.eps)


class Affine(Part, kind="affine"):
    """A gain and a shift per channel, without statistics."""

    scale: float = field(1.0, "Initial gain.", gt=0)

    def build(self, **given: Any) -> NormFactory:
        from hdlif.nn import Affine as Norm

        return partial(Norm, scale=self.scale)


NORMS = Section[Part]("norm", Affine, BatchNorm, own=Part, given=("time_steps",))
"""Builders of functions that make a norm for a number of channels."""


ATTENTION_BLOCKS = {"I": At("hdlif.models.blocks:AttentionBlockI"), "II": At("hdlif.models.blocks:AttentionBlockII")}
"""Forms of attention in residual blocks; a plain network has only one form."""


class NoAttention(Part, kind="none"):
    """No attention."""


class Attention(Part):
    """An attention module, and the type of residual block that contains it."""

    BESIDE = frozenset({"form"})
    form: Literal["I", "II"] = field("I", "Place of the attention in residual blocks.")


class SECA(Attention, kind="seca"):
    """Spiking efficient channel attention."""

    per_step: bool = field(False, "Learn a kernel for each time step.")
    kernel_size: int = field(5, "Number of channels that a gate reads, an odd number.", ge=1)
    bias: bool = field(True, "Add a bias to the gate.")

    def build(self, **given: Any) -> AttentionFactory:
        from hdlif import nn

        time_steps = given["time_steps"] if self.per_step else None
        make = partial(nn.SECA, kernel_size=self.kernel_size, bias=self.bias, time_steps=time_steps)
        called(self._section, lambda: make(1), {})
        return make


class ECA(Attention, kind="eca", makes=At("hdlif.nn:eca").get):
    """Efficient channel attention, as originally published."""


ATTENTIONS = Section[Part]("attention", NoAttention, SECA, ECA, own=Attention, given=("time_steps",))


def read_attention(recipe: Recipe, argument: Literal["block", "attention"] | None) -> Attention | None:
    """Check the `attention` section for a network; `argument` is the network's argument for attention, or None."""
    part = ATTENTIONS.read(recipe.attention)
    if not isinstance(part, Attention):
        return None
    of_model = f'model.kind = "{recipe.model.kind}"'
    if argument is None:
        raise RecipeError(f'attention.kind = "{recipe.attention.kind}" does not go with {of_model}; choose none')
    if argument == "attention" and "form" in part.model_fields_set:
        raise RecipeError(f"attention.form does not go with {of_model}, where attention has one form; leave it out")
    return part


def attention_arguments(recipe: Recipe, argument: Literal["block", "attention"] | None) -> dict[str, Any]:
    """Return a network's argument for attention, or an empty dict if there is no attention."""
    part = read_attention(recipe, argument)
    if part is None or argument is None:
        return {}
    made = part.build(time_steps=recipe.time_steps)
    return {argument: made if argument == "attention" else partial(ATTENTION_BLOCKS[part.form].get(), attention=made)}
