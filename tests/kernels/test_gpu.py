"""What Triton's kernels compute on a GPU, against the same by PyTorch's operations there."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from chunks import (
    CASES,
    as_written,
    assert_bits,
    assert_close,
    compared,
    drawn,
    everything,
    given_to,
    random_given,
    written_of,
)
from hdlif.functional import StraightThrough
from hdlif.kernels import devices
from hdlif.kernels.chunk import FusedStep
from hdlif.nn import GLIF, HDLIF, SteppedNeuron
from hdlif.report import gpu_kernels
from norm_networks import STEPS, assert_alike, run, small_network
from norms import LAYOUTS, SHAPES, assert_as_pytorch, drawn_maps, drawn_norm
from quantisers import LATENT, WEIGHTS, assert_same_spikes, assert_same_weights, latent

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU that PyTorch can use")
pytest.importorskip("triton", reason="needs Triton: pip install 'hdlif[triton]'")

T = 5
every_neuron = pytest.mark.parametrize("make", CASES.values(), ids=CASES)


def there(given: list[Any]) -> list[Any]:
    """On the GPU, as leaves."""
    return [one.detach().cuda().requires_grad_(one.requires_grad) if isinstance(one, Tensor) else one for one in given]


def compare(neuron: SteppedNeuron, given: list[Any], steps: int, *, of: object = "") -> None:
    assert_close(*compared(neuron, there(given), steps), of=of)


@every_neuron
@pytest.mark.parametrize("shape", [(3, 8), (2, 4, 3, 3), (1, 200), (16, 64, 32, 32)], ids=str)
def test_a_chunk_is_what_operations_make_of_it(
    make: Callable[..., SteppedNeuron], shape: tuple[int, ...], launches: list[str]
) -> None:
    for given in ({}, {"channels": shape[1]}, {"channels": shape[1], "per_step": False}):
        neuron = make(time_steps=T, **given)
        for steps, shares in ((T, "per_step" in given), (1, False)):
            for x in (drawn(steps, *shape), drawn(1, *shape)):
                compare(neuron, given_to(neuron, x, steps, shares=shares), steps, of=(given, steps))
    assert len(launches) == 2 * 3 * 4


def test_channels_last_stay_so(launches: list[str]) -> None:
    neuron, x = HDLIF(T, channels=3), drawn(T, 2, 3, 4, 5)
    last = x.flatten(0, 1).contiguous(memory_format=torch.channels_last).unflatten(0, (T, 2))
    compare(neuron, given_to(neuron, last, T), T)
    assert len(launches) == 2


def test_a_chunk_twice_has_the_same_bits() -> None:
    neuron = GLIF(T, channels=64)
    given = there(given_to(neuron, drawn(T, 8, 64, 16, 16), T))
    found = [everything(FusedStep(written_of(neuron)), given, T, states=len(neuron.states)) for _ in range(2)]
    assert_bits(*found)


def test_programs_at_random_are_what_operations_make_of_them(launches: list[str]) -> None:
    for seed in range(200):
        program, steps, given = random_given(seed)
        written, states, given = as_written(program), len(program.states), there(given)
        found, expected = (
            everything(FusedStep(written, kernels=one), given, steps, states=states) for one in ("", None)
        )
        assert_close(found, expected, of=seed)
    assert len(launches) > 200


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", [*SHAPES, (4, 16, 96, 32, 32)], ids=str)
@pytest.mark.parametrize("per_step", [False, True])
def test_batch_norm_is_pytorch_s(per_step: bool, shape: tuple[int, ...], layout: str, launches: list[str]) -> None:
    make = partial(drawn_norm, shape, per_step=per_step, device="cuda")
    assert_as_pytorch(drawn_maps(shape, layout).cuda(), make, off=1e-4)
    assert launches == ["block_moments", "added_moments", "rows", "row_gradients", "add_statistics_gradient"]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_mean_far_from_0_takes_nothing_from_the_variance(layout: str) -> None:
    shape = (2, 8, 32, 16, 16)
    assert_as_pytorch(drawn_maps(shape, layout).cuda() + 1e4, partial(drawn_norm, shape, device="cuda"), off=2e-3)


@pytest.mark.parametrize("shape", [*LATENT, (512, 512, 3, 3)], ids=str)
@pytest.mark.parametrize("bits", WEIGHTS)
def test_weights_and_gradients_are_those_of_the_equation(bits: str, shape: tuple[int, ...]) -> None:
    for scale in (0.7, 0.05):
        assert_same_weights(bits, latent(*shape, scale=scale).cuda())


@pytest.mark.parametrize("gradient", ["identity", "clip"])
def test_spikes_and_gradients_are_those_of_the_equation(gradient: StraightThrough, launches: list[str]) -> None:
    for shape in ((1,), (T, 4, 64, 16, 16)):
        spike = drawn(*shape).abs().cuda()
        assert_same_spikes(spike, bits=4, step=0.25, offset=0.5, gradient=gradient)
    assert launches == ["quantised_spikes"] * 2


@pytest.fixture
def exact_convolutions() -> Iterator[None]:
    with torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
        yield


@pytest.mark.parametrize("learn", [False, True])
@pytest.mark.parametrize("per_step", [False, True])
@pytest.mark.parametrize("chunks", [(4,), (1, 3)], ids=str)
@pytest.mark.usefixtures("exact_convolutions")
def test_a_network_is_as_layer_by_layer(
    chunks: tuple[int, ...], per_step: bool, learn: bool, monkeypatch: pytest.MonkeyPatch, launches: list[str]
) -> None:
    x = torch.randn(STEPS, 2, 3, 5, 4, generator=torch.Generator().manual_seed(5)).cuda()
    found, again = (run(small_network("fused", per_step=per_step).cuda(), x, chunks, learn=learn) for _ in range(2))
    assert launches.count("rows") == 4 * len(chunks)
    assert all(torch.equal(found[name], again[name]) for name in found)
    monkeypatch.setattr(devices, "kernels_for", lambda _: None)
    assert_alike(found, run(small_network("steps", per_step=per_step).cuda(), x, chunks, learn=learn))


def test_doctor_finds_nothing() -> None:
    found = list(gpu_kernels.measured_on(torch.device("cuda")))
    assert [one["difference"] for one in found] == [None] * len(found)
