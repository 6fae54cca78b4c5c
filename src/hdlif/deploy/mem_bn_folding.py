"""Fold Mem-BN into the constants of a plain HD-LIF neuron, in float64 on rows [T, C].

In eval mode, Mem-BN is an affine transform of the membrane potential, m̂_t = α*_t·m_t - β*_t (`nn.MemBN.affine`), and a
step becomes:

    m̂_t = α*_t·(λ_t·v_{t-1} + I_t) - β*_t,   s_t = max(m̂_t - θ_t, 0),   v_t = min(m̂_t, θ_t).

`fold_mem_bn_on_current` folds Mem-BN on the current, for any α*: m̂_t = (α*_t·λ_t)·v_{t-1} + (α*_t·I_t - β*_t). Folding
on the current results in HD-LIF with the leak α*·λ, preceded by an affine transform of the current.

If α* > 0, `fold_mem_bn` folds Mem-BN on the state and leaves the current unchanged. The folded neuron has the state w
instead of v, with v_t = α*_t·(w_t - c_t) - β*_t. With the initial values α*_{-1} = 1 and β*_{-1} = c_{-1} = w_{-1} = 0,
a step becomes:

    λ'_t = λ_t·α*_{t-1},   c_t = λ_t·(β*_{t-1} + α*_{t-1}·c_{t-1}),   θ'_t = (θ_t + β*_t)/α*_t + c_t,
    q_t = λ'_t·w_{t-1} + I_t,   s_t = α*_t·max(q_t - θ'_t, 0),   w_t = min(q_t, θ'_t).

Because q_t equals m_t + c_t, the folded neuron spikes (q_t > θ'_t) exactly if m̂_t > θ_t. The next layer absorbs the
gain α*_t of the spike.

The rows of `fold_mem_bn` cannot be repeated beyond step T - 1, because λ' and c depend on the previous step. From step
T on, the rows of `fold_mem_bn_on_current` apply. With the last row's α*, β*, λ, θ and v = α*·(w - c) - β*, step T
computes:

    m̂_T = (α*·λ·α*)·w + (α*·I - β* - α*·λ·(α*·c + β*)).

Step T is therefore also an HD-LIF step after an affine transform of the current. After step T, the state is v again,
and the last row of `fold_mem_bn_on_current` repeats.

For example, λ = 0.5, θ = 1, α* = 2, β* = 1 and T = 2 give λ' = (0.5, 1), c = (0, 0.5) and θ' = (1, 1.5). For a current
of 2 at both steps, the folded neuron computes q = 2, s = 2·(2 - 1) = 2 and w = 1 at the first step. The second step
gives q = 1·1 + 2 = 3 and s = 2·(3 - 1.5) = 3. The original neuron computes m̂ = 2·2 - 1 = 3, s = 2 and v = 1, and then
m̂ = 2·(0.5 + 2) - 1 = 4, s = 3 and v = 1. The final folded state w = 1.5 corresponds to the same v = 2·(1.5 - 0.5) - 1
= 1.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hdlif.errors import LoweringError

Floats = NDArray[np.float64]
LEAST_GAIN = 2.0**-24
"""Smallest α* to divide by; below it, θ/α* would leave no digit of a float32 membrane for the surplus."""


@dataclass(frozen=True)
class FoldedNeuron:
    """An HD-LIF neuron that receives the current scale·I + shift and multiplies its spikes by `gain`.

    All attributes are rows [R, C], and later steps repeat the last row. `fold_mem_bn` has an example.

    Attributes:
        scale, shift: the affine on the current. The identity is 1 and -0.0: x·1 + (-0.0) equals x in every bit, so the
            runtime can skip it (+0.0 would turn -0.0 into +0.0).
        leak, threshold: λ and θ of the neuron.
        gain: the factor of a spike.
    """

    scale: Floats
    shift: Floats
    leak: Floats
    threshold: Floats
    gain: Floats


def fold_mem_bn(leak: Floats, threshold: Floats, alpha_star: Floats, beta_star: Floats) -> FoldedNeuron:
    """Fold Mem-BN on the state, leaving the current of the first T steps unchanged, and return T + 2 rows.

    >>> import numpy as np
    >>> from hdlif.deploy import fold_mem_bn
    >>> half = np.full((2, 1), 0.5)
    >>> folded = fold_mem_bn(half, half, np.full((2, 3), 2.0), np.zeros((2, 3)))
    >>> folded.leak.shape, folded.gain[0].tolist(), folded.threshold[0].tolist()
    ((4, 3), [2.0, 2.0, 2.0], [0.25, 0.25, 0.25])

    Args:
        leak, threshold: λ and θ of the trained steps, [T, 1 or C].
        alpha_star, beta_star: α* and β* from `MemBN.affine`, [T, C].
    Returns:
        the equivalent neuron, whose leak, threshold and gain include α* and β*.
    Raises:
        LoweringError: an α* is not above 0.
    """
    if not (alpha_star >= LEAST_GAIN).all():
        raise LoweringError(
            f"alpha* of Mem-BN has {alpha_star.min():.3g}; it must be at least {LEAST_GAIN:.3g} to be folded on the "
            "state; fold it on the current"
        )
    leak, threshold = (np.broadcast_to(rows, alpha_star.shape) for rows in (leak, threshold))
    before = np.concatenate([np.ones_like(alpha_star[:1]), alpha_star[:-1]])
    beta_before = np.concatenate([np.zeros_like(beta_star[:1]), beta_star[:-1]])
    offset = np.zeros_like(alpha_star)
    for t in range(len(alpha_star)):
        offset[t] = leak[t] * (beta_before[t] + (before[t] * offset[t - 1] if t > 0 else 0))
    scale, slope = alpha_star[-1:], alpha_star[-1:] * leak[-1:]
    converting = -beta_star[-1:] - slope * (scale * offset[-1:] + beta_star[-1:])
    ones, zeros = np.ones_like(alpha_star), np.zeros_like(alpha_star)
    return FoldedNeuron(
        scale=np.concatenate([ones, scale, scale]),
        shift=np.concatenate([-zeros, converting, -beta_star[-1:]]),
        leak=np.concatenate([leak * before, slope * scale, slope]),
        threshold=np.concatenate([(threshold + beta_star) / alpha_star + offset, threshold[-1:], threshold[-1:]]),
        gain=np.concatenate([alpha_star, ones[:1], ones[:1]]),
    )


def fold_mem_bn_on_current(leak: Floats, threshold: Floats, alpha_star: Floats, beta_star: Floats) -> FoldedNeuron:
    """Fold Mem-BN on the current for any finite α*, and return T rows.

    >>> import numpy as np
    >>> from hdlif.deploy import fold_mem_bn_on_current
    >>> half = np.full((2, 1), 0.5)
    >>> folded = fold_mem_bn_on_current(half, half, np.full((2, 3), -1.0), np.ones((2, 3)))
    >>> folded.leak[0].tolist(), folded.scale[0].tolist(), folded.shift[0].tolist()
    ([-0.5, -0.5, -0.5], [-1.0, -1.0, -1.0], [-1.0, -1.0, -1.0])

    Args:
        leak, threshold, alpha_star, beta_star: as in `fold_mem_bn`.
    """
    return FoldedNeuron(
        scale=alpha_star,
        shift=-beta_star,
        leak=alpha_star * leak,
        threshold=np.broadcast_to(threshold, alpha_star.shape).copy(),
        gain=np.ones_like(alpha_star),
    )
