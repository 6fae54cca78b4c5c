"""Convolutions of codes: sums are PyTorch's bit for bit, gradients theirs, and the slow path is taken elsewhere."""

import itertools
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.grad import conv2d_input, conv2d_weight

from cases import every
from hdlif import _native
from hdlif.functional import binarize_weight, quantize_spike, ternarize_weight
from hdlif.learning import SLTT, StochasticStep
from hdlif.nn import HDLIF, LIF, BatchNorm2d, ParallelHDLIF, QuantConv2d, Sequential, SpikeQuantizer
from hdlif.nn.kernels import code_conv
from hdlif.nn.kernels.code_conv import CodeConv, convolve
from hdlif.nn.kernels.codes import codes_of, quantise
from hdlif.nn.synapses import Binary, Integer, Ternary
from nn.test_chain import watch

LAYERS = [
    # channels in and out, kernel, stride, padding, height, width
    (16, 32, 3, 1, 1, 9, 7),
    (6, 10, 3, 2, 1, 8, 9),
    (5, 33, 5, 2, 2, 11, 6),
    (8, 40, 1, 2, 0, 7, 7),
    (64, 48, 3, 1, 1, 6, 5),
    (1, 1, 2, 3, 0, 5, 4),
]
WIDE_LAYERS = [
    (16, 32, 3, 1, 1, 9, 7),
    (64, 48, 3, 2, 1, 6, 5),
    (33, 100, 1, 2, 0, 7, 7),
    (40, 70, 5, 2, 2, 11, 6),
]
"""With channels that fill the tiles of bfloat16."""
BITS = [1, 2, 4, 8]
Layer = tuple[int, ...]


def surpluses(*shape: int, share: float = 0.2, seed: int = 0) -> Tensor:
    """Of which about a share is not 0."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.rand(shape, generator=generator) * 5
    return values * (torch.rand(shape, generator=generator) < share)


def spikes_of(surplus: Tensor, bits: int = 4, *, is_relu: bool = True) -> Tensor:
    return quantise(surplus, bits=bits, step=0.25, offset=0.5, is_relu=is_relu)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was done on the kernels: "pack", "forward", "backward", "backward_in_bfloat16"."""
    found: list[str] = []
    for name in ("forward", "backward", "backward_in_bfloat16"):
        watch(monkeypatch, _native.LowBitConv, name, lambda *_, name=name: name, found)
    watch(monkeypatch, _native, "LowBitConv", lambda *_: "pack", found)
    return found


def drawn_weight(outs: int, ins: int, kernel: int) -> Tensor:
    return torch.randn(outs, ins, kernel, kernel, generator=torch.Generator().manual_seed(1))


