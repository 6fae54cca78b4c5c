"""Networks as plain builder functions; neurons and convolutions are given as factories."""

from hdlif.models.blocks import (
    AttentionBlockI,
    AttentionBlockII,
    AttentionFactory,
    BlockFactory,
    ConvFactory,
    Network,
    NeuronFactory,
    NormFactory,
    Place,
    PreActBlock,
)
from hdlif.models.resnet import cifar_stem, imagenet_stem, resnet, resnet18, resnet34
from hdlif.models.vgg import vgg_snn

__all__ = [
    "AttentionBlockI",
    "AttentionBlockII",
    "AttentionFactory",
    "BlockFactory",
    "ConvFactory",
    "Network",
    "NeuronFactory",
    "NormFactory",
    "Place",
    "PreActBlock",
    "cifar_stem",
    "imagenet_stem",
    "resnet",
    "resnet18",
    "resnet34",
    "vgg_snn",
]
