"""Building blocks of networks, such as factories, pre-activation residual blocks and wrappers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn

from hdlif.errors import ShapeError
from hdlif.nn import BatchNorm2d, QuantConv2d, Scope, Sequential, State, Temporal
from hdlif.nn.layout import laid_out, learns_in_channels_last, reads_channels_last
from hdlif.nn.state import Paths, steps_of


@dataclass(frozen=True)
class Place:
    """The position of a neuron layer in a network, which neuron factories take as an argument.

    >>> from hdlif.models import resnet
    >>> from hdlif.nn import HDLIF, LIF
    >>> def hybrid(place):
    ...     return LIF(time_steps=4) if place.stage == 0 else HDLIF(time_steps=4)
    >>> network = resnet(neuron=hybrid, blocks=[1, 1], width=4, classes=10)

    Attributes:
        name: the layer's name in the module tree.
        stage, block, position: the layer's stage, its block in the stage and its position in the block, all from 0.
        index: the layer's number among all neuron layers, from 0.
        channels: C of the layer's currents.
    """

    name: str
    stage: int
    block: int
    position: int
    index: int
    channels: int


NormFactory = Callable[[int], nn.Module]
"""Function that makes the batch norm after a convolution of the body from the number of channels."""

NeuronFactory = Callable[[Place], Temporal]
"""Function that makes the neuron layer of a place; for hybrid networks, the layer depends on the place."""


AttentionFactory = Callable[[int], Temporal]
"""Function that makes channel attention from the number of channels: `SECA`, a partial of it, or `eca`."""


class ConvFactory(Protocol):
    """A factory for convolutions without bias, such as `QuantConv2d` or `partial(QuantConv2d, quantizer=...)`."""

    def __call__(
        self, in_channels: int, out_channels: int, kernel_size: int, *, stride: int = ..., padding: int = ...
    ) -> nn.Module: ...


class BlockFactory(Protocol):
    """A factory for residual blocks, such as `PreActBlock` or a partial of a block with attention."""

    def __call__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        stride: int,
        neuron: NeuronFactory,
        conv: ConvFactory,
        places: tuple[Place, Place],
        norm: NormFactory = ...,
    ) -> Temporal: ...


class PreActBlock(Temporal):
    """A pre-activation residual block on a stream `h` of real-valued currents.

    The block computes y = bn2(conv2(act2(bn1(conv1(act1(h)))))) + shortcut(h). The shortcut is the identity or, if the
    shape changes, a strided 1x1 convolution with a batch norm. There are no neurons after the addition.

    >>> import torch
    >>> from hdlif.models import Place, PreActBlock
    >>> from hdlif.nn import HDLIF, QuantConv2d
    >>> places = Place("act1", 0, 0, 0, 0, 4), Place("act2", 0, 0, 1, 1, 8)
    >>> block = PreActBlock(4, 8, stride=2, neuron=lambda place: HDLIF(2), conv=QuantConv2d, places=places)
    >>> y, state = block(torch.randn(2, 1, 4, 8, 8), None, range(2))
    >>> list(y.shape), sorted(state)
    ([2, 1, 8, 4, 4], ['act1', 'act2'])

    Args:
        in_channels, out_channels: channels of h and y.
        stride: stride of the first convolution and of the shortcut; 2 halves the map.
        neuron: makes act1 and act2 from their places.
        conv: makes the convolutions.
        places: places of act1 and act2; the channels of act2 are those between the convolutions.
        norm: makes the batch norms from their channels.
    """

    branch: ClassVar[Sequence[str]] = ("act1", "conv1", "bn1", "act2", "conv2", "bn2")
    """Names of the branch's children in execution order."""

    @property
    def paths(self) -> Paths:
        return [self.branch, ["shortcut"]]

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        stride: int,
        neuron: NeuronFactory,
        conv: ConvFactory,
        places: tuple[Place, Place],
        norm: NormFactory = BatchNorm2d,
    ) -> None:
        super().__init__()
        inner = places[1].channels
        self.act1 = neuron(places[0])
        self.conv1 = conv(in_channels, inner, 3, stride=stride, padding=1)
        self.bn1 = norm(inner)
        self.act2 = neuron(places[1])
        self.conv2 = conv(inner, out_channels, 3, stride=1, padding=1)
        self.bn2 = norm(out_channels)
        self.shortcut = Sequential()
        if stride != 1 or in_channels != out_channels:
            self.shortcut = Sequential(
                {"conv": conv(in_channels, out_channels, 1, stride=stride), "bn": norm(out_channels)}
            )

    def forward(self, x: Tensor, state: State | None, steps: range) -> tuple[Tensor, State | None]:
        run = Scope(self, state, steps)
        y = run.chain(x, *self.branch, plus=lambda: run("shortcut", x))
        return y, run.state


