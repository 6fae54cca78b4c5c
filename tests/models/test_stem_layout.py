"""Which pictures a stem reads with channels last, and that a network computes the same either way."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from cases import every
from hdlif.models import resnet
from hdlif.models.blocks import Network
from hdlif.models.resnet import cifar_stem
from hdlif.nn import HDLIF, BatchNorm2d, Sequential

T = 2


def network(width: int = 16, channels: int = 3, stem: Callable[[int, int], nn.Module] = cifar_stem) -> Network:
    torch.manual_seed(0)
    return resnet(neuron=lambda place: HDLIF(T), blocks=(1,), width=width, classes=3, in_channels=channels, stem=stem)


def seen_by(net: Network, x: Tensor) -> list[bool]:
    """Of each convolution of the stem, whether it is given channels last, and gives them."""
    found: list[bool] = []
    for layer in net.stem.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(lambda _, given, y: found.extend(_are_last(one) for one in (given[0], y)))
    net(x, steps=range(T))
    return found


def _are_last(maps: Tensor) -> bool:
    return not maps.is_contiguous() and maps.is_contiguous(memory_format=torch.channels_last)


def test_a_network_that_learns_reads_pictures_with_channels_last() -> None:
    x = torch.randn(1, 4, 3, 8, 8)
    assert seen_by(network(), x) == [True, True]
    assert seen_by(network().eval(), x) == [False, False]


@every("width", "channels", "batch", of=[(8, 3, 4), (16, 1, 4), (16, 3, 1)])
def test_others_stay_as_they_are(width: int, channels: int, batch: int) -> None:
    assert seen_by(network(width, channels), torch.randn(1, batch, channels, 8, 8)) == [False, False]


def test_a_narrow_strided_convolution_is_never_given_channels_last() -> None:
    def stem(in_channels: int, width: int) -> nn.Module:
        first, then = nn.Conv2d(in_channels, 16, 3, padding=1), nn.Conv2d(16, 8, 1)
        return Sequential(first, then, nn.Conv2d(8, width, 1, stride=2, bias=False), BatchNorm2d(width))

    assert seen_by(network(stem=stem), torch.randn(1, 4, 3, 8, 8)) == [False] * 6


def test_results_and_gradients_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.randn(1, 4, 3, 8, 8, requires_grad=True)

    def learned() -> list[Tensor]:
        net = network()
        y, _ = net(x, steps=range(T))
        gradients = torch.autograd.grad(y.square().sum(), [x, *net.parameters()], allow_unused=True)
        return [y.detach(), *(one for one in gradients if one is not None)]

    found = learned()
    monkeypatch.setattr("hdlif.models.blocks.reads_channels_last", lambda stem, images: False)
    for its, expected in zip(found, learned(), strict=True):
        torch.testing.assert_close(its, expected, rtol=1e-3, atol=1e-4)
