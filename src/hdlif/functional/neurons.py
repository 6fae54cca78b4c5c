"""Pure functions for one time step of each neuron, to which `nn.neurons` adds parameters and the loop over time."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from hdlif.errors import ShapeError
from hdlif.functional.surrogate import Surrogate, Triangle, heaviside

Reset = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Function (membrane m, step h in {0, 1}, threshold θ) -> potential v after the reset."""


def soft_reset(membrane: Tensor, fired: Tensor, threshold: Tensor) -> Tensor:
    """Subtract the threshold from the membrane potentials of neurons that fired: v = m - θ·h.

    Args:
        membrane: m_t, any shape.
        fired: h_t in {0, 1}, the same shape.
        threshold: θ_t, broadcastable to `membrane`.
    """
    return membrane - fired * threshold


@dataclass(frozen=True)
class HardReset:
    """A reset to a fixed potential: v = m·(1 - h) + reset_potential·h.

    Attributes:
        reset_potential: the potential of a neuron after it fired; 0 by default.
    """

    reset_potential: float = 0.0

    def __call__(self, membrane: Tensor, fired: Tensor, threshold: Tensor) -> Tensor:
        return membrane * (1 - fired) + self.reset_potential * fired


@dataclass(frozen=True)
class DetachedReset:
    """A reset without a gradient through the spike, like SpikingJelly's `detach_reset=True`.

    Attributes:
        reset: `soft_reset`, or a `HardReset`.
    """

    reset: Reset = soft_reset

    def __call__(self, membrane: Tensor, fired: Tensor, threshold: Tensor) -> Tensor:
        return self.reset(membrane, fired.detach(), threshold)


@dataclass(frozen=True)
class GLIFParameters:
    """The parameters of `glif_step`: all broadcast to the current, and the gates lie in (0, 1).

    Attributes:
        decay_gate, input_gate, reset_gate: α, β, γ.
        leak: λ, the exponential decay.
        linear_leak: l, the amount that is subtracted in each step.
        conductance: c_t, the weight of this step's input.
        reset: r, the amount that a spike subtracts.
        threshold: θ.
    """

    decay_gate: Tensor
    input_gate: Tensor
    reset_gate: Tensor
    leak: Tensor
    linear_leak: Tensor
    conductance: Tensor
    reset: Tensor
    threshold: Tensor


def lif_step(
    current: Tensor,
    potential: Tensor,
    leak: Tensor,
    threshold: Tensor,
    *,
    surrogate: Surrogate = Triangle(),  # noqa: B008 - frozen, without state
    reset: Reset = soft_reset,
) -> tuple[Tensor, Tensor]:
    """Compute one time step of a leaky integrate-and-fire neuron, without decay of the input current.

    m_t = λ_t·v_{t-1} + I_t,   h_t = H(m_t - θ_t),   s_t = θ_t·h_t,   v_t = reset(m_t, h_t, θ_t)

    >>> import torch
    >>> from hdlif.functional import lif_step
    >>> leak, threshold = torch.tensor(0.5), torch.tensor(1.0)
    >>> spike, potential = lif_step(torch.tensor([0.25, 1.0]), torch.tensor([1.0, 1.0]), leak, threshold)
    >>> spike.tolist(), potential.tolist()
    ([0.0, 1.0], [0.75, 0.5])

    Args:
        current: input current I_t, [B, ...].
        potential: v_{t-1}, same shape; zeros before the first step.
        leak: λ_t in [0, 1], broadcastable to `current`. A time constant τ corresponds to λ = 1 - 1/τ.
        threshold: θ_t, broadcastable to `current`.
        surrogate: replaces dH/dx; ds/dm = θ·surrogate(m - θ).
        reset: `soft_reset`, a `HardReset`, or a `DetachedReset` around either.
    Returns:
        spike s_t in {0, θ_t} and potential v_t, both shaped like `current`.
    Raises:
        ShapeError: `potential` and `current` differ in shape.
    """
    _check_potential(current, potential)
    membrane = leak * potential + current
    fired = heaviside(membrane - threshold, surrogate)
    return threshold * fired, reset(membrane, fired, threshold)


