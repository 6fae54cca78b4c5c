"""A U-Net of residual blocks: a class at each pixel."""

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
from hdlif.models.resnet import StemFactory, cifar_stem
from hdlif.models.wiring import INPUT, Child, Line, Sum, Wired
from hdlif.nn import BatchNorm2d, Sequential


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
) -> Network:
    """A U-Net of pre-activation blocks (Ronneberger et al. 2015) that adds what skips levels: images to maps of logits.

    down_0 = block(stem(x)),   down_i = block(down_{i-1}),   up_d = down_d,
    up_i = block(upsample(bn(conv1x1(act(up_{i+1})))) + down_i),   logits = conv1x1(up_0)

    Level i has maps of 1/2^i of the image's sides and width·2^i channels.

    >>> import torch
    >>> from hdlif.models import unet
    >>> from hdlif.nn import HDLIF
    >>> network = unet(neuron=lambda place: HDLIF(time_steps=2), width=4, depth=2, classes=3)
    >>> logits, state = network(torch.rand(1, 5, 3, 16, 12), steps=range(2))
    >>> list(logits.shape)
    [2, 5, 3, 16, 12]

    Args:
        neuron, classes, in_channels, conv, norm, block, stem: as in `resnet`.
        width: channels of the stem and of the blocks at full size.
        depth: how often the map is halved; its sides must be multiples of 2^depth.
    """
    if width < 1 or depth < 1:
        raise ValueError(f"width = {width}, depth = {depth}; both must be at least 1")
    children: dict[str, nn.Module] = {}
    lines: list[Line] = []
    index = 0

    def residual(name: str, stage: int, in_width: int, out_width: int, stride: int) -> None:
        nonlocal index
        first = Place(f"body.{name}.act1", stage, 0, 0, index, in_width)
        second = Place(f"body.{name}.act2", stage, 0, 1, index + 1, out_width)
        index += 2
        children[name] = block(
            in_width, out_width, stride=stride, neuron=neuron, conv=conv, norm=norm, places=(first, second)
        )

    read = INPUT
    for level in range(depth + 1):
        name = f"down{level}"
        residual(name, level, width * 2 ** max(0, level - 1), width * 2**level, 2 if level else 1)
        lines.append(Line(name, Child(name), (read,)))
        read = name
    for level in reversed(range(depth)):
        stage, out_width = 2 * depth - level, width * 2**level
        name, up = f"up{level}", f"across{level}"
        place = Place(f"body.{up}.act", stage, 0, 0, index, 2 * out_width)
        index += 1
        children[up] = Sequential(
            {
                "act": neuron(place),
                "conv": conv(2 * out_width, out_width, 1),
                "bn": norm(out_width),
                "larger": nn.UpsamplingNearest2d(scale_factor=2),
            }
        )
        residual(name, stage, out_width, out_width, 1)
        lines += [
            Line(up, Child(up), (read,)),
            Line(f"sum{level}", Sum(), (up, f"down{level}")),
            Line(name, Child(name), (f"sum{level}",)),
        ]
        read = name
    return Network(
        stem=stem(in_channels, width),
        body=Wired(children, lines, read),
        head=Sequential(),
        classifier=nn.Conv2d(width, classes, 1),
    )
