"""Winograd's convolutions: against PyTorch's in float64, where they serve, and in networks that train."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cases import every
from hdlif import _native
from hdlif.nn import QuantConv2d
from hdlif.nn.kernels import winograd
from hdlif.nn.synapses import Integer
from hdlif.recipe import load_recipe
from hdlif.report.accounting import saved_bytes
from hdlif.report.recipe_update import RecipeUpdate
from nn.test_chain import watch

SHAPES = [
    # N, C, D, H, W
    (3, 16, 16, 16, 16),
    (50, 16, 48, 1, 1),
    (48, 80, 16, 3, 4),
    (5, 32, 64, 9, 14),
    (2, 128, 96, 17, 23),
    (64, 144, 16, 4, 4),
]
LAST: Any = {"memory_format": torch.channels_last}


def case(n: int, c: int, d: int, h: int, w: int) -> tuple[Tensor, Tensor, Tensor]:
    g = torch.Generator().manual_seed(0)
    x, weight, dy = (torch.randn(sizes, generator=g) for sizes in ((n, c, h, w), (d, c, 3, 3), (n, d, h, w)))
    return x, weight, dy


def right(x: Tensor, weight: Tensor, dy: Tensor) -> list[Tensor]:
    """y, and the gradients of x and the weight, in float64."""
    x, weight = (one.double().requires_grad_() for one in (x, weight))
    y = F.conv2d(x, weight, padding=1)
    return [y.detach(), *torch.autograd.grad(y, [x, weight], dy.double())]


def off(found: Tensor, expected: Tensor) -> float:
    """As a share of the largest entry."""
    return float((found - expected).abs().max() / expected.abs().max())


@every(shape=SHAPES)
def test_every_instruction_set_gives_the_convolution_and_its_gradients(shape: tuple[int, ...]) -> None:
    x, weight, dy = case(*shape)
    n, c, d, h, w = shape
    x, dy = x.contiguous(**LAST), dy.contiguous(**LAST)
    expected = right(x, weight, dy)
    for name in _native.instruction_sets():
        found = []
        for threads in (1, 3):
            y, dx, dw = torch.empty_like(dy), torch.empty_like(x), torch.empty_like(weight)
            for is_back, given, to in ((False, x, y), (True, dy, dx)):
                _native.winograd_convolve(
                    weight.data_ptr(), (d, c), is_back, given.data_ptr(), n, (h, w), to.data_ptr(), threads, name
                )
            _native.winograd_kernel_gradient(
                x.data_ptr(), dy.data_ptr(), n, (h, w), (d, c), dw.data_ptr(), threads, name
            )
            found.append([y, dx, dw])
        for one, its, wide in zip(*found, expected, strict=True):
            assert torch.equal(one, its), f"{name}: the bits depend on the number of threads"
            assert off(one, wide) < 2e-5, name


def test_gradients_are_those_that_are_asked_for() -> None:
    x, weight, dy = case(12, 32, 16, 8, 8)
    expected = right(x, weight, dy)
    layouts = torch.contiguous_format, torch.channels_last
    for *which, layout in itertools.product((True, False), (True, False), layouts):
        given = [one.clone(memory_format=layout) for one in (x, weight)]
        for one, is_asked in zip(given, which, strict=True):
            one.requires_grad_(is_asked)
        y = winograd.convolve(given[0], given[1])
        assert y.requires_grad == any(which)
        assert y.is_contiguous(**LAST)
        assert off(y.detach(), expected[0]) < 2e-5
        if any(which):
            # As it is, or as a view that negates what it reads.
            laid = dy.contiguous(memory_format=layout)
            y.backward(torch._neg_view(-laid) if all(which) else laid)
        for one, gradient, is_asked in zip(given, expected[1:], which, strict=True):
            assert (one.grad is not None) == is_asked, (which, layout)
            assert not is_asked or off(one.grad, gradient) < 2e-5, (which, layout)


def test_gradients_are_differentiated_again_and_come_in_batches() -> None:
    x, weight, dy = (one.requires_grad_() for one in case(12, 16, 16, 8, 8))
    found = []
    for convolve in (winograd.convolve, lambda x, weight: F.conv2d(x, weight, padding=1)):
        y = convolve(x, weight)
        of_x, of_weight = torch.autograd.grad(y.square().sum(), [x, weight], create_graph=True)
        second = torch.autograd.grad(of_x.square().sum() + of_weight.square().sum(), [x, weight], retain_graph=True)
        batch = torch.autograd.grad(y, [x, weight], torch.stack([dy, -2 * dy]).detach(), is_grads_batched=True)
        found.append([*second, *batch])
    for mine, its in zip(*found, strict=True):
        assert off(mine, its) < 1e-4


def test_an_input_is_saved_for_the_gradient_of_the_weight_alone() -> None:
    x, weight, _ = case(12, 16, 16, 8, 8)
    before = (x * 1).contiguous(**LAST).requires_grad_()
    for is_learned in (True, False):
        weight.requires_grad_(is_learned)
        saved = saved_bytes(lambda: winograd.convolve(before * 1, weight), model=nn.Module())
        assert (saved >= 4 * before.numel()) == is_learned


UNLIKE: dict[str, Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]] = {
    "channels": lambda x, weight: (x[:, :8], weight[:, :8]),
    "output channels": lambda x, weight: (x, weight[:24]),
    "other channels": lambda x, weight: (x[:, :16], weight),
    "kernel": lambda x, weight: (x, weight[:, :, :1, :1]),
    "few tiles": lambda x, weight: (x[:1], weight),
    "float64": lambda x, weight: (x.double(), weight.double()),
    "meta": lambda x, weight: (x.to("meta"), weight.to("meta")),
}


def test_where_they_serve(monkeypatch: pytest.MonkeyPatch) -> None:
    x, weight, _ = case(16, 32, 32, 8, 8)
    assert winograd.can_convolve(x, weight)
    for name, change in UNLIKE.items():
        assert not winograd.can_convolve(*change(x, weight)), name
    # Bfloat16 is the faster one where the processor has tiles.
    for has_tiles in (False, True):
        monkeypatch.setattr(winograd, "multiplies_bfloat16_fast", lambda has_tiles=has_tiles: has_tiles)
        with torch.autocast("cpu", torch.bfloat16):
            assert winograd.can_convolve(x, weight) != has_tiles
        assert winograd.can_convolve(x, weight)
    with torch.autograd.forward_ad.dual_level():
        assert not winograd.can_convolve(x, weight)
    torch.func.vmap(lambda x: x if not winograd.can_convolve(x, weight) else 1 / 0)(x[None])


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Which kernels ran."""
    found: list[str] = []
    for name in ("winograd_convolve", "winograd_kernel_gradient"):
        watch(monkeypatch, _native, name, lambda *_, name=name: name, found)
    return found