@every(layer=LAYERS)
def test_sums_are_those_of_the_integers_bit_for_bit(layer: Layer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether zeros are skipped always, never, or where it pays."""
    ins, outs, kernel, stride, padding, height, width = layer
    made = _native.LowBitConv
    for bits in BITS:
        x = spikes_of(surpluses(2, 3, ins, height, width), bits)
        for quantize in (binarize_weight, ternarize_weight):
            weight = quantize(drawn_weight(outs, ins, kernel))
            scale = weight.flatten(1).abs().amax(1)
            sums = F.conv2d(x.flatten(0, 1) * 4, weight.sign(), stride=stride, padding=padding)
            right = sums * (scale * 0.25)[:, None, None]
            for name, most_events in itertools.product(_native.instruction_sets(), (1.0, 0.0, -1.0)):
                monkeypatch.setattr(_native, "LowBitConv", partial(made, most_events=most_events))
                how = CodeConv((stride, stride), (padding, padding), name)
                # Kernels that were made for a weight are kept with it.
                found = convolve(x.flatten(0, 1), weight.clone(), codes_of(x), how)
                assert torch.equal(found, right), (bits, quantize, name, most_events)


@every(layer=LAYERS)
def test_gradients_are_those_of_the_convolution(layer: Layer) -> None:
    ins, outs, kernel, stride, padding, height, width = layer
    surplus = surpluses(1, 4, ins, height, width).requires_grad_()
    latent = drawn_weight(outs, ins, kernel).requires_grad_()
    for quantize, name in itertools.product((binarize_weight, ternarize_weight), _native.instruction_sets()):
        x = spikes_of(surplus)
        assert codes_of(x).live is not None
        how = CodeConv((stride, stride), (padding, padding), name)
        found = []
        for threads in (1, 3):
            torch.set_num_threads(threads)
            y = convolve(x.flatten(0, 1), quantize(latent), codes_of(x), how)
            back = torch.randn(y.shape, generator=torch.Generator().manual_seed(2))
            found.append(torch.autograd.grad(y, [surplus, latent], back, retain_graph=True))
        torch.set_num_threads(1)
        assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))
        wide = quantize_spike(surplus.double()).flatten(0, 1)
        y = F.conv2d(wide, quantize(latent.double()), stride=stride, padding=padding)
        right = torch.autograd.grad(y, [surplus, latent], back.double())
        # No gradient where there was no surplus: the relu before it stops what comes.
        torch.testing.assert_close(found[0][0], right[0] * (surplus > 0), rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(found[0][1], right[1], rtol=1e-5, atol=2e-5)


def test_gradients_of_many_and_of_few_spikes_are_the_same(calls: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for share, needs in itertools.product((0.2, 0.7), ((True, True), (True, False), (False, True))):
        surplus = surpluses(1, 4, 8, 6, 6, share=share).requires_grad_(needs[0])
        latent = drawn_weight(8, 8, 3).requires_grad_(needs[1])
        asked = [one for one, need in zip((surplus, latent), needs, strict=True) if need]
        found = []
        for limit in (None, -1.0 if share < 0.5 else 1.0):
            calls.clear()
            with monkeypatch.context() as patch:
                if limit is not None:
                    patch.setattr(
                        code_conv, "most_spikes", lambda *_, limit=limit, **__: code_conv.Shares(limit, limit)
                    )
                x = spikes_of(surplus)
                y = convolve(x.flatten(0, 1), ternarize_weight(latent), codes_of(x), CodeConv((1, 1), (1, 1)))
                back = torch.randn(y.shape, generator=torch.Generator().manual_seed(2))
                found.append(torch.autograd.grad(y, asked, back))
            assert ("backward" in calls) == ((share < 0.5) == (limit is None))
        for one, other in zip(*found, strict=True):
            live = surplus > 0 if one.shape == surplus.shape else torch.tensor(True)
            torch.testing.assert_close(one * live, other * live, rtol=1e-5, atol=1e-4)


def multiplies_bfloat16() -> bool:
    """Whether this machine has tiles of bfloat16."""
    cpu = Path("/proc/cpuinfo")
    return "amx" in _native.instruction_sets() and "amx_bf16" in cpu.read_text()


@every(layer=WIDE_LAYERS)
def test_under_autocast_the_gradients_are_those_of_rounded_output_gradients(layer: Layer, calls: list[str]) -> None:
    ins, outs, kernel, stride, padding, height, width = layer
    surplus = surpluses(1, 4, ins, height, width).requires_grad_()
    weight = ternarize_weight(drawn_weight(outs, ins, kernel)).requires_grad_()
    scale = weight.detach().flatten(1).abs().amax(1)[:, None, None]
    how = CodeConv((stride, stride), (padding, padding))
    for is_relu in (True, False):
        x = spikes_of(surplus, is_relu=is_relu)
        found = []
        for threads in (1, 3):
            torch.set_num_threads(threads)
            with torch.autocast("cpu", torch.bfloat16):
                y = convolve(x.flatten(0, 1), weight, codes_of(x), how)
            back = torch.randn(y.shape, generator=torch.Generator().manual_seed(2))
            calls.clear()
            found.append(torch.autograd.grad(y, [surplus, weight], back, retain_graph=True))
            assert ("backward_in_bfloat16" in calls) == multiplies_bfloat16()
        torch.set_num_threads(1)
        assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))
        dtype = torch.bfloat16 if multiplies_bfloat16() else torch.float32
        wide, geometry = x.detach().double().flatten(0, 1), {"stride": stride, "padding": padding}
        signs, scaled = weight.detach().sign().double(), (back * scale).to(dtype).double()
        dx = conv2d_input(wide.shape, signs, scaled, **geometry).view(surplus.shape)
        dw = conv2d_weight(wide, weight.shape, back.to(dtype).double(), **geometry)
        live = surplus > 0 if is_relu else torch.tensor(True)
        # Sums in float32.
        torch.testing.assert_close(found[0][0] * live, dx.float() * live, rtol=1e-5, atol=2e-5)
        torch.testing.assert_close(found[0][1], dw.float(), rtol=1e-5, atol=2e-5)


def test_quantised_spikes_are_those_of_the_equation_and_their_codes() -> None:
    for layout, bits in itertools.product((torch.contiguous_format, torch.channels_last), BITS):
        surplus = surpluses(6, 5, 4, 3).contiguous(memory_format=layout).view(2, 3, 5, 4, 3).requires_grad_()
        spikes = spikes_of(surplus, bits)
        assert torch.equal(spikes, quantize_spike(surplus, bits=bits))
        assert spikes.stride() == surplus.stride()
        codes = codes_of(spikes)
        assert codes.live is not None
        assert codes.most == 2**bits - 1
        assert torch.equal(codes.codes.permute(0, 3, 1, 2) * 0.25, spikes.flatten(0, 1))
        assert torch.equal(codes.live.permute(0, 3, 1, 2).bool(), (surplus > 0).flatten(0, 1))
        (gradient,) = torch.autograd.grad(spikes, surplus, torch.full_like(spikes, 3.0))
        assert torch.equal(gradient, torch.full_like(gradient, 3.0))


def test_what_is_no_surplus_is_no_code() -> None:
    """A network that gives no numbers shows them in its loss."""
    surplus = surpluses(1, 2, 3, 4, 4)
    surplus[0, 1, 2, 3, 3] = torch.nan
    spikes = spikes_of(surplus)
    assert codes_of(spikes) is None
    assert spikes.isnan().sum() == 1


def quantising(**named: Any) -> HDLIF:
    return HDLIF(4, quantizer=SpikeQuantizer(**named))


def layer_of(neuron: nn.Module | None = None, between: nn.Module | None = None, **conv: Any) -> Sequential:
    """A neuron with 4-bit codes, and a convolution with weights of 1.5 bits, but for what is given."""
    conv = {"kernel_size": 3, "quantizer": Ternary(), **conv}
    middle = {} if between is None else {"between": between}
    return Sequential({"act": neuron or quantising(), **middle, "conv": QuantConv2d(4, 6, **conv)})


SERVED = {
    "ternary": lambda: layer_of(padding=1),
    "binary": lambda: layer_of(quantising(bits=2, step=0.5), stride=2, quantizer=Binary()),
    "parallel": lambda: layer_of(ParallelHDLIF(4, quantizer=SpikeQuantizer()), padding=(0, 2)),
    "fused": lambda: layer_of(HDLIF(4, quantizer=SpikeQuantizer(), path="fused")),
    "means": lambda: layer_of(between=nn.AvgPool2d(2)),
    "means of a wide window": lambda: layer_of(between=nn.AvgPool2d((2, 3)), kernel_size=2),
}
NOT_SERVED = {
    "more bits": lambda: layer_of(quantizer=Integer(4)),
    "no quantiser": lambda: layer_of(quantizer=None),
    "surpluses": lambda: layer_of(HDLIF(4)),
    "lif": lambda: layer_of(LIF(4)),
    "groups": lambda: layer_of(groups=2),
    "dilation": lambda: layer_of(dilation=2),
    "bias": lambda: layer_of(bias=True),
    "same": lambda: layer_of(padding="same"),
    "padding beyond the kernel": lambda: layer_of(kernel_size=1, padding=2),
    "clipped": lambda: layer_of(quantising(gradient="clip")),
    "learned step": lambda: layer_of(quantising(learned=True)),
    "in between": lambda: layer_of(between=BatchNorm2d(4)),
    "means that overlap": lambda: layer_of(between=nn.AvgPool2d(2, stride=1)),
    "means with padding": lambda: layer_of(between=nn.AvgPool2d(3, padding=1), kernel_size=1),
    "sums beyond a byte": lambda: layer_of(between=nn.AvgPool2d(5), kernel_size=1),
    "means of another count": lambda: layer_of(between=nn.AvgPool2d(2, divisor_override=3)),
}


def passed(network: Sequential, x: Tensor) -> tuple[Tensor, ...]:
    y, _ = network(x, steps=range(len(x)))
    return (y.detach(), *torch.autograd.grad(y.square().sum(), [x, *network.parameters()]))


@every(make=SERVED)
def test_layers_of_codes_run_on_the_kernels_and_give_the_same(
    make: Callable[[], Sequential], calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    network, x = make(), torch.randn(3, 2, 4, 8, 9).requires_grad_()
    calls.clear()
    found = passed(network, x)
    assert calls[:2] == ["pack", "forward"]
    with torch.inference_mode():
        torch.testing.assert_close(network(x, steps=range(3))[0], found[0], rtol=1e-5, atol=1e-5)
    calls.clear()
    with monkeypatch.context() as patch:
        patch.setattr(code_conv, "hindrance", lambda *_: "not now")
        right = passed(network, x)
    assert not calls
    for one, other in zip(found, right, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5 * float(other.abs().max()))


@every(make=NOT_SERVED)
def test_other_layers_do_not(make: Callable[[], Sequential], calls: list[str]) -> None:
    passed(make(), torch.randn(3, 2, 4, 8, 9).requires_grad_())
    assert not calls


def test_under_autocast_the_sums_of_codes_are_as_exact(calls: list[str]) -> None:
    network, x = SERVED["ternary"](), torch.randn(3, 2, 4, 8, 9).requires_grad_()
    right = passed(network, x)
    calls.clear()
    with torch.autocast("cpu", torch.bfloat16):
        found = passed(network, x)
    assert calls[:2] == ["pack", "forward"]
    assert all(map(torch.equal, found, right))


def test_lower_precision_and_compiled_networks_do_not(calls: list[str]) -> None:
    network = SERVED["ternary"]()
    x = torch.randn(1, 2, 4, 8, 8)
    network.double()(x.double(), steps=range(1))
    with torch.device("meta"):
        SERVED["ternary"]()(torch.randn(1, 2, 4, 8, 8), steps=range(1))
    assert not calls


@every(rule=[StochasticStep(chunk=1), SLTT()])
def test_weights_are_packed_once_an_update(rule: Any, calls: list[str]) -> None:
    calls.clear()
    network = Sequential(SERVED["ternary"](), nn.Flatten(), nn.Linear(6 * 64, 3))
    plan = rule.schedule(4, torch.Generator().manual_seed(3))
    for step in rule(network, torch.randn(4, 2, 4, 8, 8), torch.tensor([0, 2]), plan):
        step.loss.backward()
    assert calls.count("pack") == 1
    assert calls.count("forward") == max(plan.steps) + 1 > 1


def test_what_was_written_to_is_read_anew(calls: list[str]) -> None:
    """As a network's own forward pass may add to spikes in place, and an optimizer to weights."""
    x, weight = spikes_of(surpluses(1, 2, 4, 8, 8)), ternarize_weight(torch.randn(3, 4, 3, 3))
    given = x.flatten(0, 1), weight, codes_of(x), CodeConv((1, 1), (1, 1))
    before = convolve(*given)
    assert torch.equal(convolve(*given), before)
    assert calls.count("pack") == 1
    weight.neg_()
    assert torch.equal(convolve(*given), -before)
    x.flatten(0, 1)[0] += 1
    assert codes_of(x) is None


def test_a_narrow_shortcut_behind_it_is_not_given_channels_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """A strided 1x1 convolution of few channels: oneDNN writes beyond a buffer there (`nn.layout`)."""
    network = Sequential({"first": SERVED["ternary"](), "shortcut": QuantConv2d(6, 8, 1, stride=2)})
    seen: list[Tensor] = []
    made = F.conv2d
    monkeypatch.setattr("hdlif.nn.synapses.F.conv2d", lambda x, *given: (seen.append(x), made(x, *given))[1])
    network(torch.randn(1, 2, 4, 8, 8), steps=range(1))
    assert [one.is_contiguous() for one in seen] == [True]