def unit_lif_step(
    current: Tensor,
    potential: Tensor,
    leak: Tensor,
    threshold: Tensor,
    *,
    surrogate: Surrogate = Triangle(),  # noqa: B008 - frozen, without state
    reset: Reset = soft_reset,
) -> tuple[Tensor, Tensor]:
    """Compute `lif_step` with spikes of 1, as in SpikingJelly, snnTorch, norse and NIR.

    m_t = λ_t·v_{t-1} + I_t,   s_t = H(m_t - θ_t),   v_t = reset(m_t, s_t, θ_t)

    The arguments and errors are the same as for `lif_step`.

    >>> import torch
    >>> from hdlif.functional import unit_lif_step
    >>> leak, threshold = torch.tensor(0.5), torch.tensor(0.75)
    >>> spike, potential = unit_lif_step(torch.tensor([0.25, 1.0]), torch.tensor([0.5, 1.0]), leak, threshold)
    >>> spike.tolist(), potential.tolist()
    ([0.0, 1.0], [0.5, 0.75])

    Returns:
        spike s_t in {0, 1} and potential v_t, both shaped like `current`.
    """
    _check_potential(current, potential)
    membrane = leak * potential + current
    fired = heaviside(membrane - threshold, surrogate)
    return fired, reset(membrane, fired, threshold)


def late_reset_lif_step(
    current: Tensor,
    potential: Tensor,
    leak: Tensor,
    threshold: Tensor,
    size: Tensor,
    *,
    surrogate: Surrogate = Triangle(),  # noqa: B008 - frozen, without state
) -> tuple[Tensor, Tensor]:
    """Compute one step of a LIF neuron that resets one step later, like snnTorch's `reset_delay=True`.

    m_t = λ_t·m_{t-1} + I_t - size·H(m_{t-1} - θ_t),   s_t = H(m_t - θ_t)

    No gradient passes through the reset.

    In this example, the second step subtracts the spike of the first step:

    >>> import torch
    >>> from hdlif.functional import late_reset_lif_step
    >>> leak, one = torch.tensor(0.5), torch.tensor(1.0)
    >>> spike, potential = late_reset_lif_step(torch.tensor([1.5]), torch.tensor([0.0]), leak, one, one)
    >>> spike.tolist(), potential.tolist()
    ([1.0], [1.5])
    >>> spike, potential = late_reset_lif_step(torch.tensor([0.5]), potential, leak, one, one)
    >>> spike.tolist(), potential.tolist()
    ([0.0], [0.25])

    Args:
        potential: m_{t-1} before the reset; zeros before the first step, if θ > 0.
        current, leak, threshold, surrogate: as in `lif_step`.
        size: the amount that a spike subtracts: θ, except for the way ties are decided.
    Returns:
        spike s_t in {0, 1} and m_t.
    """
    _check_potential(current, potential)
    before = heaviside(potential - threshold, surrogate).detach()
    membrane = leak * potential + current - size * before
    return heaviside(membrane - threshold, surrogate), membrane


