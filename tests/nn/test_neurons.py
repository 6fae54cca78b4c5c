"""Neuron modules: values per step, parameters, what they emit, and the state they keep."""

import math
from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import nn

from cases import every
from hdlif.errors import ArgumentError, ShapeError
from hdlif.functional import ATan, DetachedReset, GLIFParameters, HardReset, dspike, glif_step, quantize_spike
from hdlif.nn import (
    GLIF,
    HDLIF,
    LIF,
    Dspike,
    GradedLIF,
    LateResetLIF,
    LeakyIntegrator,
    ParallelHDLIF,
    SpikeQuantizer,
    StepValue,
    UnitLIF,
)
from nn.test_long_memory import trace


def currents(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 0.7 + 0.3


def test_steps_beyond_the_trained_ones_hold_the_last_value() -> None:
    step_value = StepValue(3, value=0.5, learned=True)
    with torch.no_grad():
        step_value.logit.copy_(torch.tensor([0.0, 1.0, 2.0]))
    a, b, c = step_value.values().tolist()
    assert step_value(range(2)).tolist() == [a, b]
    assert step_value(range(1, 3)).tolist() == [b, c]
    assert step_value(range(1, 5)).tolist() == [b, c, c, c]
    assert step_value(range(7, 9)).tolist() == [c, c]
    nn.init.zeros_(step_value.logit)
    step_value(range(1, 6)).sum().backward()
    # σ'(0) = 1/4
    assert step_value.logit.grad.tolist() == [0.0, 0.25, 1.0]


@every(make=[HDLIF, LIF, ParallelHDLIF, GradedLIF], value=[0.01, 2.0])
def test_every_neuron_takes_a_softplus_threshold_that_knows_no_upper_end(make: type[HDLIF], value: float) -> None:
    """Only the threshold, whose slope is dθ/db = σ(b) = 1 - exp(-θ)."""
    neuron = make(1, threshold=value, learned=True, threshold_form="softplus").double()
    spikes, _ = neuron(torch.tensor([[[value - 0.001, value + 0.5]]], dtype=torch.float64), None, range(1))
    assert (spikes > 0).tolist() == [[[False, True]]]
    neuron.threshold(range(1)).sum().backward()
    assert neuron.threshold.logit.grad.tolist() == pytest.approx([1 - math.exp(-value)])
    for logit, expected in ((-20.0, math.exp(-20)), (20.0, 20.0)):
        nn.init.constant_(neuron.threshold.logit, logit)
        assert neuron.threshold.values().item() == pytest.approx(expected, rel=1e-6)
    if make is not ParallelHDLIF:
        assert neuron.leak.form == "sigmoid"


@every(
    "make",
    "words",
    of=[
        *((partial(StepValue, 2, value=value, learned=True), r"in \(0.0, 1.0\)") for value in (0.0, 1.0, -0.5, 1.5)),
        (partial(StepValue, 2, value=0.5, learned=True, form="tanh"), "choose one of sigmoid, softplus"),
        (partial(StepValue, 0, value=0.5, learned=False), "time_steps = 0; it must be at least 1"),
        *((partial(HDLIF, 2, leak=value), "leak = .*must be a finite number") for value in (math.nan, math.inf)),
        (partial(HDLIF, 2, threshold=math.nan, learned=False), "threshold = nan; it must be a finite number"),
        (partial(HDLIF, 2, path="tree"), "choose one of steps, fused"),
        (partial(GLIF, 2, reset=1.0), r"reset = 1.0; it must lie in \(0, 1\)"),
        (partial(Dspike, 0), "temperature = 0; it must be above 0"),
        (partial(SpikeQuantizer, gradient="none"), "choose one of clip, identity"),
        *((partial(SpikeQuantizer, bits=bits), r"accepted: 1\.\.8, > 0, 0\.\.1") for bits in (0, 9)),
        *((partial(SpikeQuantizer, step=step), r"accepted: 1\.\.8") for step in (0.0, math.nan, math.inf)),
        *((partial(SpikeQuantizer, offset=offset), r"accepted: 1\.\.8") for offset in (-0.1, 1.5)),
    ],
)
def test_values_without_meaning_are_refused(make: Callable[[], object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make()


def test_logit_gradient_is_the_value_gradient_times_the_sigmoid_slope() -> None:
    # one step from rest with v = 0.25: s = λ v + I - θ fires; ds/dλ = v, ds/dθ = -1, σ' = 0.8 * 0.2 and 0.25
    neuron = HDLIF(1, leak=0.8, threshold=0.5).double()
    state = {"potential": torch.tensor([0.25], dtype=torch.float64)}
    neuron(torch.ones(1, 1, dtype=torch.float64), state, range(1))[0].sum().backward()
    assert neuron.leak.logit.grad.item() == pytest.approx(0.25 * 0.16, abs=1e-6)
    assert neuron.threshold.logit.grad.item() == pytest.approx(-0.25, abs=1e-6)


def test_reset_uses_the_surplus_before_rounding() -> None:
    x = currents(5, 3, 4)
    exact, exact_state = HDLIF(5).double()(x, None, range(5))
    quantised, state = HDLIF(5, quantizer=SpikeQuantizer()).double()(x, None, range(5))
    assert torch.equal(quantised, quantize_spike(exact))
    assert not torch.equal(quantised, exact)
    assert torch.equal(state["potential"], exact_state["potential"])


def test_lif_module_carries_its_reset_and_surrogate() -> None:
    x = torch.tensor([[[1.25]], [[0.75]]], requires_grad=True)
    # soft: dm_2/dm_1 = 0.5 (1 - f(0.25)) = 0.125; detached: 0.5; m_2 = 0.875, f(-0.125) = 0.875
    for neuron, along in ((LIF(2), 0.125), (LIF(2, reset=DetachedReset()), 0.5)):
        spikes, _ = neuron(x, None, range(2))
        (grad,) = torch.autograd.grad(spikes[1].sum(), x)
        assert grad.flatten().tolist() == [along * 0.875, 0.875]


def in_spikingjelly(x: torch.Tensor) -> torch.Tensor:
    return (x >= 0).to(x.dtype)


in_spikingjelly.__module__ = "spikingjelly.activation_based.surrogate"


@every(make=[LIF, GradedLIF, GLIF], surrogate=["atan", None, ATan, in_spikingjelly])
def test_what_is_no_surrogate_is_refused_when_the_neuron_is_made(make: type, surrogate: object) -> None:
    with pytest.raises(ArgumentError, match="surrogate"):
        make(2, surrogate=surrogate)


def test_inputs_that_do_not_fit_are_refused() -> None:
    for make in (HDLIF, LIF, ParallelHDLIF):
        with pytest.raises(ShapeError, match="for 3 time steps"):
            make(2)(torch.ones(2, 1, 1), None, range(3))
        for shape, words in (((2, 1, 4, 2, 2), "input has 4 channels"), ((2, 1), "input has no channels")):
            with pytest.raises(ShapeError, match=rf"{words}, .*; this neuron's .* is for 3"):
                make(2, channels=3)(torch.ones(shape), None, range(2))


@every(make=[HDLIF, LIF, ParallelHDLIF, GradedLIF])
def test_a_threshold_per_channel_acts_on_its_channel(make: type[HDLIF]) -> None:
    neuron = make(2, channels=3, learned=False)
    neuron.threshold.value.copy_(torch.tensor([[0.25, 0.5, 5.0], [0.125, 5.0, 0.75]]))
    spikes, _ = neuron(torch.ones(2, 1, 3, 2, 2), None, range(2))
    assert (spikes[0, 0].amax((1, 2)) > 0).tolist() == [True, True, False]
    assert (spikes[1, 0].amax((1, 2)) > 0).tolist() == [True, False, True]


def test_glif_module_feeds_its_parameters_to_the_step() -> None:
    torch.manual_seed(0)
    neuron, x = GLIF(3, channels=2, per_step=True).double(), currents(3, 5, 2, 2, 2)
    for logit in neuron.parameters():
        nn.init.normal_(logit)
    spikes, state = neuron(x, None, range(3))
    potential = fired = torch.zeros_like(x[0])
    for t in range(3):
        values = {name: logit[t].sigmoid().view(1, -1, 1, 1) for name, logit in neuron.logits.named_parameters()}
        fired, potential = glif_step(x[t], potential, fired, GLIFParameters(**values))
        assert torch.equal(spikes[t], fired)
    assert 0 < spikes.mean() < 1
    torch.testing.assert_close(state["potential"], potential, atol=1e-12, rtol=0)


def test_glif_gates_of_channels_start_apart_near_one_half() -> None:
    gates = GLIF(4, channels=64).logits
    for name in ("decay_gate", "input_gate", "reset_gate"):
        values = getattr(gates, name).sigmoid()
        assert len(values.unique()) > 32
        assert (values - 0.5).abs().max() < 0.03
    assert gates.conductance.shape == (4, 64)
    assert gates.leak.shape == (1, 64)
    torch.testing.assert_close(gates.linear_leak.sigmoid(), torch.full((1, 64), 0.0625))


def test_learned_step_moves_by_the_scaled_gradient() -> None:
    quantizer = SpikeQuantizer(bits=2, step=0.5, learned=True)
    spikes = torch.tensor([0.2, 0.375, 9.0, 0.0]).view(1, 1, 4)
    y = quantizer(spikes)
    assert y.flatten().tolist() == [0.0, 0.5, 1.5, 0.0]
    y.sum().backward()
    # (-0.4 + 0.25 + 3)/√(4 neurons · largest code 3)
    assert quantizer.step.grad.item() == pytest.approx(2.85 / 12**0.5)
    assert list(SpikeQuantizer().parameters()) == []


def test_dspike_is_a_surrogate_whose_temperature_is_kept_with_the_neuron() -> None:
    neuron = LIF(1, threshold=0.5, surrogate=Dspike(2.0))
    assert set(neuron.state_dict()) >= {"surrogate.temperature"}
    x = torch.tensor([[0.75]], requires_grad=True)
    neuron(x, None, range(1))[0].sum().backward()
    expected = 0.5 * dspike(torch.tensor(0.25), torch.tensor(2.0))
    torch.testing.assert_close(x.grad, expected.view(1, 1))


@every("make", "low", of=[(LIF, 0.0), (LIF, 0.25), (GradedLIF, 0.5)])
def test_the_lower_end_of_a_learned_threshold_can_be_chosen(make: type[LIF] | type[GradedLIF], low: float) -> None:
    neuron = make(1, threshold=low + 0.5, learned=True, threshold_low=low).double()
    torch.testing.assert_close(neuron.threshold.values(), torch.tensor([low + 0.5]).double())
    neuron.threshold.logit.data.fill_(-50.0)
    assert low <= neuron.threshold.values().item() < low + 1e-9
    with pytest.raises(ValueError, match=r"threshold_low = 0\.0 has no effect on a threshold that is not learned"):
        make(1, threshold=0.5, learned=False, threshold_low=0.0)


@every(
    "neuron",
    "given",
    "outputs",
    "potentials",
    of=[
        # Spikes of 1, whatever the threshold is.
        (UnitLIF(4, leak=0.5, threshold=0.25), (0.125, 0.25, 1.0, 0), [0, 1, 1, 1], [0.125, 0.0625, 0.78125, 0.140625]),
        (UnitLIF(3, leak=0.5, threshold=1.0, reset=HardReset(-0.5)), (1.0, 0.5, 0.875), [1, 0, 1], [-0.5, 0.25, -0.5]),
        # Its reset is subtracted one step later: m = 1, 0.5 + 1 - 1 = 0.5, 0.25 + 2 = 2.25, 1.125 - 1 = 0.125.
        (LateResetLIF(4, leak=0.5, threshold=1.0), (1.0, 1.0, 2.0, 0.0), [1, 0, 1, 0], [1.0, 0.5, 2.25, 0.125]),
        (LeakyIntegrator(3, leak=0.5, gain=2.0), (1.0, -1.0, 0.0), [2, -1, -0.5], [2, -1, -0.5]),
    ],
)
def test_traces_of_lif_with_spikes_of_one_with_a_late_reset_and_of_integrators(
    neuron: nn.Module, given: tuple[float, ...], outputs: list[float], potentials: list[float]
) -> None:
    assert trace(neuron, given) == (outputs, {"potential": potentials})
    assert getattr(neuron, "fires", True) == (not isinstance(neuron, LeakyIntegrator))
