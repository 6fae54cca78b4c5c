"""ResNet-19, the wide and short residual network of the literature on spiking networks."""

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
from hdlif.models.resnet import StemFactory, cifar_stem, resnet
from hdlif.nn import BatchNorm2d, QuantLinear, Sequential

BLOCKS = (3, 3, 2)


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
) -> Network:
    """ResNet-19: stages of 3, 3 and 2 blocks, then a hidden layer of neurons in front of the classifier.

    With the CIFAR stem at 32x32, width 128 and hidden 256 it has 1,409,280 neurons in 17 layers.

    >>> import torch
    >>> from hdlif.models import resnet19
    >>> from hdlif.nn import HDLIF
    >>> network = resnet19(neuron=lambda place: HDLIF(time_steps=2), classes=10, width=4, hidden=8)
    >>> logits, state = network.eval()(torch.rand(1, 1, 3, 8, 8), steps=range(2))
    >>> list(logits.shape)
    [2, 1, 10]

    Args:
        hidden: neurons between the pooled map and the classifier; their fp32 synapses, normalised, count as body.
        neuron, classes, in_channels, width, conv, norm, block, stem: as of `resnet`.
    """
    if hidden < 1:
        raise ValueError(f"hidden = {hidden}; it must be at least 1")
    network = resnet(
        neuron=neuron,
        blocks=BLOCKS,
        width=width,
        classes=classes,
        in_channels=in_channels,
        conv=conv,
        norm=norm,
        block=block,
        stem=stem,
    )
    pooled = network.classifier.in_features
    place = Place("head.act", stage=len(BLOCKS), block=0, position=0, index=2 * sum(BLOCKS), channels=hidden)
    network.head = Sequential(
        {
            "pool": nn.AdaptiveAvgPool2d(1),
            "flat": nn.Flatten(),
            "fc": QuantLinear(pooled, hidden, bias=False),
            # Means of normalised currents are near 0, and would leave the neurons silent.
            "bn": norm(hidden),
            "act": neuron(place),
        }
    )
    network.classifier = nn.Linear(hidden, classes)
    return network
