"""Weights and spikes of few bits by Triton's kernels, in Triton's interpreter, against their equations.

`tests/kernels/test_gpu.py` compares them on a GPU, `tests/kernels/test_triton_compiled.py` compiles them for some.
"""

import pytest
import torch
from torch import Tensor

from hdlif.functional import StraightThrough, binarize_weight, quantize_spike, ternarize_weight
from hdlif.kernels import spikes
from hdlif.kernels.spikes import quantised
from hdlif.kernels.weights import binarized, ternarized
from hdlif.nn import SpikeQuantizer
from hdlif.nn.synapses import Binary, Ternary
from quantisers import LATENT, WEIGHTS, assert_same_spikes, assert_same_weights, drawn, latent

pytest.importorskip("triton", reason="needs Triton: pip install 'hdlif[triton]'")
# NumPy's, of numbers that are none.
pytestmark = [pytest.mark.usefixtures("as_a_gpu"), pytest.mark.filterwarnings("ignore::RuntimeWarning:triton")]

TERNARY = ["magnitudes", "above_threshold", "ternary_values"]


@pytest.mark.parametrize("shape", LATENT, ids=str)
@pytest.mark.parametrize("scale", [0.7, 0.05])
@pytest.mark.parametrize("bits", WEIGHTS)
def test_weights_and_gradients_are_those_of_the_equation(
    bits: str, scale: float, shape: tuple[int, ...], launches: list[str]
) -> None:
    assert_same_weights(bits, latent(*shape, scale=scale))
    if bits == "ternary":
        assert launches == TERNARY
    else:
        # Of vectors there are no output channels.
        assert launches == ["binary_values"] * (len(shape) > 1)


@pytest.mark.parametrize("bits", WEIGHTS)
def test_channels_last_stay_so_and_views_are_left_to_operations(bits: str, launches: list[str]) -> None:
    weight = latent(6, 5, 3, 3).detach()
    last = weight.contiguous(memory_format=torch.channels_last)
    assert_same_weights(bits, last.clone().requires_grad_())
    assert WEIGHTS[bits][0](last).stride() == last.stride()
    launches.clear()
    negated = torch.view_as_complex(torch.stack([weight, weight], -1)).conj().imag
    assert negated.is_neg()
    for other in (weight[:, ::2], weight.double(), negated):
        found, expected = (quantise(other) for quantise in WEIGHTS[bits])
        assert torch.equal(found, expected)
    assert not launches


@pytest.mark.parametrize(
    "values", [[0.0, 0.0], [1.0, -1.0, 3.0, -0.1], [-0.0, 0.5, -2.0], [torch.inf, 0.3, -torch.inf]]
)
def test_ends_of_the_range(values: list[float]) -> None:
    weight = torch.tensor([values]).requires_grad_()
    for bits in WEIGHTS:
        assert_same_weights(bits, weight)
    found, expected = ternarized(weight), ternarize_weight(weight)
    assert torch.equal(found.signbit(), expected.signbit())


def test_what_is_no_number_spoils_all_as_in_the_equation() -> None:
    weight = latent(4, 10).detach()
    weight[1, 3] = torch.nan
    for find, right in ((ternarized, ternarize_weight), (binarized, binarize_weight)):
        assert torch.equal(find(weight).isnan(), right(weight).isnan())


@pytest.mark.parametrize("gradient", ["identity", "clip"])
@pytest.mark.parametrize("shape", [(1,), (3, 2, 5), (2, 3, 4, 5, 3)], ids=str)
@pytest.mark.parametrize(("bits", "step", "offset"), [(4, 0.25, 0.5), (1, 0.3, 0.0), (8, 0.01, 1.0)])
def test_spikes_and_gradients_are_those_of_the_equation(
    bits: int, step: float, offset: float, shape: tuple[int, ...], gradient: StraightThrough, launches: list[str]
) -> None:
    assert_same_spikes(drawn(*shape), bits=bits, step=step, offset=offset, gradient=gradient)
    assert launches == ["quantised_spikes"]


def test_spikes_at_and_beyond_the_ends_and_none() -> None:
    ends = torch.tensor([0.0, -0.0, -1.0, 1e-40, 0.125, 3.75, 3.8, 3.875, 1e9, 3e38, torch.inf, -torch.inf, torch.nan])
    for gradient in ("identity", "clip"):
        assert_same_spikes(ends, bits=4, step=0.25, offset=0.5, gradient=gradient)


def test_spikes_of_any_layout(launches: list[str]) -> None:
    x = drawn(2, 3, 4, 5, 3)
    last = x.flatten(0, 1).contiguous(memory_format=torch.channels_last).view(x.shape)
    for spike in (last, x.transpose(0, 3), x[:, :, ::2], x[:1].expand(x.shape)):
        for gradient in ("identity", "clip"):
            assert_same_spikes(spike, bits=4, step=0.25, offset=0.5, gradient=gradient)
    assert SpikeQuantizer()(last).stride() == last.stride()
    assert len(launches) == 9


def saved(spike: Tensor, gradient: StraightThrough) -> list[Tensor]:
    found = list[Tensor]()
    with torch.autograd.graph.saved_tensors_hooks(lambda one: found.append(one), lambda _: None):
        quantised(spike, bits=4, step=0.25, offset=0.5, gradient=gradient)
    return found


def test_a_clip_saves_a_byte_a_spike_and_the_identity_nothing() -> None:
    spike = drawn(3, 7).requires_grad_()
    assert saved(spike, "identity") == []
    (inside,) = saved(spike, "clip")
    assert inside.nbytes == spike.numel()
    assert saved(spike.detach(), "clip") == []


def test_the_same_bits_twice() -> None:
    weight, spike = latent(9, 50), drawn(100)
    for run in (lambda: ternarized(weight), lambda: binarized(weight), lambda: SpikeQuantizer()(spike)):
        assert torch.equal(run(), run())


def test_layers_take_them(launches: list[str]) -> None:
    weight, spike = latent(6, 5, 3, 3), drawn(2, 3, 4, 5, 3)
    assert torch.equal(Binary()(weight), binarized(weight))
    assert torch.equal(Ternary()(weight), ternarized(weight))
    assert launches == ["binary_values"] * 2 + TERNARY * 2
    launches.clear()
    for quantizer in (SpikeQuantizer(), SpikeQuantizer(gradient="clip")):
        quantizer(spike, is_relu=True)
    assert launches == ["quantised_spikes"] * 2
    launches.clear()
    # A step that is learned has PyTorch's operations.
    learned = SpikeQuantizer(learned=True)
    torch.testing.assert_close(learned(spike), quantize_spike(spike))
    assert not spikes.serves(spike.double())
    assert not launches
