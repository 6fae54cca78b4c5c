"""Networks with one output per pixel or location, which add upsampled coarse maps to finer maps.

A U-Net predicts a class for each pixel. A detector has a pre-activation backbone, a neck and heads, and predicts boxes.
"""

import math
from collections.abc import Mapping, Sequence

from torch import nn

from hdlif.models.blocks import (
    BlockFactory,
    ConvFactory,
    Network,
    NeuronFactory,
    NormFactory,
    Place,
    PreActBlock,
    default_conv,
)
from hdlif.models.resnet import StemFactory, block_names, check_inner, cifar_stem, imagenet_stem
from hdlif.models.wiring import INPUT, Child, Joined, Line, Sum, Wired
from hdlif.nn import BatchNorm2d, Sequential

STEM_STRIDE = 4
RARE = 0.01
"""Initial score of every class at every place; it is low because most places have no object."""


def detector(
    *,
    neuron: NeuronFactory,
    classes: int,
    in_channels: int = 3,
    width: int = 24,
    blocks: Sequence[int] = (1, 2, 2),
    strides: Sequence[int] = (8,),
    head_width: int = 64,
    conv: ConvFactory = default_conv,
    norm: NormFactory = BatchNorm2d,
    block: BlockFactory = PreActBlock,
    stem: StemFactory = imagenet_stem,
    inner: Mapping[str, int] | None = None,
) -> Network:
    """Return an anchor-free detector with outputs that `hdlif.runtime.boxes.decode_boxes` can decode.

    Stage i has `blocks[i]` blocks with `width`·2^i channels at a stride of 4·2^i pixels. From the last stage to the
    finest level, the neck normalises and upsamples each map and adds it to the map of the previous stage. Each level
    ends with a head: a neuron layer, a 3x3 convolution, a batch norm, a neuron layer and an fp32 1x1 convolution. For
    each location, a head computes K class logits and four distances.

    >>> import torch
    >>> from hdlif.models import detector
    >>> from hdlif.nn import HDLIF
    >>> network = detector(neuron=lambda place: HDLIF(time_steps=2), classes=3, width=4, blocks=[1, 1], head_width=8)
    >>> outputs, state = network(torch.rand(1, 1, 3, 16, 32), steps=range(2))
    >>> list(outputs.shape), (3 + 4) * 2 * 4
    ([2, 1, 56], 56)

    Args:
        neuron: makes each neuron layer from its `Place`.
        classes: K.
        in_channels: channels of the image.
        width: channels of the first stage.
        blocks: number of blocks per stage.
        strides: strides of the levels in ascending order: 4, 8, 16, ..., up to the stride of the last stage. The sides
            of the input must be multiples of the last stage's stride.
        head_width: channels of the levels' 3x3 convolutions.
        conv, norm, block, inner: as in `resnet`.
        stem: makes the first layers, of stride 4, from (in_channels, width).
    Raises:
        ValueError: there is no stage, no stage has a level's stride, or no block has a name in `inner`.
    """
    there = [STEM_STRIDE * 2**stage for stage in range(len(blocks))]
    if not blocks or min(blocks) < 1 or min(width, head_width) < 1:
        raise ValueError(
            f"blocks = {list(blocks)}, width = {width}, head_width = {head_width}; give at least one stage of at least "
            "one block, and widths of at least 1"
        )
    if not strides or list(strides) != [stride for stride in there if stride in strides]:
        raise ValueError(f"strides = {list(strides)}; choose some of {there}, from small to large")
    check_inner(inner or {}, block_names(blocks))
    wires = _Wires(neuron, conv, norm, block, inner)
    value, channels, maps = INPUT, width, []
    for stage, depth in enumerate(blocks):
        out = width * 2**stage
        members: list[nn.Module] = []
        for number in range(depth):
            stride = 2 if stage > 0 and number == 0 else 1
            members.append(wires.block(f"stage{stage + 1}.{number}", stage, number, (channels, out), stride))
            channels = out
        value = wires.run(f"stage{stage + 1}", Sequential(*members), value)
        maps.append((there[stage], channels, value))
    outputs: list[str] = []
    coarser: tuple[int, str] | None = None
    for level, (stride, channels, value) in reversed(list(enumerate(maps))):
        if stride < strides[0]:
            break
        if coarser is not None:
            value = wires.add(f"neck{stride}", level, coarser, channels, value)
        coarser = channels, value
        if stride in strides:
            outputs.insert(0, wires.level(f"level{stride}", level, channels, head_width, classes, value))
    joined = outputs[0]
    for number, other in enumerate(outputs[1:], start=1):
        wires.lines.append(Line(f"joined{number}", Joined(), (joined, other)))
        joined = f"joined{number}"
    body = Wired(wires.children, wires.lines, joined)
    return Network(stem=stem(in_channels, width), body=body, head=Sequential(), classifier=Sequential())


