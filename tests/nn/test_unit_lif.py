"""LIF neurons with spikes of 1, with a late reset, and integrators: traces by hand, and chunks."""

import torch
from torch import nn

from hdlif.functional import HardReset
from hdlif.nn import LateResetLIF, LeakyIntegrator, UnitLIF


def traced(neuron: nn.Module, *currents: float) -> tuple[list[float], list[float]]:
    """Outputs and potentials, step by step."""
    state, outputs, potentials = None, [], []
    for t, current in enumerate(currents):
        y, state = neuron(torch.full((1, 1, 1), current), state, range(t, t + 1))
        outputs.append(y.item())
        potentials.append(state["potential"].item())
    return outputs, potentials


def test_spikes_are_one_whatever_the_threshold_is() -> None:
    found = traced(UnitLIF(4, leak=0.5, threshold=0.25), 0.125, 0.25, 1.0, 0.0)
    assert found == ([0, 1, 1, 1], [0.125, 0.0625, 0.78125, 0.140625])


def test_a_hard_reset_starts_from_its_potential() -> None:
    found = traced(UnitLIF(3, leak=0.5, threshold=1.0, reset=HardReset(-0.5)), 1.0, 0.5, 0.875)
    assert found == ([1, 0, 1], [-0.5, 0.25, -0.5])


def test_a_late_reset_is_subtracted_one_step_later() -> None:
    # m: 1, 0.5 + 1 - 1 = 0.5, 0.25 + 2 = 2.25, 1.125 - 1 = 0.125
    found = traced(LateResetLIF(4, leak=0.5, threshold=1.0), 1.0, 1.0, 2.0, 0.0)
    assert found == ([1, 0, 1, 0], [1.0, 0.5, 2.25, 0.125])


def test_an_integrator_gives_its_potential_and_fires_nothing() -> None:
    neuron = LeakyIntegrator(3, leak=0.5, gain=2.0)
    assert traced(neuron, 1.0, -1.0, 0.0) == ([2, -1, -0.5], [2, -1, -0.5])
    assert not neuron.fires