def graded_lif_step(
    current: Tensor,
    potential: Tensor,
    leak: Tensor,
    threshold: Tensor,
    *,
    surrogate: Surrogate = Triangle(),  # noqa: B008 - frozen, without state
) -> tuple[Tensor, Tensor]:
    """Compute one step of a LIF neuron that emits the surplus, like HD-LIF, but resets softly.

    m_t = λ_t·v_{t-1} + I_t,   s_t = max(m_t - θ_t, 0),   v_t = m_t - θ_t·H(m_t - θ_t)

    Use graded LIF as a control that separates the effect of graded spikes from the effect of P2-Reset. The derivative
    ds/dm = 1[m > θ] is exact, and dH/dx is a surrogate.

    The arguments, results and errors are the same as for `lif_step`, except that the spike is the surplus s_t >= 0.

    >>> import torch
    >>> from hdlif.functional import graded_lif_step
    >>> leak, threshold = torch.tensor(0.5), torch.tensor(1.0)
    >>> spike, potential = graded_lif_step(torch.tensor([0.25, 1.75]), torch.tensor([1.0, 1.0]), leak, threshold)
    >>> spike.tolist(), potential.tolist()
    ([0.0, 1.25], [0.75, 1.25])
    """
    _check_potential(current, potential)
    membrane = leak * potential + current
    surplus = membrane - threshold
    return torch.relu(surplus), membrane - threshold * heaviside(surplus, surrogate)


def glif_step(
    current: Tensor,
    potential: Tensor,
    fired: Tensor,
    parameters: GLIFParameters,
    *,
    surrogate: Surrogate = Triangle(),  # noqa: B008 - frozen, without state
) -> tuple[Tensor, Tensor]:
    """Compute one step of the gated LIF neuron (Yao et al., NeurIPS 2022), whose reset takes effect in the next step.

    u_t = (1 - α(1 - λ))·u_{t-1}·(1 - γ·h_{t-1}) - (1 - α)·l + (1 - β(1 - c_t))·I_t - (1 - γ)·r·h_{t-1}
    h_t = H(u_t - θ)

    The gate α blends exponential decay by the factor λ with linear decay by l per step. The gate β weights the input by
    the conductance c_t, and γ blends a hard reset with the subtraction of r. With α = 1, β = 0 and γ = 0, the neuron is
    LIF with a soft reset if and only if r = λθ.

    With α = 1, β = 0 and γ = 1, the neuron is LIF with a hard reset to 0:

    >>> import torch
    >>> from hdlif.functional import GLIFParameters, glif_step
    >>> values = {"decay_gate": 1.0, "input_gate": 0.0, "reset_gate": 1.0, "leak": 0.5}
    >>> values |= {"linear_leak": 0.25, "conductance": 0.5, "reset": 0.5, "threshold": 1.0}
    >>> parameters = GLIFParameters(**{name: torch.tensor(value) for name, value in values.items()})
    >>> current, potential, fired = torch.tensor([0.75, 0.75]), torch.tensor([0.5, 1.5]), torch.tensor([0.0, 1.0])
    >>> spike, potential = glif_step(current, potential, fired, parameters)
    >>> spike.tolist(), potential.tolist()
    ([1.0, 0.0], [1.0, 0.75])

    Args:
        current: I_t, [B, ...].
        potential: u_{t-1} before the reset; zeros before the first step.
        fired: h_{t-1} in {0, 1}; zeros before the first step.
        parameters: broadcastable to `current`.
        surrogate: replaces dH/dx, as in `lif_step`.
    Returns:
        h_t and u_t, shaped like `current`.
    Raises:
        ShapeError: `potential` and `current` differ in shape.
    """
    _check_potential(current, potential)
    p = parameters
    leak = (1 - p.decay_gate * (1 - p.leak)) * (1 - p.reset_gate * fired)
    gain = 1 - p.input_gate * (1 - p.conductance)
    shift = -(1 - p.decay_gate) * p.linear_leak - (1 - p.reset_gate) * p.reset * fired
    potential = leak * potential + gain * current + shift
    return heaviside(potential - p.threshold, surrogate), potential


