"""Reversible networks: two streams of currents, each recomputed from the outputs of its block."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from hdlif.models.blocks import ConvFactory, Network, NeuronFactory, NormFactory, Place, PreActBlock, default_conv
from hdlif.models.recompute import ReversibleSequential
from hdlif.models.resnet import StemFactory, cifar_stem
from hdlif.nn import BatchNorm2d, Scope, Sequential, State, Temporal


class ReversibleBlock(Temporal):
    """Two streams of real-valued currents, the halves x1 and x2 of the channels of x [K, B, C, H, W].

    y1 = x1 + f(x2),   y2 = x2 + g(y1),   and back:   x2 = y2 - g(y1),   x1 = y1 - f(x2),

    where f and g are neuron -> 3x3 convolution -> batch norm on C/2 channels. Nothing in them may be random.
    """

    def __init__(
        self,
        channels: int,
        *,
        neuron: NeuronFactory,
        places: tuple[Place, Place],
        conv: ConvFactory = default_conv,
        norm: NormFactory = BatchNorm2d,
    ) -> None:
        super().__init__()
        if channels % 2:
            raise ValueError(f"channels = {channels}; a reversible block splits them in halves, so they must be even")

        def branch(place: Place) -> Sequential:
            half = channels // 2
            return Sequential({"act": neuron(place), "conv": conv(half, half, 3, padding=1), "bn": norm(half)})

        self.f, self.g = branch(places[0]), branch(places[1])

    def forward(self, x: Tensor, state: State | None, steps: range) -> tuple[Tensor, State | None]:
        run = Scope(self, state, steps)
        x1, x2 = x.chunk(2, 2)
        y1 = x1 + run("f", x2)
        y2 = x2 + run("g", y1)
        return torch.cat([y1, y2], 2), run.state

    def inverse(self, y: Tensor, state: State | None, steps: range) -> Tensor:
        """x from y, given the state before the chunk."""
        run = Scope(self, state, steps)
        y1, y2 = y.chunk(2, 2)
        x2 = y2 - run("g", y1)
        x1 = y1 - run("f", x2)
        return torch.cat([x1, x2], 2)


def reversible_resnet(
    *,
    neuron: NeuronFactory,
    blocks: Sequence[int],
    width: int,
    classes: int,
    in_channels: int = 3,
    conv: ConvFactory = default_conv,
    norm: NormFactory = BatchNorm2d,
    stem: StemFactory = cifar_stem,
) -> Network:
    """A residual network of reversible blocks, whose training memory under STBP grows with its stages alone.

    Stage i has `blocks[i]` blocks of `width`·2^i channels. The first block of a later stage halves the map and is an
    ordinary `PreActBlock`, "down"; all others are `ReversibleBlock`s, in "blocks". Arguments as in `resnet`.
    """
    stages: dict[str, nn.Module] = {}
    in_width, index = width, 0
    for stage, depth in enumerate(blocks):
        out_width = width * 2**stage
        path = f"body.stage{stage + 1}"
        members: dict[str, nn.Module] = {}
        chain: list[nn.Module] = []
        for block in range(depth):
            if stage > 0 and block == 0:
                first = Place(f"{path}.down.act1", stage, block, 0, index, in_width)
                second = Place(f"{path}.down.act2", stage, block, 1, index + 1, out_width)
                members["down"] = PreActBlock(
                    in_width, out_width, stride=2, neuron=neuron, conv=conv, norm=norm, places=(first, second)
                )
            else:
                name = f"{path}.blocks.{len(chain)}"
                first = Place(f"{name}.f.act", stage, block, 0, index, out_width // 2)
                second = Place(f"{name}.g.act", stage, block, 1, index + 1, out_width // 2)
                chain.append(ReversibleBlock(out_width, neuron=neuron, conv=conv, norm=norm, places=(first, second)))
            in_width, index = out_width, index + 2
        if chain:
            members["blocks"] = ReversibleSequential(*chain)
        stages[f"stage{stage + 1}"] = Sequential(members)
    return Network(
        stem=stem(in_channels, width),
        body=Sequential(stages),
        head=nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        classifier=nn.Linear(in_width, classes),
    )
