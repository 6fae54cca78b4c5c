"""The paper's pre-activation (membrane-shortcut) ResNets, reversible ResNets, and ResNet-19."""

from collections.abc import Callable, Mapping, Sequence

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
from hdlif.models.reversible import GRID, ReversibleBlock, ReversibleSequential
from hdlif.nn import BatchNorm2d, QuantLinear, Sequential

StemFactory = Callable[[int, int], nn.Module]


def cifar_stem(in_channels: int, width: int) -> Sequential:
    """Return a full-resolution stem with a 3x3 convolution (fp32) and a batch norm.

    >>> import torch
    >>> from hdlif.models import cifar_stem, imagenet_stem
    >>> images = torch.rand(1, 2, 3, 32, 32)
    >>> [list(stem(3, 4)(images, steps=range(2))[0].shape) for stem in (cifar_stem, imagenet_stem)]
    [[1, 2, 4, 32, 32], [1, 2, 4, 8, 8]]

    Args:
        in_channels: channels of the image.
        width: channels of the first stage.
    """
    return Sequential({"conv": nn.Conv2d(in_channels, width, 3, padding=1, bias=False), "bn": BatchNorm2d(width)})


def imagenet_stem(in_channels: int, width: int) -> Sequential:
    """Return a stem with a 7x7 convolution (fp32, stride 2), a batch norm and 3x3 max pooling with stride 2.

    `cifar_stem` has an example.

    Args:
        in_channels: channels of the image.
        width: channels of the first stage.
    """
    conv = nn.Conv2d(in_channels, width, 7, stride=2, padding=3, bias=False)
    return Sequential({"conv": conv, "bn": BatchNorm2d(width), "pool": nn.MaxPool2d(3, stride=2, padding=1)})


def block_names(blocks: Sequence[int]) -> list[str]:
    """Return the names of the residual blocks, given the number of blocks per stage."""
    return [f"body.stage{stage + 1}.{number}" for stage, depth in enumerate(blocks) for number in range(depth)]


def check_inner(inner: Mapping[str, int], blocks: Sequence[str]) -> None:
    """Raise `ValueError` if a key of `inner` is not the name of a block, or if a number of channels is below 1."""
    for name, channels in inner.items():
        if name not in blocks or channels < 1:
            raise ValueError(
                f"inner has {name} = {channels}; give at least 1 channel to some of {blocks[0]} to {blocks[-1]}"
            )


def resnet(
    *,
    neuron: NeuronFactory,
    blocks: Sequence[int],
    width: int,
    classes: int,
    in_channels: int = 3,
    conv: ConvFactory = default_conv,
    norm: NormFactory = BatchNorm2d,
    block: BlockFactory = PreActBlock,
    stem: StemFactory = cifar_stem,
    inner: Mapping[str, int] | None = None,
) -> Network:
    """Return a pre-activation ResNet in which stage i has `blocks[i]` blocks with `width`·2^i channels.

    Each stage after the first halves the sides of the map.

    >>> import torch
    >>> from hdlif.models import resnet
    >>> from hdlif.nn import HDLIF
    >>> network = resnet(neuron=lambda place: HDLIF(time_steps=4), blocks=[1, 1], width=4, classes=10)
    >>> logits, state = network(torch.rand(1, 2, 3, 8, 8), steps=range(4))
    >>> list(logits.shape)
    [4, 2, 10]

    Args:
        neuron: makes each neuron layer from its `Place`.
        blocks: number of blocks per stage.
        width: channels of the stem and the first stage.
        classes: number of logits.
        in_channels: channels of the image.
        conv: makes the body's convolutions (both 3x3 and the 1x1 shortcuts).
        norm: makes the body's batch norms. The stem's batch norm shares running statistics between steps, because its
            input may be constant in time.
        block: makes the blocks; with attention `partial(AttentionBlockI, attention=SECA)`, or `AttentionBlockII`.
        stem: makes the stem from (in_channels, width).
        inner: channels between the convolutions of single blocks, by the block's name, such as {"body.stage2.0": 48};
            default: the block's output channels. `AttentionBlockII` does not support it.
    Raises:
        ValueError: there is no stage or block, or no block of a name in `inner` whose channels can differ.
    """
    if not blocks or min(blocks) < 1 or width < 1:
        raise ValueError(f"blocks = {list(blocks)}, width = {width}; give at least one stage of at least one block")
    stages: dict[str, nn.Module] = {}
    in_width, index = width, 0
    check_inner(inner or {}, block_names(blocks))
    for stage, depth in enumerate(blocks):
        out_width = width * 2**stage
        members: list[nn.Module] = []
        for number in range(depth):
            name = f"body.stage{stage + 1}.{number}"
            first = Place(f"{name}.act1", stage, number, 0, index, in_width)
            second = Place(f"{name}.act2", stage, number, 1, index + 1, (inner or {}).get(name, out_width))
            stride = 2 if stage > 0 and number == 0 else 1
            members.append(
                block(in_width, out_width, stride=stride, neuron=neuron, conv=conv, norm=norm, places=(first, second))
            )
            in_width, index = out_width, index + 2
        stages[f"stage{stage + 1}"] = Sequential(*members)
    return Network(
        stem=stem(in_channels, width),
        body=Sequential(stages),
        head=nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        classifier=nn.Linear(in_width, classes),
    )


