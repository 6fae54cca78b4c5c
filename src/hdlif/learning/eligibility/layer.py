"""Update the eligibilities of a layer after its steps, and compute parameter gradients through past steps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from hdlif.functional.once import once_differentiable
from hdlif.learning.eligibility.derivatives import Derivatives, plus, state_adjoints, state_jacobians, summed, times
from hdlif.learning.eligibility.drives import Drive

_SAMPLES = 4
"""Samples per mixing operation; temporary arrays then fit in the caches."""


@dataclass
class Pending:
    """The pending update of a layer's eligibilities by its latest steps, which is applied when the next steps run.

    Attributes:
        states: the derivatives of each state after each step.
        drives: dI/dW of each synapse.
        vectors: for each parameter with N or fewer numbers, dI/dp, [K, B, N], or its index among the step's rows.
    """

    states: Sequence[Derivatives]
    drives: Sequence[Drive]
    vectors: Sequence[Tensor | int]

    def of_vector(self, which: Tensor | int, factors: Sequence[Tensor | None]) -> Tensor | None:
        """Return Σ_k factor_k·dv_k/dp of a parameter p for each step, [K, B, N]."""
        own = [of.by_row[which] if isinstance(which, int) else times(of.by_current, which) for of in self.states]
        return summed(zip(own, factors, strict=True))


@dataclass
class Layer:
    """The traces of a neuron layer.

    Attributes:
        rows: indices of the step's parameters that are learned and shared by all steps.
        matrices: dv/dW by synapse and state, [B, N, M]; None for zeros.
        vectors: dv/dp of all other parameters, by state, [P, B, N].
        waiting: pending update from the last steps.
        bytes: size of the traces.
    """

    rows: Sequence[int]
    matrices: list[list[Tensor | None]] = field(default_factory=list)
    vectors: list[Tensor | None] = field(default_factory=list)
    waiting: Pending | None = None
    bytes: int = 0


def carry_on(layer: Layer) -> None:
    """Update a layer's eligibilities with the pending steps."""
    if (pending := layer.waiting) is None:
        return
    layer.waiting, states = None, pending.states
    reach, across = state_jacobians(states)
    before = layer.matrices or [[None] * len(states) for _ in pending.drives]
    by_current = [of.by_current for of in states]
    factors = [summed(zip(of_state, by_current, strict=True)) for of_state in reach]
    columns = [[None if one is None else one[..., None] for one in of_state] for of_state in across]
    layer.matrices = [
        [
            trace if factor is None else drive.add_to(trace, factor)
            for trace, factor in zip(_mixed(traces, columns), factors, strict=True)
        ]
        for traces, drive in zip(before, pending.drives, strict=True)
    ]
    if pending.vectors:
        vectors = layer.vectors or [None] * len(states)
        layer.vectors = [
            plus(
                summed(zip(vectors, mixing, strict=True)),
                _stacked([pending.of_vector(one, of_state) for one in pending.vectors]),
            )
            for mixing, of_state in zip(across, reach, strict=True)
        ]


def _mixed(traces: Sequence[Tensor | None], across: Sequence[Sequence[Tensor | None]]) -> list[Tensor | None]:
    """Return Σ_k across_jk·e_k for each state j, [B, N, M], and overwrite the given traces e."""
    like = next((e for e in traces if e is not None), None)
    known = [any(e is not None and f is not None for e, f in zip(traces, of, strict=True)) for of in across]
    made = [
        (torch.empty_like(like) if e is None and like is not None else e) if is_known else None
        for e, is_known in zip(traces, known, strict=True)
    ]
    for start in range(0, 0 if like is None else len(like), _SAMPLES):
        part = slice(start, start + _SAMPLES)
        before = [None if e is None else e[part] for e in traces]
        mixed = [summed((None if f is None else f[part], e) for f, e in zip(of, before, strict=True)) for of in across]
        for e, now in zip(made, mixed, strict=True):
            if e is not None and now is not None:
                e[part] = now
    return made


def _stacked(added: Sequence[Tensor | None]) -> Tensor | None:
    """Sum the contributions [K, B, N] of each parameter over K steps, and stack the sums into [P, B, N]."""
    like = next((one for one in added if one is not None), None)
    if like is None:
        return None
    return torch.stack([like.new_zeros(like.shape[1:]) if a is None else a.sum(0) for a in added])


class Past(torch.autograd.Function):
    """The identity on spikes, whose backward pass adds Σ_t Σ_b G_t·Σ_k (∂s_t/∂v_k)·e_k to each parameter's gradient.

    Here, e are the layer's eligibilities before the first step. Contributions within the chunk are back-propagated. The
    parameters are the weights of the layer's synapses, followed by the parameters with at most N numbers.
    """

    @staticmethod
    def forward(ctx: Any, y: Tensor, by_state: Sequence[Tensor | None], layer: Layer, *into: Tensor) -> Tensor:
        # Keep the current traces: the next steps overwrite them only after the backward pass of these steps.
        ctx.by_state, ctx.matrices, ctx.vectors = by_state, list(layer.matrices), list(layer.vectors)
        ctx.pending, ctx.into = layer.waiting, [(one.shape, one.dtype) for one in into]
        return y.view_as(y)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> Any:
        (grad,), into, pending = grads, ctx.into, ctx.pending
        along = [None if one is None else grad.flatten(2).to(one.dtype) * one for one in ctx.by_state]
        after, before = state_adjoints(pending.states, along)
        found = _of_weights(pending, ctx.matrices, after, before)
        found += _of_vectors(pending, ctx.vectors, after, before)
        shaped = []
        for one, (shape, dtype) in zip(found, into, strict=True):
            # [N], or one number if the layer shares the parameter.
            whole = one if one is None or one.numel() == math.prod(shape) else one.sum()
            shaped.append(None if whole is None else whole.view(shape).to(dtype))
        return grad, None, None, *shaped


def _of_weights(
    pending: Pending,
    matrices: Sequence[Sequence[Tensor | None]],
    after: Sequence[Tensor | None],
    before: Sequence[Tensor | None],
) -> list[Tensor | None]:
    """Return dL/dW, [N, M], for each synapse, given dL/dv for the states after each step and before the first step."""
    to_current = summed(zip((of.by_current for of in pending.states), after, strict=True))
    found: list[Tensor | None] = []
    for place, drive in enumerate(pending.drives):
        total = None if to_current is None else drive.summed(to_current)
        for adjoint, trace in zip(before, matrices[place] if matrices else (), strict=bool(matrices)):
            if adjoint is not None and trace is not None:
                # One row-matrix product per neuron.
                own = torch.bmm(adjoint.T[:, None], trace.transpose(0, 1))[:, 0]
                total = own if total is None else total.add_(own)
        found.append(total)
    return found


def _of_vectors(
    pending: Pending,
    vectors: Sequence[Tensor | None],
    after: Sequence[Tensor | None],
    before: Sequence[Tensor | None],
) -> list[Tensor | None]:
    """Return dL/dp, of shape [N], for each parameter that is a vector or a number."""
    earlier = summed(zip(before, vectors, strict=True)) if vectors else None
    found: list[Tensor | None] = []
    for place, which in enumerate(pending.vectors):
        own = pending.of_vector(which, after)
        total = None if own is None else own.sum((0, 1))
        if earlier is not None:
            total = plus(total, earlier[place].sum(0))
        found.append(total)
    return found
