"""The `model` section: a network whose neurons, weights, norms and attention are set in other sections."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Collection, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from hdlif.config import Recipe
from hdlif.errors import ConversionError, RecipeError
from hdlif.recipe.builders.data import data_kind, input_record
from hdlif.recipe.builders.layers import (
    NORMS,
    WEIGHTS,
    attention_arguments,
    check_spike_layers,
    place_quantizers,
    read_attention,
)
from hdlif.recipe.builders.neuron import build_neuron, check_parallel, read_neuron
from hdlif.recipe.builders.part import At, Part, Section, field, takes
from hdlif.recipe.builders.spiking import check_of
from hdlif.recipe.builders.training import check_budgets

if TYPE_CHECKING:
    from hdlif.models import NeuronFactory, Place
    from hdlif.nn import Temporal

MOST_LAYERS = 1000
"""Maximum number of blocks in all stages, or of entries in a plan; even counting a network builds all of them."""
MOST_STAGES = 16
"""Maximum number of stages, each of which doubles the channels."""
Stem = Literal["cifar", "imagenet"]
STEMS: Mapping[Stem, Callable[[], Callable[[int, int], Any]]] = {
    "cifar": At("hdlif.models:cifar_stem").get,
    "imagenet": At("hdlif.models:imagenet_stem").get,
}
"""Factory of each stem: a function of (image channels, width)."""
PARTS = ("neuron", "conv", "quantizer", "norm", "classes", "in_channels", "in_size", "time_steps")
"""Arguments passed to a network if it accepts them: factories of its parts, and properties of the data."""


class Model(Part):
    """A network; `ATTENTION` is the name of the network's argument for attention, if any."""

    ATTENTION: ClassVar[Literal["block", "attention"] | None] = None

    @classmethod
    def derive(cls, function: Any, key: str, kind: str, given: Collection[str] = ()) -> type[Self]:
        part, taken = super().derive(function, key, kind, given), takes(function)
        part.ATTENTION = "block" if "block" in taken else "attention" if "attention" in taken else None
        return part

    @property
    def divisor(self) -> int:
        """A number by which the input's height and width must be divisible."""
        return 1


class _Series(Model):
    ATTENTION = "attention"

    widths: list[int] = field([64, 64], "Outputs of each layer.")


class Dense(_Series, kind="dense", makes=At("hdlif.models:dense")):
    """Fully connected layers, for time series, tables and small images."""


class Recurrent(_Series, kind="recurrent", makes=At("hdlif.models:recurrent")):
    """Fully connected layers that also receive their outputs from the previous step."""


class Conv1d(_Series, kind="conv1d", makes=At("hdlif.models:conv1d")):
    """Causal convolutions over time, for time series."""

    kernel: int = field(5, "Number of time steps that a layer reads.")
    dilations: list[int] | None = field(
        None, "Dilation of each layer: the distance between the time steps that it reads; 1 by default."
    )
    companded: list[int] = field(
        [], "Input channels, numbered from 0, that the first layer reads on a nearly logarithmic scale."
    )
    changes: bool = field(False, "The first layer also reads the change of each channel since the previous step.")


class _Residual(Model):
    BESIDE = frozenset({"stem"})
    ATTENTION: ClassVar[Literal["block", "attention"] | None] = "block"

    stem: Stem = field("cifar", "The first layers: cifar for small images, imagenet for large ones.")

    def build(self, **given: Any) -> Any:
        stem = {"stem": STEMS[self.stem]()} if "stem" in self.model_fields_set else {}
        return super().build(**given, **stem)


class _ResNet(_Residual):
    inner: dict[str, int] | None = field(
        None, "Channels between the convolutions of blocks, such as {body.stage2.0: 48}; the stage's by default."
    )


class ResNet(_ResNet, kind="resnet", makes=At("hdlif.models:resnet")):
    """A pre-activation ResNet with configurable depth and width."""

    blocks: list[int] = field(..., "Number of blocks in each stage.")
    width: int = field(..., "Channels of the stem and first stage; each later stage has twice as many.")


class ResNet18(_ResNet, kind="resnet18", makes=At("hdlif.models:resnet18")):
    """ResNet-18."""

    width: int = field(64, "Channels of the stem and first stage; each later stage has twice as many.")


class ResNet19(_ResNet, kind="resnet19", makes=At("hdlif.models:resnet19")):
    """ResNet-19."""

    width: int = field(128, "Channels of the stem and first stage; each later stage has twice as many.")
    hidden: int = field(256, "Neurons between the pooled map and the classifier.")


class ResNet34(_ResNet, kind="resnet34", makes=At("hdlif.models:resnet34")):
    """ResNet-34."""

    width: int = field(64, "Channels of the stem and first stage; each later stage has twice as many.")
    stem: Stem = field("imagenet", "The first layers: cifar for small images, imagenet for large ones.")


