"""One time step of each neuron, as a pure function; `nn.neurons` adds parameters and the scan over time."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from hdlif.errors import ShapeError
from hdlif.functional.surrogate import Surrogate, Triangle, heaviside

Reset = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(membrane m, step h in {0, 1}, threshold θ) -> potential v after the reset."""


def soft_reset(membrane: Tensor, fired: Tensor, threshold: Tensor) -> Tensor:
    """v = m - θ·h: what fired is subtracted."""
    return membrane - fired * threshold


@dataclass(frozen=True)
class HardReset:
    """v = m·(1 - h) + reset_potential·h: the membrane starts anew."""

    reset_potential: float = 0.0

    def __call__(self, membrane: Tensor, fired: Tensor, threshold: Tensor) -> Tensor:
        return membrane * (1 - fired) + self.reset_potential * fired


@dataclass(frozen=True)
class DetachedReset:
    """`reset` without a gradient through the spike (SpikingJelly's `detach_reset=True`)."""

    reset: Reset = soft_reset

    def __call__(self, membrane: Tensor, fired: Tensor, threshold: Tensor) -> Tensor:
        return self.reset(membrane, fired.detach(), threshold)


def lif_step(
    current: Tensor,
    potential: Tensor,
    leak: Tensor,
    threshold: Tensor,
    *,
    surrogate: Surrogate = Triangle(),  # noqa: B008 - frozen, without state
    reset: Reset = soft_reset,
) -> tuple[Tensor, Tensor]:
    """One time step of the leaky integrate-and-fire neuron; the input current is not decayed.

    m_t = λ_t·v_{t-1} + I_t,   h_t = H(m_t - θ_t),   s_t = θ_t·h_t,   v_t = reset(m_t, h_t, θ_t)

    Args:
        current: input current I_t, [B, ...].
        potential: v_{t-1}, same shape; zeros before the first step.
        leak: λ_t in [0, 1], broadcastable to `current`. A time constant τ is λ = 1 - 1/τ.
        threshold: θ_t, broadcastable to `current`.
        surrogate: stands in for dH/dx; ds/dm = θ·surrogate(m - θ).
        reset: `soft_reset`, a `HardReset`, or either inside `DetachedReset`.
    Returns:
        spike s_t in {0, θ_t} and potential v_t, both shaped like `current`.
    Raises:
        ShapeError: `potential` and `current` differ in shape.
    """
    _check_potential(current, potential)
    membrane = leak * potential + current
    fired = heaviside(membrane - threshold, surrogate)
    return threshold * fired, reset(membrane, fired, threshold)


def hd_lif_step(current: Tensor, potential: Tensor, leak: Tensor, threshold: Tensor) -> tuple[Tensor, Tensor]:
    """One HD-LIF time step with P2-Reset (arXiv 2410.07547).

    m_t = λ_t·v_{t-1} + I_t,   s_t = max(m_t - θ_t, 0),   v_t = min(m_t, θ_t)

    The derivatives are constants: with χ_t = 1[m_t > θ_t], ds/dm = χ, ds/dθ = -χ, dv/dm = 1 - χ, dv/dθ = χ.
    At a tie m = θ, χ = 0. The reset is not detached: v = m - s keeps the "0" branch of dv/dm.

    Args:
        current: input current I_t, [B, ...].
        potential: v_{t-1}, same shape; zeros before the first step.
        leak: λ_t, broadcastable to `current`.
        threshold: θ_t, broadcastable to `current` (trained ones are > 0; a folded one may be any finite value).
    Returns:
        spike s_t >= 0 (the graded surplus) and potential v_t <= θ_t, both shaped like `current`.
    Raises:
        ShapeError: `potential` and `current` differ in shape.
    """
    _check_potential(current, potential)
    membrane = leak * potential + current
    spike = torch.relu(membrane - threshold)
    return spike, membrane - spike


def parallel_hd_lif_step(current: Tensor, threshold: Tensor) -> Tensor:
    """One step of Parallel HD-LIF: HD-LIF with λ_t = 0, hence without a state (arXiv 2410.07547).

    s_t = max(I_t - θ_t, 0). The paper's text has s_t = 1[I_t >= θ_t]; the surplus is what its release runs.

    Args:
        current: input current I_t, [B, ...].
        threshold: θ_t, broadcastable to `current`.
    Returns:
        spike s_t >= 0, shaped like `current`.
    """
    return torch.relu(current - threshold)


def _check_potential(current: Tensor, potential: Tensor) -> None:
    if potential.shape != current.shape:
        raise ShapeError(
            f"potential has shape {list(potential.shape)}, the current {list(current.shape)}; they must be equal "
            "(start a new batch with state=None)"
        )