def test_a_layer_that_learns_takes_them_where_it_has_their_form(calls: list[str]) -> None:
    options: dict[str, Any]
    for options, is_taken in (
        ({}, True),
        ({"quantizer": Integer(4)}, True),
        ({"stride": 2}, False),
        ({"padding": 0}, False),
        ({"padding": "same"}, False),
        ({"dilation": 2, "padding": 2}, False),
        ({"groups": 2}, False),
        ({"bias": True}, False),
    ):
        calls.clear()
        torch.manual_seed(0)
        conv = QuantConv2d(32, 32, 3, **{"padding": 1, **options})
        x = torch.randn(16, 32, 8, 8)
        y = conv(x)
        assert bool(calls) == is_taken, options
        expected = conv.eval()(x)
        assert len(calls) == is_taken, "a network that is measured has PyTorch's convolutions"
        torch.testing.assert_close(y, expected, rtol=1e-4, atol=1e-4)


def test_maps_of_a_network_that_learns_have_channels_last(calls: list[str]) -> None:
    """So that no layer turns them over."""
    made = RecipeUpdate(load_recipe("digits_hdlif", ["model.width=16", "data.batch_size=16", "time_steps=2"]))
    seen: list[Tensor] = []
    for module in made.model.modules():
        if isinstance(module, QuantConv2d):
            module.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    made.update(torch.randn(1, 16, 1, 8, 8), torch.randint(10, (16,)), made.rule.schedule(2, made.generator))
    assert {"winograd_convolve", "winograd_kernel_gradient"} <= {*calls}
    # Smaller ones are PyTorch's, which prefers the other order.
    body = [one for one in seen if one.shape[1] >= 16 and one.shape[2:].numel() >= 64]
    assert body
    assert all(one.is_contiguous(**LAST) for one in body)
