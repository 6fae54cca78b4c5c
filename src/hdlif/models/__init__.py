"""Builder functions for networks, which take factories for neurons and convolutions as arguments."""

from hdlif.models.blocks import (
    AttentionBlockI,
    AttentionBlockII,
    AttentionFactory,
    BlockFactory,
    ConvFactory,
    Network,
    NeuronFactory,
    NormFactory,
    OwnNetwork,
    Place,
    PreActBlock,
    as_network,
)
from hdlif.models.maps import detector, unet
from hdlif.models.qk_former import MLPBlock, QKAttention, qk_former
from hdlif.models.resnet import cifar_stem, imagenet_stem, resnet, resnet18, resnet19, resnet34, reversible_resnet
from hdlif.models.reversible import Grid, ReversibleBlock, ReversibleSequential
from hdlif.models.series import conv1d, dense, led_back, recurrent
from hdlif.models.spiking import spiking
from hdlif.models.vgg import vgg_snn
from hdlif.models.wiring import Wired

__all__ = [
    "AttentionBlockI",
    "AttentionBlockII",
    "AttentionFactory",
    "BlockFactory",
    "ConvFactory",
    "Grid",
    "MLPBlock",
    "Network",
    "NeuronFactory",
    "NormFactory",
    "OwnNetwork",
    "Place",
    "PreActBlock",
    "QKAttention",
    "ReversibleBlock",
    "ReversibleSequential",
    "Wired",
    "as_network",
    "cifar_stem",
    "conv1d",
    "dense",
    "detector",
    "imagenet_stem",
    "led_back",
    "qk_former",
    "recurrent",
    "resnet",
    "resnet18",
    "resnet19",
    "resnet34",
    "reversible_resnet",
    "spiking",
    "unet",
    "vgg_snn",
]
