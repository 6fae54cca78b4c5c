"""Convolutions of maps of one pixel, run as matrix products, against the convolution itself."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cases import every
from hdlif.nn import QuantConv2d, Sequential, Ternary
from hdlif.nn.one_pixel import is_product, runs_as_product

T, B, C, D = 3, 4, 5, 6
EXACT = {"atol": 1e-12, "rtol": 0.0}


def layers() -> list[nn.Conv2d]:
    torch.manual_seed(0)
    quantised = QuantConv2d(C, D, 1, bias=True, quantizer=Ternary())
    return [nn.Conv2d(C, D, 1), nn.Conv2d(C, D, 1, stride=2, bias=False), quantised, QuantConv2d(C, D, 1)]


@every(layer=layers())
def test_it_equals_the_convolution_in_outputs_and_gradients(layer: nn.Conv2d, monkeypatch: pytest.MonkeyPatch) -> None:
    layer = layer.double()
    x = torch.randn(T, B, C, 1, 1, dtype=torch.float64, requires_grad=True)
    towards = torch.randn(T, B, D, 1, 1, dtype=torch.float64)
    weight = layer.weight_q() if isinstance(layer, QuantConv2d) else layer.weight
    bias = [] if layer.bias is None else [layer.bias]
    expected = F.conv2d(x.flatten(0, 1), weight, layer.bias, stride=layer.stride).view(T, B, D, 1, 1)
    with monkeypatch.context() as patch:
        patch.setattr(F, "conv2d", None)
        found, _ = Sequential(layer)(x, steps=range(T))
    torch.testing.assert_close(found, expected, **EXACT)
    for ours, theirs in zip(
        torch.autograd.grad(found, [x, layer.weight, *bias], towards, retain_graph=True),
        torch.autograd.grad(expected, [x, layer.weight, *bias], towards),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs, **EXACT)


@every(
    "layer",
    "shape",
    of=[
        (nn.Conv2d(C, D, 1), (B, C, 1, 2)),
        (nn.Conv2d(C, D, 3, padding=1), (B, C, 1, 1)),
        (nn.Conv2d(C, D, 1, padding=1), (B, C, 1, 1)),
        (nn.Conv2d(4, 4, 1, groups=2), (B, 4, 1, 1)),
        (nn.Conv2d(C, D, 1), (C, 1, 1)),
        (nn.Conv1d(C, D, 1), (B, C, 1)),
    ],
)
def test_other_convolutions_are_no_products(layer: nn.Module, shape: tuple[int, ...]) -> None:
    x = torch.randn(shape)
    assert not runs_as_product(layer, x)
    assert not is_product(layer, x)  # type: ignore[arg-type]


def test_a_layer_that_is_watched_or_another_runs_as_it_is() -> None:
    x, seen = torch.randn(2, B, C, 1, 1), []
    watched = nn.Conv2d(C, D, 1)
    watched.register_forward_hook(lambda module, args, y: seen.append(y.shape))
    Sequential(watched)(x, steps=range(2))
    assert seen == [(2 * B, D, 1, 1)]

    class Doubled(nn.Conv2d):
        def forward(self, x: Tensor) -> Tensor:
            return 2 * super().forward(x)

    doubled = Doubled(C, D, 1)
    torch.testing.assert_close(Sequential(doubled)(x, steps=range(2))[0].flatten(0, 1), doubled(x.flatten(0, 1)))