def resnet18(
    *,
    neuron: NeuronFactory,
    classes: int,
    in_channels: int = 3,
    width: int = 64,
    conv: ConvFactory = default_conv,
    norm: NormFactory = BatchNorm2d,
    block: BlockFactory = PreActBlock,
    stem: StemFactory = cifar_stem,
    inner: Mapping[str, int] | None = None,
) -> Network:
    """Return a ResNet-18 with four stages of two blocks.

    With the CIFAR stem, 32x32 images and width 64, the network has 548,864 neurons.

    >>> from functools import partial
    >>> import torch
    >>> from hdlif.models import resnet18
    >>> from hdlif.nn import HDLIF, QuantConv2d, Ternary
    >>> conv = partial(QuantConv2d, quantizer=Ternary())
    >>> network = resnet18(neuron=lambda place: HDLIF(time_steps=2), classes=10, width=4, conv=conv)
    >>> logits, state = network(torch.rand(1, 1, 3, 16, 16), steps=range(2))
    >>> list(logits.shape)
    [2, 1, 10]

    Args:
        neuron, classes, in_channels, width, conv, norm, block, stem, inner: as in `resnet`.
    """
    return resnet(
        neuron=neuron,
        blocks=(2, 2, 2, 2),
        width=width,
        classes=classes,
        in_channels=in_channels,
        conv=conv,
        norm=norm,
        block=block,
        stem=stem,
        inner=inner,
    )


