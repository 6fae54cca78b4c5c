"""Convolutions of codes: sums are PyTorch's bit for bit, gradients theirs, and the slow path is taken elsewhere."""

from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hdlif import _native
from hdlif.functional import binarize_weight, quantize_spike, ternarize_weight
from hdlif.kernels import code_conv
from hdlif.kernels.code_conv import CodeConv, codes_of, conv, convolved, quantised
from hdlif.learning import SLTT, StochasticStep
from hdlif.nn import HDLIF, LIF, BatchNorm2d, ParallelHDLIF, QuantConv2d, Scope, Sequential, SpikeQuantizer, Temporal
from hdlif.nn.synapses import Binary, HeldWeights, Integer, Ternary

LAYERS = [
    # channels in and out, kernel, stride, padding, height, width
    (16, 32, 3, 1, 1, 9, 7),
    (6, 10, 3, 2, 1, 8, 9),
    (5, 33, 5, 2, 2, 11, 6),
    (8, 40, 1, 2, 0, 7, 7),
    (64, 48, 3, 1, 1, 6, 5),
    (1, 1, 2, 3, 0, 5, 4),
]
BITS = [1, 2, 4, 8]


def surpluses(*shape: int, share: float = 0.2, seed: int = 0) -> Tensor:
    """Of which about a share is not 0."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.rand(shape, generator=generator) * 5
    return values * (torch.rand(shape, generator=generator) < share)


def spikes_of(surplus: Tensor, bits: int = 4, *, is_relu: bool = True) -> Tensor:
    return quantised(surplus, bits=bits, step=0.25, offset=0.5, is_relu=is_relu)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was done on the kernels: "pack", "forward", "backward"."""
    found: list[str] = []
    made = _native.LowBitConv

    class Watched:
        def __init__(self, *given: Any, **named: Any) -> None:
            found.append("pack")
            self._made = made(*given, **named)

        def forward(self, *given: Any, **named: Any) -> None:
            found.append("forward")
            self._made.forward(*given, **named)

        def backward(self, *given: Any, **named: Any) -> None:
            found.append("backward")
            self._made.backward(*given, **named)

        def __getattr__(self, name: str) -> Any:
            return getattr(self._made, name)

    monkeypatch.setattr(_native, "LowBitConv", Watched)
    return found


@pytest.mark.parametrize("instructions", _native.instruction_sets())
@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_sums_are_those_of_the_integers_bit_for_bit(layer: tuple[int, ...], bits: int, instructions: str) -> None:
    ins, outs, kernel, stride, padding, height, width = layer
    surplus = surpluses(2, 3, ins, height, width)
    x = spikes_of(surplus, bits)
    codes = codes_of(x)
    assert codes is not None
    for quantize in (binarize_weight, ternarize_weight):
        weight = quantize(torch.randn(outs, ins, kernel, kernel, generator=torch.Generator().manual_seed(1)))
        given = x.flatten(0, 1), weight, codes, CodeConv((stride, stride), (padding, padding), instructions)
        scale = weight.flatten(1).abs().amax(1)
        sums = F.conv2d(x.flatten(0, 1) * 4, weight.sign(), stride=stride, padding=padding)
        assert torch.equal(convolved(*given), sums * (scale * 0.25)[:, None, None])


@pytest.mark.parametrize("instructions", _native.instruction_sets())
@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_sums_are_the_same_whether_codes_are_skipped_or_not(layer: tuple[int, ...], instructions: str) -> None:
    ins, outs, kernel, stride, padding, height, width = layer
    codes = codes_of(spikes_of(surpluses(1, 3, ins, height, width)))
    assert codes is not None
    weight = ternarize_weight(torch.randn(outs, ins, kernel, kernel, generator=torch.Generator().manual_seed(1)))
    out_size = conv.out_size_of((height, width), weight, CodeConv((stride, stride), (padding, padding)))
    found = []
    for most_events in (0.0, 1.0, -1.0):
        scale, y = torch.empty(outs), torch.empty(3, *out_size, outs)
        made = _native.LowBitConv(
            weight.data_ptr(),
            scale.data_ptr(),
            in_size=(height, width),
            out_size=out_size,
            channels=(ins, outs),
            kernel=(kernel, kernel),
            stride=(stride, stride),
            padding=(padding, padding),
            max_code=codes.most,
            threads=2,
            instruction_set=instructions,
            most_events=most_events,
        )
        made.forward(codes.codes.data_ptr(), 3, 0, y.data_ptr(), group=1, totals=0, squares=0, threads=2)
        found.append(y)
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