class ReversibleResNet(_Residual, kind="reversible_resnet", makes=At("hdlif.models:reversible_resnet")):
    """A ResNet whose training memory under STBP does not grow with its depth."""

    ATTENTION = None
    blocks: list[int] = field(..., "Number of blocks in each stage.")
    width: int = field(..., "Channels of the stem and first stage; each later stage has twice as many.")
    grid: float | None = field(
        2.0**-16, "Grid step to which reversible blocks round, a power of two; null turns rounding off."
    )


class QKFormer(_Residual, kind="qk_former", makes=At("hdlif.models:qk_former")):
    """A spiking transformer with Q-K attention, for images."""

    ATTENTION = None
    width: int = field(64, "Channels of the stem and first stage; each later stage has twice as many.")
    blocks: list[int] = field([1, 2], "Number of attention and MLP pairs in each stage.")
    strides: list[int] | None = field(None, "Stride of the first convolution of each stage; 2 for each by default.")
    heads: int = field(8, "Heads of token attention in all stages except the last; they must divide the width.")
    mlp_ratio: int = field(4, "Ratio of an MLP's inner channels to its stage's channels.")
    inner: dict[str, int] | None = field(
        None, "Channels between the convolutions of individual patch embeddings, such as {body.stage1.embed: 48}."
    )


class UNet(Model, kind="unet", makes=At("hdlif.models:unet")):
    """A U-Net, which predicts a class or an object at each pixel."""

    ATTENTION = "block"

    width: int = field(..., "Channels at full size; each halving doubles them.")
    depth: int = field(
        ..., "Number of times the map is halved; the image's sides must be multiples of 2^depth.", le=MOST_STAGES
    )
    inner: dict[str, int] | None = field(
        None, "Channels between the convolutions of individual blocks, such as {body.up0: 8}."
    )

    @property
    def divisor(self) -> int:
        return int(2**self.depth)


class VGG(Model, kind="vgg_snn", makes=At("hdlif.models:vgg_snn")):
    """A plain network of 3x3 convolutions and pooling layers."""

    ATTENTION = "attention"
    plan: list[int | str] = field(
        [64, 128, "P", 256, 256, "P", 512, 512, "P", 512, 512, "P"],
        "Widths of the convolutions, with P for a pooling layer; by default, VGG-SNN's plan.",
    )
    final_size: int | None = field(3, "Side of the map that the classifier reads; null pools it to one pixel.")


class Detector(Model, kind="detector", makes=At("hdlif.models:detector")):
    """A pre-activation ResNet for detection, with a neck that adds coarser feature maps to finer ones."""

    ATTENTION: ClassVar[Literal["block", "attention"] | None] = "block"

    blocks: list[int] = field([1, 2, 2], "Number of blocks in each stage, at strides of 4, 8, 16, ... pixels.")
    width: int = field(24, "Channels of the first stage; each later stage has twice as many.")
    strides: list[int] = field([8], "Strides of the levels that predict boxes: one or several.")
    head_width: int = field(64, "Channels of the convolution before the outputs.")
    inner: dict[str, int] | None = field(None, "Channels between the convolutions of individual blocks, as in resnet.")

    @property
    def divisor(self) -> int:
        """The stride of the network's last stage."""
        return int(2 ** (len(self.blocks) + 1))


class Imported(Model, kind="imported", makes=At("hdlif.recipe.builders.model:imported_network")):
    """A network from another library, as written by `hdlif import`."""

    structure: str = field(..., "Layers and neurons as JSON, written by `hdlif import`.")
    pretrained: str | None = field(None, "File with the initial weights.")


class Spiking(Model, kind="spiking", makes=At("hdlif.recipe.builders.spiking:spiking_network")):
    """A network from torchvision, timm or your own code, with neurons in place of activations."""

    of: str = field(..., "Function or class that makes the network, package.module:Name.", pattern="^[^:]+:[^:]+$")
    options: dict[str, Any] | None = field(None, "Other arguments of this function or class.")
    pretrained: str | None = field(None, "File with the initial weights.")


MODELS = Section[Model](
    "model",
    *(Conv1d, Dense, Detector, Imported, QKFormer, Recurrent, ResNet, ResNet18, ResNet19, ResNet34),
    *(ReversibleResNet, Spiking, UNet, VGG),
    own=Model,
    given=(*PARTS, "block", "attention"),
)


def read_model(recipe: Recipe) -> Model:
    """Check the `model`, `attention`, `neuron`, `spikes`, `weights` and `norm` sections."""
    arguments = recipe.model.arguments
    for key in ("attention", "conv", "neuron", "norm"):
        if key in arguments:
            fix = "attention, neuron, norm and weights are separate sections"
            raise RecipeError(f"model.{key} cannot be set here; {fix}")
    _check_depth(arguments)
    if recipe.model.kind == "spiking":
        check_of(arguments.get("of"))
    model = MODELS.read(recipe.model)
    read_attention(recipe, model.ATTENTION)
    read_neuron(recipe)
    WEIGHTS.read(recipe.weights)
    NORMS.read(recipe.norm)
    return model