def resnet34(
    *,
    neuron: NeuronFactory,
    classes: int,
    in_channels: int = 3,
    width: int = 64,
    conv: ConvFactory = default_conv,
    norm: NormFactory = BatchNorm2d,
    block: BlockFactory = PreActBlock,
    stem: StemFactory = imagenet_stem,
    inner: Mapping[str, int] | None = None,
) -> Network:
    """Return a ResNet-34 with stages of 3, 4, 6 and 3 blocks.

    With the ImageNet stem and 224x224 images, the network has 2,935,296 neurons.

    >>> import torch
    >>> from hdlif.models import resnet34
    >>> from hdlif.nn import HDLIF
    >>> network = resnet34(neuron=lambda place: HDLIF(time_steps=1), classes=10, width=2)
    >>> logits, state = network.eval()(torch.rand(1, 1, 3, 64, 64), steps=range(1))
    >>> list(logits.shape)
    [1, 1, 10]

    Args:
        neuron, classes, in_channels, width, conv, norm, block, stem, inner: as in `resnet`.
    """
    return resnet(
        neuron=neuron,
        blocks=(3, 4, 6, 3),
        width=width,
        classes=classes,
        in_channels=in_channels,
        conv=conv,
        norm=norm,
        block=block,
        stem=stem,
        inner=inner,
    )


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
    grid: float | None = GRID,
) -> Network:
    """Return a reversible ResNet, whose memory with STBP grows with the number of stages, not of blocks.

    Stage i has `blocks[i]` blocks with `width`·2^i channels. The first block of each later stage, "down", is an
    ordinary `PreActBlock` that halves the sides of the map. All other blocks in a stage are `ReversibleBlock`s in the
    child "blocks".

    >>> import torch
    >>> from hdlif.models import reversible_resnet
    >>> from hdlif.nn import HDLIF
    >>> network = reversible_resnet(neuron=lambda place: HDLIF(time_steps=2), blocks=[2], width=4, classes=10)
    >>> logits, state = network(torch.rand(1, 1, 3, 8, 8), steps=range(2))
    >>> list(logits.shape)
    [2, 1, 10]

    Args:
        neuron, blocks, width, classes, in_channels, conv, norm, stem: as in `resnet`.
        grid: as in `ReversibleBlock`.
    """
    if not blocks or min(blocks) < 1 or width < 1:
        raise ValueError(f"blocks = {list(blocks)}, width = {width}; give at least one stage of at least one block")
    stages: dict[str, nn.Module] = {}
    in_width, index = width, 0
    for stage, depth in enumerate(blocks):
        out_width = width * 2**stage
        path = f"body.stage{stage + 1}"
        members: dict[str, nn.Module] = {}
        chain: list[ReversibleBlock] = []
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
                chain.append(
                    ReversibleBlock(out_width, neuron=neuron, conv=conv, norm=norm, places=(first, second), grid=grid)
                )
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


_BLOCKS_OF_RESNET19 = (3, 3, 2)


def resnet19(
    *,
    neuron: NeuronFactory,
    classes: int,
    in_channels: int = 3,
    width: int = 128,
    hidden: int = 256,
    conv: ConvFactory = default_conv,
    norm: NormFactory = BatchNorm2d,
    block: BlockFactory = PreActBlock,
    stem: StemFactory = cifar_stem,
    inner: Mapping[str, int] | None = None,
) -> Network:
    """Return a ResNet-19 with stages of 3, 3 and 2 blocks, and with a hidden neuron layer before the classifier.

    With the CIFAR stem, 32x32 images, `width` 128 and `hidden` 256, the network has 1,409,280 neurons in 17 layers.

    >>> import torch
    >>> from hdlif.models import resnet19
    >>> from hdlif.nn import HDLIF
    >>> network = resnet19(neuron=lambda place: HDLIF(time_steps=2), classes=10, width=4, hidden=8)
    >>> logits, state = network.eval()(torch.rand(1, 1, 3, 8, 8), steps=range(2))
    >>> list(logits.shape)
    [2, 1, 10]

    Args:
        hidden: neurons between the pooled map and the classifier; their fp32 synapses and batch norm count as body.
        neuron, classes, in_channels, width, conv, norm, block, stem, inner: as in `resnet`.
    """
    if hidden < 1:
        raise ValueError(f"hidden = {hidden}; it must be at least 1")
    network = resnet(
        neuron=neuron,
        blocks=_BLOCKS_OF_RESNET19,
        width=width,
        classes=classes,
        in_channels=in_channels,
        conv=conv,
        norm=norm,
        block=block,
        stem=stem,
        inner=inner,
    )
    assert isinstance(network.classifier, nn.Linear)
    pooled = network.classifier.in_features
    stages, index = len(_BLOCKS_OF_RESNET19), 2 * sum(_BLOCKS_OF_RESNET19)
    place = Place("head.act", stage=stages, block=0, position=0, index=index, channels=hidden)
    network.head = Sequential(
        {
            "pool": nn.AdaptiveAvgPool2d(1),
            "flat": nn.Flatten(),
            "fc": QuantLinear(pooled, hidden, bias=False),
            # Means of normalised currents are near 0, so without a batch norm the neurons would stay silent.
            "bn": norm(hidden),
            "act": neuron(place),
        }
    )
    network.classifier = nn.Linear(hidden, classes)
    return network