def hd_lif_step(
    current: Tensor,
    potential: Tensor,
    leak: Tensor,
    threshold: Tensor,
    *,
    norm: Callable[[Tensor], Tensor] | None = None,
) -> tuple[Tensor, Tensor]:
    """Compute one time step of an HD-LIF neuron with P2-Reset (arXiv 2410.07547).

    m_t = λ_t·v_{t-1} + I_t,   s_t = max(m_t - θ_t, 0),   v_t = min(m_t, θ_t)

    With Mem-BN, m̂_t = norm(m_t) replaces m_t in both the spike and the potential.

    The derivatives are constants: with χ_t = 1[m_t > θ_t], ds/dm = χ, ds/dθ = -χ, dv/dm = 1 - χ, dv/dθ = χ. If m = θ,
    then χ = 0. The reset is not detached, so the potential v = m - s has dv/dm = 0 if the neuron fires.

    >>> import torch
    >>> from hdlif.functional import hd_lif_step
    >>> leak, threshold = torch.tensor(0.5), torch.tensor(0.5)
    >>> spike, potential = hd_lif_step(torch.tensor([0.25, 1.0]), torch.tensor([0.0, 0.5]), leak, threshold)
    >>> spike.tolist(), potential.tolist()
    ([0.0, 0.75], [0.25, 0.5])

    Args:
        current: input current I_t, [B, ...].
        potential: v_{t-1}, same shape; zeros before the first step.
        leak: λ_t, broadcastable to `current`.
        threshold: θ_t, broadcastable to `current` (a trained one is > 0; a folded one may be any finite value).
        norm: the Mem-BN map of this step.
    Returns:
        spike s_t >= 0 (the graded surplus) and potential v_t <= θ_t, both shaped like `current`.
    Raises:
        ShapeError: `potential` and `current` differ in shape.
    """
    _check_potential(current, potential)
    membrane = leak * potential + current
    if norm is not None:
        membrane = norm(membrane)
    spike = torch.relu(membrane - threshold)
    return spike, membrane - spike


def hd_lif_inverse_step(current: Tensor, spike: Tensor, potential: Tensor, leak: Tensor) -> Tensor:
    """Return the potential before an `hd_lif_step`: v_{t-1} = (v_t + s_t - I_t)/λ_t.

    P2-Reset loses no information, because m = v + s. Division by λ amplifies the rounding error of m, so the result is
    inaccurate for small λ.

    >>> import torch
    >>> from hdlif.functional import hd_lif_inverse_step, hd_lif_step
    >>> current, before, leak = torch.tensor([0.25, 1.0]), torch.tensor([0.0, 0.5]), torch.tensor(0.5)
    >>> spike, after = hd_lif_step(current, before, leak, torch.tensor(0.5))
    >>> hd_lif_inverse_step(current, spike, after, leak).tolist()
    [0.0, 0.5]

    Args:
        current, spike, potential: I_t, s_t and v_t, [B, ...].
        leak: λ_t > 0, broadcastable to `current`.
    Returns:
        v_{t-1}, [B, ...].
    """
    return (potential + spike - current) / leak


def parallel_hd_lif_step(current: Tensor, threshold: Tensor) -> Tensor:
    """Compute one step of Parallel HD-LIF, which is HD-LIF with λ_t = 0 and without state (arXiv 2410.07547).

    The spike is s_t = max(I_t - θ_t, 0). The paper defines s_t = 1[I_t >= θ_t], but its released code emits the
    surplus.

    >>> import torch
    >>> from hdlif.functional import parallel_hd_lif_step
    >>> parallel_hd_lif_step(torch.tensor([0.25, 1.0]), torch.tensor(0.5)).tolist()
    [0.0, 0.5]

    Args:
        current: input current I_t, [B, ...].
        threshold: θ_t, broadcastable to `current`.
    Returns:
        spike s_t >= 0, shaped like `current`.
    """
    return torch.relu(current - threshold)


def _check_potential(current: Tensor, potential: Tensor) -> None:
    # A traced step runs on symbols, which have no shape.
    if isinstance(current, Tensor) and potential.shape != current.shape:
        raise ShapeError(
            f"potential has shape {list(potential.shape)}, the current {list(current.shape)}; they must be equal "
            "(start a new batch with state=None)"
        )
