"""Leaks that start spread over channels: their law, their precision in float32, and what is refused."""

import math
from typing import Any

import pytest
import torch

import own_neurons
from cases import every, naming
from hdlif.nn import (
    HDLIF,
    LIF,
    AdaptiveHDLIF,
    GradedLIF,
    ResonateHDLIF,
    SecondOrderHDLIF,
    SlidingParallelHDLIF,
    TimeConstants,
)
from nn.test_long_memory import values

T, C = 6, 5
KINDS: dict[str, tuple[Any, str]] = {
    "lif": (LIF, "leak"),
    "graded_lif": (GradedLIF, "leak"),
    "hdlif": (HDLIF, "leak"),
    "adaptive": (AdaptiveHDLIF, "leak"),
    "adaptation": (AdaptiveHDLIF, "adaptation_leak"),
    "second order": (SecondOrderHDLIF, "leak"),
    "synapse": (SecondOrderHDLIF, "synapse_leak"),
    "resonate": (ResonateHDLIF, "decay"),
    "own": (own_neurons.AdaptiveHDLIF, "leak"),
}


@every(kind=list(KINDS), learned=[True, False], per_step=[True, False])
def test_a_leak_of_any_neuron_starts_with_time_constants_even_on_the_log_axis(
    kind: str, learned: bool, per_step: bool
) -> None:
    make, name = KINDS[kind]
    neuron = make(T, channels=C, learned=learned, per_step=per_step, **{name: TimeConstants(2, 32)})
    expected = torch.tensor([1 / 2, 3 / 4, 7 / 8, 15 / 16, 31 / 32]).expand(T if per_step else 1, C)
    torch.testing.assert_close(values(neuron, name), expected, atol=1e-7, rtol=0)
    assert {parameter.is_leaf and parameter.is_contiguous() for parameter in neuron.parameters()} <= {True}
    spikes, _ = neuron(torch.ones(T, 1, C), None, range(T))
    assert spikes.shape == (T, 1, C)
    if learned:
        spikes.sum().backward()
        for parameter in neuron.parameters():
            # Its rows are its own: an update writes to each of them.
            parameter.data += torch.arange(parameter.numel()).view_as(parameter)


def test_the_longest_is_the_number_of_steps_unless_it_is_given_and_one_channel_has_the_middle() -> None:
    whole = values(HDLIF(64, channels=2, leak=TimeConstants(4)), "leak")[0]
    torch.testing.assert_close(whole, torch.tensor([3 / 4, 63 / 64]))
    assert float(values(HDLIF(T, channels=1, leak=TimeConstants(2, 32)), "leak")[0]) == pytest.approx(1 - 1 / 8)


@every(learned=[True, False])
def test_long_time_constants_are_as_exact_as_float32_has_them(learned: bool) -> None:
    """λ is the float32 next to 1 - 1/τ, or its neighbour; the logit holds τ itself to 1e-6."""
    steps, channels = 4096, 257
    neuron = HDLIF(steps, channels=channels, per_step=False, learned=learned, leak=TimeConstants(2))
    tau = 2 * 2048 ** (torch.arange(channels, dtype=torch.float64) / (channels - 1))
    leak = values(neuron, "leak")[0]
    assert leak.dtype == torch.float32
    assert float((leak.double() - (1 - 1 / tau)).abs().max()) <= (2**-23 if learned else 2**-25)
    if learned:
        found = 1 + neuron.leak.logit.detach()[0].double().exp()
        torch.testing.assert_close(found, tau, rtol=1e-6, atol=0)
        # In float64 nothing is lost on the way from the logit.
        torch.testing.assert_close(1 / (1 - values(neuron.double(), "leak")[0]), tau, rtol=1e-6, atol=0)


def test_the_gradient_of_a_leak_near_one_is_exact_in_float32() -> None:
    single = HDLIF(4096, channels=C, per_step=False, leak=TimeConstants(2), threshold=0.9)
    double = HDLIF(4096, channels=C, per_step=False, leak=TimeConstants(2), threshold=0.9).double()
    double.load_state_dict({name: value.double() for name, value in single.state_dict().items()})
    x = 0.05 * torch.rand(256, 2, C, generator=torch.Generator().manual_seed(0))
    for neuron, given in ((single, x), (double, x.double())):
        spikes, state = neuron(given, None, range(256))
        (spikes.sum() + state["potential"].sum()).backward()
    torch.testing.assert_close(single.leak.logit.grad.double(), double.leak.logit.grad, rtol=2e-3, atol=1e-6)


def test_it_is_made_without_draws_and_without_memory_on_the_meta_device() -> None:
    before = torch.get_rng_state()
    HDLIF(T, channels=C, per_step=False, leak=TimeConstants(2, 100))
    assert torch.equal(torch.get_rng_state(), before)
    with torch.device("meta"):
        neuron = AdaptiveHDLIF(T, channels=C, leak=TimeConstants(2, 100))
    assert {parameter.device.type for parameter in neuron.parameters()} == {"meta"}


def test_what_is_no_range_of_time_constants_is_refused() -> None:
    for shortest in (1, math.nan, True, None):
        with naming(shortest), pytest.raises(ValueError, match=f"shortest = {shortest}; a time constant must be"):
            TimeConstants(shortest, 8)  # type: ignore[arg-type]
    for longest in (2**21, math.inf, "8"):
        with naming(longest), pytest.raises(ValueError, match=f"longest = {longest!r}; a time constant must be"):
            TimeConstants(2, longest)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="shortest = 8, longest = 2; give the shorter one first"):
        TimeConstants(8, 2)


def test_what_does_not_fit_the_neuron_is_refused_with_the_name_of_the_leak() -> None:
    with pytest.raises(ValueError, match=r"leak: time constants are spread over channels.*channels=C, or granularity"):
        HDLIF(T, leak=TimeConstants())
    with pytest.raises(ValueError, match="decay: time constants from 8 to time_steps = 6, which is smaller"):
        ResonateHDLIF(T, channels=C, decay=TimeConstants(8))
    with pytest.raises(ValueError, match=r"rise = 0\.6\d*; a learned one must lie in \(0\.0, 0\.5\)"):
        AdaptiveHDLIF(T, channels=C, rise=TimeConstants(2.5))
    with pytest.raises(ValueError, match="leak is not a parameter of SlidingParallelHDLIF; it has threshold"):
        SlidingParallelHDLIF(T, channels=C, leak=TimeConstants())