class AttentionBlockI(PreActBlock):
    """A pre-activation residual block with attention on the branch only (SECA_I in arXiv 2410.07547).

    With c1 = att1(bn1(conv1(act1(h)))), the block computes y = att2(bn2(conv2(act2(c1)))) + shortcut(h).

    Pass a partial of `AttentionBlockI` to a network builder:

    >>> from functools import partial
    >>> import torch
    >>> from hdlif.models import AttentionBlockI, resnet
    >>> from hdlif.nn import HDLIF, SECA
    >>> block = partial(AttentionBlockI, attention=SECA)
    >>> network = resnet(neuron=lambda place: HDLIF(2), blocks=[1], width=4, classes=10, block=block)
    >>> logits, state = network(torch.rand(1, 1, 3, 8, 8), steps=range(2))

    Args:
        in_channels, out_channels, stride, neuron, conv, places, norm: as in `PreActBlock`.
        attention: makes att1 and att2 from their channels.
    """

    branch = ("act1", "conv1", "bn1", "att1", "act2", "conv2", "bn2", "att2")

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        stride: int,
        neuron: NeuronFactory,
        conv: ConvFactory,
        places: tuple[Place, Place],
        norm: NormFactory = BatchNorm2d,
        attention: AttentionFactory,
    ) -> None:
        super().__init__(in_channels, out_channels, stride=stride, neuron=neuron, conv=conv, places=places, norm=norm)
        self.att1 = attention(places[1].channels)
        self.att2 = attention(out_channels)


class AttentionBlockII(AttentionBlockI):
    """A pre-activation residual block with attention on the sums of input and branch (SECA_II in arXiv 2410.07547).

    With c1 = att1(h + bn1(conv1(act1(h)))), the block computes y = att2(c1 + bn2(conv2(act2(c1)))) + shortcut(h).

    In a block that changes the shape, c1 = att1(bn1(conv1(act1(h)))). In any other block, two paths lead from `h` to
    `y`, so each block scales the stream by 1 + gate1·gate2. The factor 1 + gate1·gate2 is 1¼ if both gates are ½, and
    at most 2.

    `AttentionBlockI` has an example.

    Args:
        in_channels, out_channels, places: as in `AttentionBlockI`.
        parts: stride, neuron, conv, norm and attention, as in `AttentionBlockI`.
    Raises:
        ValueError: the channels between the convolutions differ from the output channels.
    """

    def __init__(self, in_channels: int, out_channels: int, *, places: tuple[Place, Place], **parts: Any) -> None:
        if places[1].channels != out_channels:
            raise ValueError(
                f"{places[1].name} has {places[1].channels} channels, but attention of form II adds them to "
                f"{out_channels}; remove the block from model.inner, or choose attention.form I"
            )
        super().__init__(in_channels, out_channels, places=places, **parts)

    @property
    def paths(self) -> Paths:
        to_c1 = [["act1", "conv1", "bn1", "att1"]]
        if not len(self.shortcut):
            to_c1.append(["att1"])
        from_c1 = [["act2", "conv2", "bn2", "att2"], ["att2"]]
        return [*([*to, *rest] for to in to_c1 for rest in from_c1), ["shortcut"]]

    def forward(self, x: Tensor, state: State | None, steps: range) -> tuple[Tensor, State | None]:
        run = Scope(self, state, steps)
        h = run.chain(x, "act1", "conv1", "bn1")
        c1 = run("att1", h if len(self.shortcut) else x + h)
        h = run.chain(c1, "act2", "conv2", "bn2", plus=lambda: c1)
        return run("att2", h) + run("shortcut", x), run.state