def unet(
    *,
    neuron: NeuronFactory,
    width: int,
    depth: int,
    classes: int,
    in_channels: int = 3,
    conv: ConvFactory = default_conv,
    norm: NormFactory = BatchNorm2d,
    block: BlockFactory = PreActBlock,
    stem: StemFactory = cifar_stem,
    inner: Mapping[str, int] | None = None,
) -> Network:
    """Return a U-Net (Ronneberger et al. 2015) of pre-activation blocks, which maps images to maps of logits.

    Skip connections are added, not concatenated.

    The network computes down_0 = block(stem(x)), down_i = block(down_{i-1}), up_d = down_d, up_i =
    block(upsample(bn(conv1x1(act(up_{i+1})))) + down_i) and logits = conv1x1(up_0).

    At level i, the map has width·2^i channels, and its sides are 1/2^i of the image's sides.

    >>> import torch
    >>> from hdlif.models import unet
    >>> from hdlif.nn import HDLIF
    >>> network = unet(neuron=lambda place: HDLIF(time_steps=2), width=4, depth=2, classes=3)
    >>> logits, state = network(torch.rand(1, 5, 3, 16, 12), steps=range(2))
    >>> list(logits.shape)
    [2, 5, 3, 16, 12]

    Args:
        neuron, classes, in_channels, conv, norm, block, stem, inner: as in `resnet`; blocks have names such as
            "body.down1" and "body.up0".
        width: channels of the stem and of the blocks at full resolution.
        depth: how often the map is halved; the image's sides must be multiples of 2^depth.
    Raises:
        ValueError: the width or depth is below 1, or no block has a name in `inner`.
    """
    if width < 1 or depth < 1:
        raise ValueError(f"width = {width}, depth = {depth}; both must be at least 1")
    names = [*(f"body.down{level}" for level in range(depth + 1)), *(f"body.up{level}" for level in range(depth))]
    check_inner(inner or {}, names)
    wires = _Wires(neuron, conv, norm, block, inner)
    value = INPUT
    for level in range(depth + 1):
        channels = width * 2 ** max(0, level - 1), width * 2**level
        value = wires.run(f"down{level}", wires.block(f"down{level}", level, 0, channels, 2 if level else 1), value)
    for level in reversed(range(depth)):
        stage, out_width = 2 * depth - level, width * 2**level
        layers = {
            "act": neuron(wires.place(f"across{level}.act", stage, 0, 2 * out_width)),
            "conv": conv(2 * out_width, out_width, 1),
            "bn": norm(out_width),
            "larger": nn.UpsamplingNearest2d(scale_factor=2),
        }
        value = wires.sum(f"sum{level}", wires.run(f"across{level}", Sequential(layers), value), f"down{level}")
        value = wires.run(f"up{level}", wires.block(f"up{level}", stage, 0, (out_width, out_width), 1), value)
    return Network(
        stem=stem(in_channels, width),
        body=Wired(wires.children, wires.lines, value),
        head=Sequential(),
        classifier=nn.Conv2d(width, classes, 1),
    )


class _Wires:
    """A builder for the children of a network body and for the lines of its forward pass."""

    def __init__(
        self,
        neuron: NeuronFactory,
        conv: ConvFactory,
        norm: NormFactory,
        block: BlockFactory,
        inner: Mapping[str, int] | None,
    ) -> None:
        self._neuron, self._conv, self._norm, self._block, self._count = neuron, conv, norm, block, 0
        self._inner = inner or {}
        self.children: dict[str, nn.Module] = {}
        self.lines: list[Line] = []

    def place(self, path: str, stage: int, block: int, channels: int) -> Place:
        """Return the `Place` of the next neuron layer."""
        self._count += 1
        return Place(f"body.{path}", stage, block, int(path.endswith("2")), self._count - 1, channels)

    def block(self, path: str, stage: int, number: int, channels: tuple[int, int], stride: int) -> nn.Module:
        """Return the next residual block, where `channels` contains the input and output channels."""
        before, after = channels
        inner = self._inner.get(f"body.{path}", after)
        places = self.place(f"{path}.act1", stage, number, before), self.place(f"{path}.act2", stage, number, inner)
        return self._block(
            before, after, stride=stride, neuron=self._neuron, conv=self._conv, norm=self._norm, places=places
        )

    def run(self, name: str, child: nn.Module, value: str) -> str:
        """Add a line that runs a child on a value, and return the name of the output."""
        self.children[name] = child
        self.lines.append(Line(name, Child(name), (value,)))
        return name

    def sum(self, name: str, first: str, second: str) -> str:
        """Add a line that sums two values, and return the name of the sum."""
        self.lines.append(Line(name, Sum(), (first, second)))
        return name

    def add(self, name: str, stage: int, coarser: tuple[int, str], channels: int, value: str) -> str:
        """Add lines that upsample a coarser map and sum it with a value, and return the name of the sum."""
        place = self.place(f"{name}.act", stage, 0, coarser[0])
        layers = {
            "act": self._neuron(place),
            "conv": self._conv(coarser[0], channels, 1),
            "bn": self._norm(channels),
            "up": nn.UpsamplingNearest2d(scale_factor=2),
        }
        return self.sum(f"{name}.sum", value, self.run(name, Sequential(layers), coarser[1]))

    def level(self, name: str, stage: int, channels: int, width: int, classes: int, value: str) -> str:
        """Add the head of a level, and return the name of the output vector."""
        last = nn.Conv2d(width, classes + 4, 1)
        assert last.bias is not None
        nn.init.normal_(last.weight, std=0.01)
        # Untrained boxes have sides of about five strides.
        nn.init.constant_(last.bias, 1.0)
        nn.init.constant_(last.bias[:classes], math.log(RARE / (1 - RARE)))
        layers = {
            "act1": self._neuron(self.place(f"{name}.act1", stage, 0, channels)),
            "conv": self._conv(channels, width, 3, padding=1),
            "bn": self._norm(width),
            "act2": self._neuron(self.place(f"{name}.act2", stage, 0, width)),
            "out": last,
            "flat": nn.Flatten(),
        }
        return self.run(name, Sequential(layers), value)
