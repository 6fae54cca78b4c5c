"""Neurons with HD-LIF's graded spike and longer memory, each defined by one equation.

All derivatives are exact. For neurons with a reset, the Jacobian of a step is one of two matrices that depend only on
the parameters. As in HD-LIF, the temporal gradient is therefore a product of these matrices, one for each step. One
matrix applies if the neuron is silent, and the other if the neuron fires.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from hdlif.nn.equation import EquationNeuron, Parameter

MOST_TAPS = 4


def _p2_reset(membrane: Tensor, threshold: Tensor) -> Tensor:
    """Compute P2-Reset, min(m, Θ), with the same comparison as the spike."""
    return torch.where(membrane > threshold, threshold, membrane)


class AdaptiveHDLIF(EquationNeuron):
    """HD-LIF neurons with an adaptive threshold, as in ALIF (arXiv 1803.09574) but with graded spikes.

    m_t = λ_t·v_{t-1} + I_t,   Θ_t = θ_t + a_{t-1},   s_t = max(m_t - Θ_t, 0),   v_t = min(m_t, Θ_t)
    a_t = ρ_t·a_{t-1} + δ_t·s_t

    Here, λ is `leak`, θ is `threshold`, ρ is `adaptation_leak`, and δ is `rise`. The Jacobian of (v, a) is diag(λ, ρ)
    if the neuron is silent and [[0, 1], [δλ, ρ - δ]] if it fires. The eigenvalues of the Jacobian lie inside the unit
    circle for λ, ρ in [0, 1) and 0 <= δ < (1 + ρ)/(1 + λ). Learned values of λ, ρ and δ always meet these stability
    conditions. The parameters ρ_t and δ_t affect only later steps, so a rule that cuts the temporal gradient does not
    train them. With δ = 0, `AdaptiveHDLIF` is equivalent to HD-LIF.

    >>> import torch
    >>> from hdlif.nn import AdaptiveHDLIF
    >>> neuron = AdaptiveHDLIF(time_steps=2, threshold=0.5, adaptation_leak=0.5, rise=0.25)
    >>> spikes, state = neuron(torch.tensor([1.5, 1.0]).view(2, 1, 1), None, range(2))
    >>> spikes.flatten().tolist()
    [1.0, 0.5]

    Args:
        leak, threshold, adaptation_leak, rise: initial λ, θ, ρ and δ at every step and channel.
        time_steps, learned, channels, per_step, quantizer, path: as in `EquationNeuron`.
    """

    states = ("potential", "adaptation")
    leak = Parameter(0.5)
    threshold = Parameter(0.5)
    adaptation_leak = Parameter(0.9)
    rise = Parameter(0.1, high=0.5)

    @staticmethod
    def step(
        current: Tensor,
        potential: Tensor,
        adaptation: Tensor,
        leak: Tensor,
        threshold: Tensor,
        adaptation_leak: Tensor,
        rise: Tensor,
    ) -> tuple[Tensor, ...]:
        membrane = leak * potential + current
        raised = threshold + adaptation
        spike = torch.relu(membrane - raised)
        return spike, _p2_reset(membrane, raised), adaptation_leak * adaptation + rise * spike


class SecondOrderHDLIF(EquationNeuron):
    """HD-LIF neurons with a leaky synaptic current, as in NIR's CubaLIF (arXiv 2311.14641) but with graded spikes.

    i_t = μ_t·i_{t-1} + I_t,   m_t = λ_t·v_{t-1} + i_t,   s_t = max(m_t - θ_t, 0),   v_t = min(m_t, θ_t)

    Here, λ is `leak`, μ is `synapse_leak`, and θ is `threshold`. The Jacobian of (i, v) is [[μ, 0], [μ, λ]] if the
    neuron is silent and [[μ, 0], [0, 0]] if it fires. The dynamics are stable for λ, μ in [0, 1). With μ = 0,
    `SecondOrderHDLIF` is equivalent to HD-LIF.

    >>> import torch
    >>> from hdlif.nn import SecondOrderHDLIF
    >>> neuron = SecondOrderHDLIF(time_steps=3, leak=0.5, synapse_leak=0.5, threshold=0.75)
    >>> spikes, state = neuron(torch.tensor([0.5, 0.0, 0.0]).view(3, 1, 1), None, range(3))
    >>> spikes.flatten().tolist(), state["potential"].tolist()
    ([0.0, 0.0, 0.0], [[0.375]])

    Args:
        leak, synapse_leak, threshold: initial λ, μ and θ at every step and channel.
        time_steps, learned, channels, per_step, quantizer, path: as in `EquationNeuron`.
    """

    states = ("synapse", "potential")
    leak = Parameter(0.5)
    synapse_leak = Parameter(0.5)
    threshold = Parameter(0.5)

    @staticmethod
    def step(
        current: Tensor, synapse: Tensor, potential: Tensor, leak: Tensor, synapse_leak: Tensor, threshold: Tensor
    ) -> tuple[Tensor, ...]:
        synapse = synapse_leak * synapse + current
        membrane = leak * potential + synapse
        return torch.relu(membrane - threshold), synapse, _p2_reset(membrane, threshold)


class ResonateHDLIF(EquationNeuron):
    """Resonate-and-fire neurons (Izhikevich 2001) with HD-LIF's spike and a state that rotates by ω and decays by r.

    m_t = r_t·(cos ω_t·u_{t-1} - sin ω_t·w_{t-1}) + I_t,   s_t = max(m_t - θ_t, 0),   u_t = min(m_t, θ_t)
    w_t = r_t·(sin ω_t·u_{t-1} + cos ω_t·w_{t-1})

    Here, u is the state `potential`, r is `decay`, ω is `angle` (in (0, π) if learned), and θ is `threshold`. Model
    files contain r·cos ω and r·sin ω. The Jacobian of (u, w) is r times a rotation by ω if the neuron is silent and
    r·[[0, 0], [sin ω, cos ω]] if it fires. The dynamics are stable for r in [0, 1). With ω = 0, `ResonateHDLIF` is
    equivalent to HD-LIF with leak r.

    With ω = π/2, the neuron fires for two impulses 4 steps apart, but not for two impulses 2 steps apart:

    >>> import math, torch
    >>> from hdlif.nn import ResonateHDLIF
    >>> neuron = ResonateHDLIF(time_steps=5, decay=0.9, angle=math.pi / 2, threshold=0.5)
    >>> spikes, state = neuron(torch.tensor([0.4, 0, 0, 0, 0.4]).view(5, 1, 1), None, range(5))
    >>> (spikes > 0).flatten().tolist()
    [False, False, False, False, True]
    >>> spikes, state = neuron(torch.tensor([0.4, 0, 0.4, 0, 0]).view(5, 1, 1), None, range(5))
    >>> (spikes > 0).any().item()
    False

    Args:
        decay, angle, threshold: initial r, ω and θ at every step and channel; ω in radians per step.
        time_steps, learned, channels, per_step, quantizer, path: as in `EquationNeuron`.
    """

    states = ("potential", "w")
    decay = Parameter(0.9)
    angle = Parameter(0.5, high=math.pi)
    threshold = Parameter(0.5)

    @staticmethod
    def step(
        current: Tensor, potential: Tensor, w: Tensor, decay: Tensor, angle: Tensor, threshold: Tensor
    ) -> tuple[Tensor, ...]:
        cos, sin = decay * torch.cos(angle), decay * torch.sin(angle)
        membrane = cos * potential - sin * w + current
        return torch.relu(membrane - threshold), _p2_reset(membrane, threshold), sin * potential + cos * w


class SlidingParallelHDLIF(EquationNeuron):
    """Parallel HD-LIF neurons that weight the last n currents by -1, 0 or 1 (graded sliding PSN, arXiv 2304.12760).

    c_t = Σ_{j<n} f_j·I_{t-j},   s_t = max(c_t - θ_t, 0)

    The neuron has no membrane and no reset. A step takes one comparison with θ, one addition or subtraction per nonzero
    tap after the first, and no multiplication. The state contains n - 1 numbers. The memory has no leak, so OTTT and
    NDOT keep no traces for synapses that feed a `SlidingParallelHDLIF`. A rule that cuts the temporal gradient passes
    gradients only through the tap f_0. With taps (1,), `SlidingParallelHDLIF` is equivalent to Parallel HD-LIF.

    >>> import torch
    >>> from hdlif.nn import SlidingParallelHDLIF
    >>> neuron = SlidingParallelHDLIF(time_steps=3, taps=(1, -1), threshold=0.25)
    >>> spikes, state = neuron(torch.tensor([1.0, 1.5, 1.0]).view(3, 1, 1), None, range(3))
    >>> spikes.flatten().tolist()
    [0.75, 0.25, 0.0]

    Args:
        taps: f_0, ..., f_{n-1}, n <= 4; neither the first nor the last is 0.
        threshold: initial θ at every step and channel.
        time_steps, learned, channels, per_step, quantizer, path: as in `EquationNeuron`.
    State: {"delayed_j": I_{t-j} [B, ...]} for 0 < j < n; no state with one tap.
    Raises:
        ValueError: `taps` do not meet these conditions.
    """

    states: tuple[str, ...] = ("delayed_1",)
    accumulates = False
    threshold = Parameter(0.5)

    def __init__(self, time_steps: int, *, taps: Sequence[int] = (1, 1), **given: Any) -> None:
        self.taps = _checked(taps)
        self.states = tuple(f"delayed_{j}" for j in range(1, len(self.taps)))
        super().__init__(time_steps, **given)

    def step(self, current: Tensor, *delayed_and_threshold: Tensor) -> tuple[Tensor, ...]:
        *delayed, threshold = delayed_and_threshold
        first, *others = self.taps
        filtered = current if first == 1 else -current
        for tap, past in zip(others, delayed, strict=True):
            if tap != 0:
                filtered = filtered + past if tap == 1 else filtered - past
        return torch.relu(filtered - threshold), *[current, *delayed][: len(delayed)]

    def extra_repr(self) -> str:
        return f"taps={self.taps}"


def _checked(taps: Sequence[int]) -> tuple[int, ...]:
    seen = tuple(taps) if isinstance(taps, Sequence) else ()
    if not 1 <= len(seen) <= MOST_TAPS or not all(tap in (-1, 0, 1) for tap in seen):
        raise ValueError(f"taps = {taps!r}; expected 1 to {MOST_TAPS} numbers, each -1, 0 or 1, such as [1, 0, -1]")
    if seen[0] == 0:
        raise ValueError(f"taps = {taps!r}; the first one is 0, so a step's own current has no effect; give -1 or 1")
    if seen[-1] == 0:
        raise ValueError(f"taps = {taps!r}; the last one is 0, so its current is stored without effect; remove it")
    return tuple(map(int, seen))
