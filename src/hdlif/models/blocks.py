"""What the networks are made of: places, factories, and the pre-activation residual block."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor, nn

from hdlif.nn import BatchNorm2d, QuantConv2d, Scope, Sequential, State, Temporal


@dataclass(frozen=True)
class Place:
    """Where a neuron layer stands: stage, block and position within the block, all from 0, and its number overall.

    `name` is the layer's name in the module tree; `channels` its width.
    """

    name: str
    stage: int
    block: int
    position: int
    index: int
    channels: int


NormFactory = Callable[[int], nn.Module]
"""Makes the batch norm behind a convolution of the body, from its channels."""

NeuronFactory = Callable[[Place], Temporal]
"""Makes the neuron layer of a place; hybrids are factories that look at the place."""


class ConvFactory(Protocol):
    """Makes a bias-free convolution: `QuantConv2d`, or a partial of it with a quantiser."""

    def __call__(
        self, in_channels: int, out_channels: int, kernel_size: int, *, stride: int = ..., padding: int = ...
    ) -> nn.Module: ...


class PreActBlock(Temporal):
    """Pre-activation residual block on a stream h of real-valued currents.

    y = bn2(conv2(act2(bn1(conv1(act1(h)))))) + shortcut(h), where the shortcut is the identity, or a strided
    1x1 convolution and batch norm where the shape changes. Nothing fires after the addition.
    """

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
        self.act1 = neuron(places[0])
        self.conv1 = conv(in_channels, out_channels, 3, stride=stride, padding=1)
        self.bn1 = norm(out_channels)
        self.act2 = neuron(places[1])
        self.conv2 = conv(out_channels, out_channels, 3, stride=1, padding=1)
        self.bn2 = norm(out_channels)
        self.shortcut = Sequential()
        if stride != 1 or in_channels != out_channels:
            self.shortcut = Sequential(
                {"conv": conv(in_channels, out_channels, 1, stride=stride), "bn": norm(out_channels)}
            )

    def forward(self, x: Tensor, state: State | None, steps: range) -> tuple[Tensor, State | None]:
        run = Scope(self, state, steps)
        h = run("act1", x)
        h = run("bn1", run("conv1", h))
        h = run("act2", h)
        h = run("bn2", run("conv2", h))
        return h + run("shortcut", x), run.state


class Network(Temporal):
    """Stem, body and classifier in a row: images [K, B, C, H, W] (or [1, ...]) to logits per step [K, B, classes].

    `network(x, steps=range(T))` starts a sequence; the state it returns continues it:
    `network(x, state, steps=range(T, T + 1))`.
    """

    def __init__(self, *, stem: nn.Module, body: nn.Module, head: nn.Module, classifier: nn.Linear) -> None:
        super().__init__()
        self.stem, self.body, self.head, self.classifier = stem, body, head, classifier

    def forward(self, x: Tensor, state: State | None = None, steps: range | None = None) -> tuple[Tensor, State | None]:
        if steps is None:
            if state is not None:
                raise TypeError("say which time steps continue this state: steps=range(t, t + K)")
            steps = range(len(x))
        run = Scope(self, state, steps)
        h = run("stem", x)
        h = run("body", h)
        h = run("head", h)
        logits = run("classifier", h)
        return logits.float().expand(len(steps), -1, -1), run.state


def default_conv(
    in_channels: int, out_channels: int, kernel_size: int, *, stride: int = 1, padding: int = 0
) -> nn.Module:
    """A body convolution with fp32 weights."""
    return QuantConv2d(in_channels, out_channels, kernel_size, stride=stride, padding=padding)
