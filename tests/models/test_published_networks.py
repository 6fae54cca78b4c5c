"""Sizes of the published networks, counted on the meta device: no weight is drawn and nothing is computed."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from cases import every
from hdlif.models import Network, Place, resnet18, resnet19, resnet34, vgg_snn
from hdlif.nn import HDLIF, BatchNorm2d, ParallelHDLIF, QuantConv2d, Temporal, Ternary

STEPS = 4


def neuron(place: Place) -> Temporal:
    return HDLIF(STEPS)


def on_meta(make: Callable[..., Network], **arguments: object) -> Network:
    with torch.device("meta"):
        return make(neuron=neuron, **arguments)


def count(network: Network, kind: type[nn.Module]) -> int:
    """Weights and biases of one kind of layer."""
    return sum(p.numel() for m in network.modules() if isinstance(m, kind) for p in m.parameters(recurse=False))


def parameters(network: Network) -> int:
    """Parameters without the neurons' logits."""
    return sum(p.numel() for name, p in network.named_parameters() if not name.endswith("logit"))


def neurons(network: Network, *image: int) -> dict[str, int]:
    """Neurons per layer for an image [C, H, W]."""
    sizes: dict[str, int] = {}

    def record(name: str, module: nn.Module, args: tuple[Tensor, ...]) -> None:
        sizes[name] = args[0].shape[2:].numel()

    for name, module in network.named_modules():
        if isinstance(module, HDLIF | ParallelHDLIF):
            module.register_forward_pre_hook(partial(record, name))
    network.eval()(torch.empty(1, 1, *image, device="meta"), steps=range(1))
    return sizes


VGG_13 = (64, 64, "P", 128, 128, "P", 256, 256, "P", 512, 512, 512, "P", 512)
NETWORKS = {
    "resnet18_cifar10": partial(resnet18, classes=10),
    "resnet18_cifar100": partial(resnet18, classes=100),
    "resnet18_dvs": partial(resnet18, classes=10, in_channels=2),
    "resnet34_imagenet": partial(resnet34, classes=1000),
    "vgg_snn": partial(vgg_snn, classes=10),
    "vgg_13": partial(vgg_snn, classes=200, in_channels=3, plan=VGG_13, final_size=None),
}


@every(
    "name",
    "total",
    "stem",
    "body",
    "norms",
    "classifier",
    "logits",
    of=[
        ("resnet18_cifar10", 11_173_962, 1_728, 11_157_504, 9_600, 5_130, 128),
        ("resnet18_cifar100", 11_220_132, 1_728, 11_157_504, 9_600, 51_300, 128),
        ("resnet18_dvs", 11_173_386, 1_152, 11_157_504, 9_600, 5_130, 128),
        ("resnet34_imagenet", 21_797_672, 9_408, 21_258_240, 17_024, 513_000, 256),
        ("vgg_snn", 9_268_746, 1_152, 9_216_000, 5_504, 46_090, 64),
        ("vgg_13", 9_510_536, 1_728, 9_400_320, 5_888, 102_600, 80),
    ],
)
def test_network_has_the_published_parameters(
    name: str, total: int, stem: int, body: int, norms: int, classifier: int, logits: int
) -> None:
    network = on_meta(NETWORKS[name])
    kinds = (nn.Conv2d, QuantConv2d, BatchNorm2d, nn.Linear)
    assert [count(network, kind) for kind in kinds] == [stem + body, body, norms, classifier]
    assert parameters(network) == total == stem + body + norms + classifier
    assert sum(p.numel() for p in network.parameters()) - total == logits


@every(
    "name",
    "image",
    "layers",
    "total",
    of=[
        ("resnet18_cifar10", (3, 32, 32), 16, 548_864),
        ("resnet18_dvs", (2, 48, 48), 16, 1_234_944),
        ("resnet34_imagenet", (3, 224, 224), 32, 2_935_296),
        ("vgg_snn", (2, 48, 48), 8, 921_600),
        ("vgg_13", (3, 64, 64), 10, 1_024_000),
    ],
)
def test_network_has_the_published_neurons(name: str, image: tuple[int, ...], layers: int, total: int) -> None:
    sizes = neurons(on_meta(NETWORKS[name]), *image)
    assert (len(sizes), sum(sizes.values())) == (layers, total)
    if name == "resnet18_cifar10":
        assert list(sizes.values()) == [65536] * 5 + [32768] * 4 + [16384] * 4 + [8192] * 3
        assert sum(size for place, size in sizes.items() if place.endswith("act2")) == 245_760


def test_vgg_snn_first_convolution_is_a_body_layer_only_where_asked() -> None:
    conv = partial(QuantConv2d, quantizer=Ternary())
    assert count(on_meta(vgg_snn, classes=10, conv=conv), QuantConv2d) == 9_217_152 - 64 * 2 * 9
    assert count(on_meta(vgg_snn, classes=10, conv=conv, first_conv=conv), QuantConv2d) == 9_217_152


def test_resnet19_has_the_sizes_that_we_state() -> None:
    network = on_meta(resnet19, classes=10)
    assert parameters(network) == 12_698_250
    sizes = neurons(network, 3, 32, 32)
    assert len(sizes) == 17
    # Three stages of 3, 3 and 2 blocks; the first neurons of a stage see the map of the one before.
    assert list(sizes.values()) == [131072] * 7 + [65536] * 6 + [32768] * 3 + [256]
    assert sum(sizes.values()) == 1_409_280