@pytest.mark.parametrize("instructions", _native.instruction_sets())
@pytest.mark.parametrize("quantize", [binarize_weight, ternarize_weight])
@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_gradients_are_those_of_the_convolution(layer: tuple[int, ...], quantize: Any, instructions: str) -> None:
    ins, outs, kernel, stride, padding, height, width = layer
    surplus = surpluses(1, 4, ins, height, width).requires_grad_()
    latent = torch.randn(outs, ins, kernel, kernel, generator=torch.Generator().manual_seed(1)).requires_grad_()
    x = spikes_of(surplus)
    codes = codes_of(x)
    assert codes is not None
    assert codes.live is not None
    how = CodeConv((stride, stride), (padding, padding), instructions)
    y = convolved(x.flatten(0, 1), quantize(latent), codes, how)
    back = torch.randn(y.shape, generator=torch.Generator().manual_seed(2))
    found = torch.autograd.grad(y, [surplus, latent], back)
    weight = quantize(latent.double())
    wide = quantize_spike(surplus.double()).flatten(0, 1)
    right = torch.autograd.grad(
        F.conv2d(wide, weight, stride=stride, padding=padding), [surplus, latent], back.double()
    )
    # No gradient where there was no surplus: the relu before it stops what comes.
    torch.testing.assert_close(found[0], right[0] * (surplus > 0), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found[1], right[1], rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize("share", [0.2, 0.7])
@pytest.mark.parametrize("needs", [(True, True), (True, False), (False, True)])
def test_gradients_of_many_and_of_few_spikes_are_the_same(
    share: float, needs: tuple[bool, bool], calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    surplus = surpluses(1, 4, 8, 6, 6, share=share).requires_grad_(needs[0])
    latent = torch.randn(8, 8, 3, 3, generator=torch.Generator().manual_seed(1)).requires_grad_(needs[1])

    def gradients() -> tuple[Tensor, ...]:
        x = spikes_of(surplus)
        codes = codes_of(x)
        assert codes is not None
        y = convolved(x.flatten(0, 1), ternarize_weight(latent), codes, CodeConv((1, 1), (1, 1)))
        asked = [one for one, need in zip((surplus, latent), needs, strict=True) if need]
        return torch.autograd.grad(y, asked, torch.randn(y.shape, generator=torch.Generator().manual_seed(2)))

    found = gradients()
    assert ("backward" in calls) == (share < 0.5)
    monkeypatch.setattr(conv, "most_spikes", lambda *_, **__: conv.Shares(*(2 * [-1.0 if share < 0.5 else 1.0])))
    for one, other in zip(found, gradients(), strict=True):
        live = surplus > 0 if one.shape == surplus.shape else torch.tensor(True)
        torch.testing.assert_close(one * live, other * live, rtol=1e-5, atol=1e-4)


def test_nothing_depends_on_the_number_of_threads() -> None:
    def run(threads: int) -> tuple[Tensor, ...]:
        torch.set_num_threads(threads)
        surplus = surpluses(1, 8, 16, 16, 16).requires_grad_()
        latent = torch.randn(32, 16, 3, 3, generator=torch.Generator().manual_seed(1)).requires_grad_()
        x = spikes_of(surplus)
        codes = codes_of(x)
        assert codes is not None
        y = convolved(x.flatten(0, 1), ternarize_weight(latent), codes, CodeConv((1, 1), (1, 1)))
        return (y.detach(), *torch.autograd.grad(y.square().sum(), [surplus, latent]))

    for one, other in zip(run(1), run(3), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("bits", BITS)
def test_quantised_spikes_are_those_of_the_equation_and_their_codes(bits: int, layout: torch.memory_format) -> None:
    surplus = surpluses(6, 5, 4, 3).contiguous(memory_format=layout).view(2, 3, 5, 4, 3).requires_grad_()
    spikes = spikes_of(surplus, bits)
    assert torch.equal(spikes, quantize_spike(surplus, bits=bits))
    assert spikes.stride() == surplus.stride()
    codes = codes_of(spikes)
    assert codes is not None
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
    layer = Sequential({"act": HDLIF(1, quantizer=SpikeQuantizer()), "conv": QuantConv2d(3, 4, 1, quantizer=Ternary())})
    x = torch.ones(1, 2, 3, 4, 4)
    x[0, 1, 2, 3, 3] = torch.nan
    assert layer(x, steps=range(1))[0].isnan().any()


def layer_of(neuron: nn.Module, layer: nn.Module) -> Sequential:
    return Sequential({"act": neuron, "conv": layer})


def quantising(**named: Any) -> HDLIF:
    return HDLIF(4, quantizer=SpikeQuantizer(**named))


SERVED = {
    "ternary": lambda: layer_of(quantising(), QuantConv2d(4, 6, 3, padding=1, quantizer=Ternary())),
    "binary": lambda: layer_of(quantising(bits=2, step=0.5), QuantConv2d(4, 6, 3, stride=2, quantizer=Binary())),
    "parallel": lambda: layer_of(
        ParallelHDLIF(4, quantizer=SpikeQuantizer()), QuantConv2d(4, 6, 3, padding=(0, 2), quantizer=Ternary())
    ),
    "fused": lambda: layer_of(
        HDLIF(4, quantizer=SpikeQuantizer(), path="fused"), QuantConv2d(4, 6, 3, quantizer=Ternary())
    ),
}
NOT_SERVED = {
    "more bits": lambda: layer_of(quantising(), QuantConv2d(4, 6, 3, quantizer=Integer(4))),
    "no quantiser": lambda: layer_of(quantising(), QuantConv2d(4, 6, 3)),
    "surpluses": lambda: layer_of(HDLIF(4), QuantConv2d(4, 6, 3, quantizer=Ternary())),
    "lif": lambda: layer_of(LIF(4), QuantConv2d(4, 6, 3, quantizer=Ternary())),
    "groups": lambda: layer_of(quantising(), QuantConv2d(4, 6, 3, groups=2, quantizer=Ternary())),
    "dilation": lambda: layer_of(quantising(), QuantConv2d(4, 6, 3, dilation=2, quantizer=Ternary())),
    "bias": lambda: layer_of(quantising(), QuantConv2d(4, 6, 3, bias=True, quantizer=Ternary())),
    "same": lambda: layer_of(quantising(), QuantConv2d(4, 6, 3, padding="same", quantizer=Ternary())),
    "clipped": lambda: layer_of(quantising(gradient="clip"), QuantConv2d(4, 6, 3, quantizer=Ternary())),
    "learned step": lambda: layer_of(quantising(learned=True), QuantConv2d(4, 6, 3, quantizer=Ternary())),
    "in between": lambda: Sequential(
        {"act": quantising(), "bn": BatchNorm2d(4), "conv": QuantConv2d(4, 6, 3, quantizer=Ternary())}
    ),
}


def passed(network: Sequential, x: Tensor) -> tuple[Tensor, ...]:
    y, _ = network(x, steps=range(len(x)))
    return (y.detach(), *torch.autograd.grad(y.square().sum(), [x, *network.parameters()]))


@pytest.mark.parametrize("kind", SERVED)
def test_layers_of_codes_run_on_the_kernels_and_give_the_same(
    kind: str, calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    network = SERVED[kind]()
    x = torch.randn(3, 2, 4, 8, 8).requires_grad_()
    found = passed(network, x)
    assert calls[:2] == ["pack", "forward"]
    calls.clear()
    monkeypatch.setattr(code_conv, "hindrance", lambda *_: "not now")
    right = passed(network, x)
    assert not calls
    for one, other in zip(found, right, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5 * float(other.abs().max()))


@pytest.mark.parametrize("kind", NOT_SERVED)
def test_other_layers_do_not(kind: str, calls: list[str]) -> None:
    torch.manual_seed(0)
    passed(NOT_SERVED[kind](), torch.randn(3, 2, 4, 8, 8).requires_grad_())
    assert not calls


def test_lower_precision_and_compiled_networks_do_not(calls: list[str]) -> None:
    network = SERVED["ternary"]()
    x = torch.randn(1, 2, 4, 8, 8)
    with torch.autocast("cpu", torch.bfloat16):
        network(x, steps=range(1))
    network.double()(x.double(), steps=range(1))
    with torch.device("meta"):
        SERVED["ternary"]()(torch.randn(1, 2, 4, 8, 8), steps=range(1))
    assert not calls


@pytest.mark.parametrize("rule", [StochasticStep(chunk=1), SLTT()], ids=["random step", "sltt"])
def test_weights_are_packed_once_an_update(rule: Any, calls: list[str]) -> None:
    network = Sequential(SERVED["ternary"](), nn.Flatten(), nn.Linear(6 * 64, 3))
    plan = rule.schedule(4, torch.Generator().manual_seed(3))
    for step in rule(network, torch.randn(4, 2, 4, 8, 8), torch.tensor([0, 2]), plan):
        step.loss.backward()
    assert calls.count("pack") == 1
    assert calls.count("forward") == max(plan.steps) + 1 > 1


def test_spikes_that_were_written_to_are_no_longer_known(calls: list[str]) -> None:
    """As a network's own forward pass may add to them in place."""
    spikes = spikes_of(surpluses(1, 2, 4, 8, 8))
    assert codes_of(spikes) is not None
    spikes.flatten(0, 1)[0] += 1
    assert codes_of(spikes) is None

    class Shifted(Temporal):
        def __init__(self) -> None:
            super().__init__()
            self.act, self.conv = quantising(), QuantConv2d(4, 6, 3, quantizer=Ternary())

        def forward(self, x: Tensor, state: Any, steps: range) -> Any:
            run = Scope(self, state, steps)
            h = run("act", x)
            h += 0.1
            return run("conv", h), run.state

    with torch.no_grad():
        Shifted()(torch.randn(1, 2, 4, 8, 8), None, range(1))
    assert not calls


def test_inference_mode_computes_the_same() -> None:
    torch.manual_seed(0)
    network, x = SERVED["ternary"](), torch.randn(2, 3, 4, 8, 8)
    with torch.no_grad():
        right, _ = network(x, steps=range(2))
    with torch.inference_mode():
        found, _ = network(x, steps=range(2))
    torch.testing.assert_close(found, right, rtol=1e-5, atol=1e-5)


def test_weights_that_were_written_to_are_packed_again(calls: list[str]) -> None:
    x = spikes_of(surpluses(1, 2, 4, 8, 8))
    codes = codes_of(x)
    assert codes is not None
    weight = ternarize_weight(torch.randn(3, 4, 3, 3))
    how = CodeConv((1, 1), (1, 1))
    before = convolved(x.flatten(0, 1), weight, codes, how)
    assert torch.equal(convolved(x.flatten(0, 1), weight, codes, how), before)
    assert calls.count("pack") == 1
    weight.neg_()
    assert torch.equal(convolved(x.flatten(0, 1), weight, codes, how), -before)


def test_weights_that_gather_gradients_are_the_ones_that_were_packed() -> None:
    layer = QuantConv2d(4, 6, 3, quantizer=Ternary())
    held = HeldWeights(layer)
    x = spikes_of(surpluses(1, 2, 4, 8, 8))
    codes = codes_of(x)
    assert codes is not None
    before = layer(x.flatten(0, 1), held.weights[layer], codes)
    held.last()
    assert torch.equal(layer(x.flatten(0, 1), held.weights[layer], codes), before)


@pytest.fixture
def narrow() -> Sequential:
    """A strided 1x1 convolution of few channels behind one whose output has channels last."""
    torch.manual_seed(0)
    return Sequential({"first": SERVED["ternary"](), "shortcut": QuantConv2d(6, 8, 1, stride=2)})


def test_a_narrow_shortcut_behind_it_is_not_given_channels_last(narrow: Sequential) -> None:
    """oneDNN writes beyond a buffer there (`nn.layout`)."""
    seen: list[Tensor] = []
    convolve = F.conv2d

    def watched(x: Tensor, *given: Any) -> Tensor:
        seen.append(x)
        return convolve(x, *given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hdlif.nn.synapses.F.conv2d", watched)
        narrow(torch.randn(1, 2, 4, 8, 8), steps=range(1))
    assert [one.is_contiguous() for one in seen] == [True]


def test_a_convolution_that_is_none_is_refused() -> None:
    x = spikes_of(surpluses(1, 2, 4, 8, 8))
    codes = codes_of(x)
    assert codes is not None
    weight = ternarize_weight(torch.randn(3, 4, 3, 3))
    with pytest.raises(ValueError, match="this machine has none of that name"):
        convolved(x.flatten(0, 1), weight, codes, CodeConv((1, 1), (1, 1), "mmx"))
    with pytest.raises(ValueError, match="codes: up to 255"):
        convolved(x.flatten(0, 1), weight, replace(codes, most=256), CodeConv((1, 1), (1, 1)))


@pytest.mark.parametrize("window", [2, (2, 3)])
def test_means_of_codes_are_codes_of_a_smaller_step(window: int | tuple[int, int], calls: list[str]) -> None:
    torch.manual_seed(0)
    layers = {
        "act": quantising(),
        "pool": nn.AvgPool2d(window),
        "conv": QuantConv2d(4, 6, 3, padding=1, quantizer=Ternary()),
    }
    network, x = Sequential(layers), torch.randn(2, 3, 4, 8, 9).requires_grad_()
    found = passed(network, x)
    assert calls[:2] == ["pack", "forward"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(code_conv, "hindrance", lambda *_: "not now")
        right = passed(network, x)
    for one, other in zip(found, right, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5 * float(other.abs().max()))


@pytest.mark.parametrize(
    "pool",
    [nn.AvgPool2d(2, stride=1), nn.AvgPool2d(3, padding=1), nn.AvgPool2d(5), nn.AvgPool2d(2, divisor_override=3)],
    ids=["overlap", "padding", "sums beyond a byte", "divisor"],
)
def test_other_means_are_not_known_as_codes(pool: nn.Module, calls: list[str]) -> None:
    layers = {"act": quantising(), "pool": pool, "conv": QuantConv2d(4, 6, 1, quantizer=Ternary())}
    Sequential(layers)(torch.randn(1, 3, 4, 8, 9), steps=range(1))
    assert not calls