class Network(Temporal):
    """A network that consists of a stem, a body, a head and a classifier in series.

    The network maps images [K, B, C, H, W] or [1, B, C, H, W] to logits [K, B, classes, ...] for each step. `network(x,
    steps=range(T))` starts a sequence, and `network(x, state, steps=range(T, T + 1))` continues the sequence. You can
    omit `steps` if `x` starts a sequence and has K > 1 steps.

    >>> import torch
    >>> from torch import nn
    >>> from hdlif.models import Network
    >>> from hdlif.nn import HDLIF, QuantConv2d
    >>> stem, classifier = QuantConv2d(1, 4, 3, padding=1), nn.Linear(4 * 64, 10)
    >>> network = Network(stem=stem, body=HDLIF(time_steps=2), head=nn.Flatten(), classifier=classifier)
    >>> logits, state = network(torch.rand(1, 3, 1, 8, 8), steps=range(2))
    >>> list(logits.shape)
    [2, 3, 10]

    Args:
        stem: module from images to currents; it has no neurons in the published networks.
        body: blocks or layers with the neurons.
        head: module from the body's output to vectors [K, B, features], such as a neuron layer, a pool and a flatten.
        classifier: module from these vectors to logits; for maps, a convolution to logits at each pixel.
    Raises:
        StateError, ShapeError: as in `hdlif.nn.Sequential`.
    """

    def __init__(self, *, stem: nn.Module, body: nn.Module, head: nn.Module, classifier: nn.Module) -> None:
        super().__init__()
        self.stem, self.body, self.head, self.classifier = stem, body, head, classifier

    @property
    def paths(self) -> Paths:
        return [["stem", "body", "head", "classifier"]]

    def forward(self, x: Tensor, state: State | None = None, steps: range | None = None) -> tuple[Tensor, State | None]:
        steps = steps_of(x, state, steps)
        run = Scope(self, state, steps)
        if self.training and reads_channels_last(self.stem, x):
            x = laid_out(x, torch.channels_last)
        h = run("stem", x)
        if self.training and learns_in_channels_last(h):
            h = laid_out(h, torch.channels_last)
        h = run("body", h)
        h = run("head", h)
        logits = run("classifier", h)
        return _of_each_step(logits, steps), run.state


class OwnNetwork(Temporal):
    """A wrapper that turns any `Sequential` or `Temporal` module into a network.

    The wrapper is called like `Network` and maps samples [K, B, ...] or [1, B, ...] to logits [K, B, classes, ...]. The
    parameter names of the wrapped module get the prefix `network`.

    >>> import torch
    >>> from torch import nn
    >>> from hdlif.models import OwnNetwork
    >>> from hdlif.nn import HDLIF
    >>> network = OwnNetwork(nn.Sequential(nn.Conv2d(1, 4, 3), HDLIF(time_steps=2), nn.Flatten(), nn.Linear(144, 10)))
    >>> logits, state = network(torch.rand(2, 1, 1, 8, 8))
    >>> list(logits.shape)
    [2, 1, 10]

    Args:
        network: a `hdlif.nn.Sequential`, a `torch.nn.Sequential` or an instance of a class derived from
            `hdlif.nn.Temporal`.
    Raises:
        TypeError: `network` has another type.
    """

    paths: Paths = (("network",),)

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        is_sequence = isinstance(network, nn.Sequential) and type(network).forward is nn.Sequential.forward
        if not (isinstance(network, Temporal) or is_sequence):
            raise TypeError(
                f"{type(network).__name__} is not a network over time; give a Sequential of hdlif.nn or torch.nn, with "
                "layers and neurons, or a class derived from hdlif.nn.Temporal"
            )
        self.network = network

    def forward(self, x: Tensor, state: State | None = None, steps: range | None = None) -> tuple[Tensor, State | None]:
        steps = steps_of(x, state, steps)
        run = Scope(self, state, steps)
        logits = run("network", x)
        if logits.ndim not in (3, 5):
            raise ShapeError(
                f"{type(self.network).__name__} gives {list(logits.shape)}; a network must return logits [steps, "
                "batch, classes], for example from nn.Flatten() and nn.Linear at its end, or maps of logits"
            )
        return _of_each_step(logits, steps), run.state


def _of_each_step(logits: Tensor, steps: range) -> Tensor:
    """Expand logits to all steps, in float32 or wider."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32)).expand(len(steps), *logits.shape[1:])


def as_network(module: nn.Module) -> Temporal:
    """Return a `Network` or an `OwnNetwork` unchanged, and wrap any other module in an `OwnNetwork`.

    >>> from torch import nn
    >>> from hdlif.models import as_network
    >>> from hdlif.nn import HDLIF
    >>> network = as_network(nn.Sequential(nn.Linear(2, 8), HDLIF(time_steps=4), nn.Linear(8, 3)))
    >>> as_network(network) is network
    True

    Args:
        module: as in `OwnNetwork`, which may raise an error.
    """
    return module if isinstance(module, Network | OwnNetwork) else OwnNetwork(module)


def default_conv(
    in_channels: int, out_channels: int, kernel_size: int, *, stride: int = 1, padding: int = 0
) -> nn.Module:
    """Return a convolution with fp32 weights for the body of a network."""
    return QuantConv2d(in_channels, out_channels, kernel_size, stride=stride, padding=padding)
