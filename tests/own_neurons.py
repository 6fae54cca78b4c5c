"""Neurons that a user may have written: from one equation each, and one the long way."""

import math
from typing import Any

import torch
from torch import Tensor

from hdlif.functional import Triangle, heaviside
from hdlif.nn import EquationNeuron, Neuron, Parameter, State


class AdaptiveHDLIF(EquationNeuron):
    """HD-LIF whose threshold rises by δ times what it emits, and falls back by ρ.

    m_t = λ_t·v_{t-1} + I_t,   s_t = max(m_t - θ_t - a_{t-1}, 0),   v_t = m_t - s_t,   a_t = ρ·a_{t-1} + δ·s_t
    """

    states = ("potential", "adaptation")
    leak = Parameter(0.5)
    threshold = Parameter(0.5, high=math.inf)
    decay = Parameter(0.9)
    rise = Parameter(0.1, learned=False)

    @staticmethod
    def step(
        current: Tensor,
        potential: Tensor,
        adaptation: Tensor,
        leak: Tensor,
        threshold: Tensor,
        decay: Tensor,
        rise: Tensor,
    ) -> tuple[Tensor, ...]:
        membrane = leak * potential + current
        raised = threshold + adaptation
        spike = torch.relu(membrane - raised)
        return spike, torch.where(membrane > raised, raised, membrane), decay * adaptation + rise * spike


class Keeping(EquationNeuron):
    """A leaky sum whose leak has another name."""

    states = ("total",)
    share = Parameter(0.5)

    @staticmethod
    def step(current: Tensor, total: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
        total = share * total + current
        return torch.relu(total), total


class HDLIF(EquationNeuron):
    """The shipped one's equation."""

    leak = Parameter(0.5)
    threshold = Parameter(0.5)

    @staticmethod
    def step(current: Tensor, potential: Tensor, leak: Tensor, threshold: Tensor) -> tuple[Tensor, ...]:
        membrane = leak * potential + current
        return torch.relu(membrane - threshold), torch.where(membrane > threshold, threshold, membrane)


class LIF(EquationNeuron):
    """The shipped one's equation, with a soft reset."""

    leak = Parameter(0.5)
    threshold = Parameter(1.0, low=0.5, high=1.5)

    @staticmethod
    def step(current: Tensor, potential: Tensor, leak: Tensor, threshold: Tensor) -> tuple[Tensor, ...]:
        membrane = leak * potential + current
        fired = heaviside(membrane - threshold, Triangle())
        return threshold * fired, membrane - fired * threshold


class Parallel(EquationNeuron):
    """The shipped one's equation, which keeps nothing."""

    states = ()
    threshold = Parameter(0.5)

    @staticmethod
    def step(current: Tensor, threshold: Tensor) -> Tensor:
        return torch.relu(current - threshold)


class Delayed(EquationNeuron):
    """The current of some steps ago, from a threshold on."""

    states: tuple[str, ...] = ("before_1",)
    threshold = Parameter(0.5)

    def __init__(self, time_steps: int, *, delay: int = 1, **given: Any) -> None:
        self.states = tuple(f"before_{j}" for j in range(1, delay + 1))
        super().__init__(time_steps, **given)

    def step(self, current: Tensor, *before_and_threshold: Tensor) -> tuple[Tensor, ...]:
        *before, threshold = before_and_threshold
        return torch.relu([current, *before][-1] - threshold), *[current, *before][: len(before)]


class LongWay(Neuron):
    """A neuron without an equation: no program, no count."""

    def __init__(self, time_steps: int, *, channels: int | None = None, gain: float = 1.0) -> None:
        super().__init__()
        self.gain = gain

    def forward(self, x: Tensor, state: State | None, steps: range) -> tuple[Tensor, None]:
        return (self.gain * x).relu().expand(len(steps), *x.shape[1:]), None