def build_model(recipe: Recipe, *, pretrained: bool = False, classes: int | None = None) -> Temporal:
    """Build the recipe's network and initialise it from torch's random state.

    Args:
        pretrained: load the weights from the recipe's file of weights, if any, which may raise `CheckpointError`.
            Not needed for a network whose weights are then loaded from a checkpoint.
        classes: number of outputs; by default the number of classes in the data.
    """
    from hdlif.models import as_network
    from hdlif.nn import QuantConv2d

    model, quantizer = read_model(recipe), WEIGHTS.read(recipe.weights).build()
    channels, *size = input_record(recipe).shape
    made = model.build(
        **attention_arguments(recipe, model.ATTENTION),
        neuron=_by_place_or_channels(build_neuron(recipe)),
        conv=partial(QuantConv2d, quantizer=quantizer),
        quantizer=quantizer,
        norm=NORMS.read(recipe.norm).build(time_steps=recipe.time_steps),
        classes=classes or len(data_kind(recipe).labels),
        in_channels=channels,
        in_size=tuple(size),
        time_steps=recipe.time_steps,
        **({} if model.IS_OWN else {"filled": pretrained}),
    )
    try:
        network = as_network(made)
    except TypeError as error:
        raise RecipeError(f'model.kind = "{recipe.model.kind}": {error}') from error
    place_quantizers(recipe, network, keep_weights=isinstance(model, Spiking))
    check_parallel(recipe, network)
    check_spike_layers(recipe, network)
    check_budgets(recipe, network)
    _check_grid(network)
    return network


def _by_place_or_channels(make: NeuronFactory) -> Callable[[Place | int], Temporal]:
    """Return a function that makes a neuron layer for a `Place` in the network, or for a number of channels."""
    count = itertools.count()

    def neuron(place: Place | int) -> Temporal:
        from hdlif.models import Place

        if not isinstance(place, Place):
            index = next(count)
            place = Place(f"neuron{index}", 0, index, 0, index, place)
        return make(place)

    return neuron


def _check_depth(arguments: Mapping[str, object]) -> None:
    """Raise `RecipeError` if building the network would take too long."""
    blocks, plan = arguments.get("blocks"), arguments.get("plan")
    layers = sum(n for n in blocks if isinstance(n, int)) if isinstance(blocks, list) else 0
    layers = max(layers, len(plan) if isinstance(plan, list) else 0)
    stages = len(blocks) if isinstance(blocks, list) else 0
    if layers > MOST_LAYERS or stages > MOST_STAGES:
        limit = f"at most {MOST_LAYERS:,} are accepted, in {MOST_STAGES} stages"
        raise RecipeError(f"model: {layers:,} blocks or layers in {stages} stages are refused; {limit}")


def _check_grid(network: Temporal) -> None:
    from hdlif.deploy.blocks import COARSEST_GRID
    from hdlif.models import Grid

    step = max((module.step for module in network.modules() if isinstance(module, Grid)), default=0.0)
    if step > COARSEST_GRID:
        limit = f"it must be at most {COARSEST_GRID}"
        raise RecipeError(f"model.grid = {step} is too coarse for the deployed network, which does not round; {limit}")


def imported_network(
    *,
    structure: str,
    pretrained: str | None = None,
    quantizer: Any,
    time_steps: int,
    classes: int,
    in_channels: int,
    in_size: tuple[int, int],
    filled: bool = False,
) -> Any:
    """Build the network of the kind `imported` from the JSON of `hdlif.deploy.interop.structure`.

    Args:
        filled: whether to read the file `pretrained`.
    """
    from hdlif.deploy.interop.structure import build
    from hdlif.training.state_dicts import load_state_dict

    try:
        found = json.loads(structure)
        network = build(found, time_steps, quantizer=quantizer)
        shape, outputs = [int(size) for size in found["input"]], int(found["outputs"])
    except (ValueError, KeyError, TypeError, RecursionError, ConversionError) as error:
        raise RecipeError(f"model.structure: {error}") from error
    if shape != [in_channels, *in_size] or outputs != classes:
        seen = f"model.structure takes {shape} and gives {outputs} outputs"
        data = f"the data have {[in_channels, *in_size]} and {classes} classes"
        raise RecipeError(f"{seen}; {data}; change the data, for example with data.size, or the last layer")
    if filled and pretrained is not None:
        fix = "set model.pretrained to the file next to the recipe"
        load_state_dict(Path(pretrained), network, "model.structure", fix)
    return network
