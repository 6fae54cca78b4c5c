"""Gradient of a layer's parameters through past steps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from hdlif.functional.once import once_differentiable
from hdlif.learning.eligibility.derivatives import plus, state_adjoints, summed
from hdlif.learning.eligibility.layer import Layer, Pending


class Past(torch.autograd.Function):
    """Identity on spikes; adds Σ_t Σ_b G_t·Σ_k (∂s_t/∂v_k)·e_k, from the past, to the gradient of each parameter.

    e before the first of these steps is the layer's; contributions within them are back-propagated through them. The
    parameters are first the weights of the layer's synapses, then those of its vectors.
    """

    @staticmethod
    def forward(ctx: Any, y: Tensor, by_state: Sequence[Tensor | None], layer: Layer, *into: Tensor) -> Tensor:
        # The current traces: the next steps, which overwrite them, run after the backward pass of these.
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
            # [N], or one number where the layer has one.
            whole = one if one is None or one.numel() == math.prod(shape) else one.sum()
            shaped.append(None if whole is None else whole.view(shape).to(dtype))
        return grad, None, None, *shaped


def _of_weights(
    pending: Pending,
    matrices: Sequence[Sequence[Tensor | None]],
    after: Sequence[Tensor | None],
    before: Sequence[Tensor | None],
) -> list[Tensor | None]:
    """dL/dW of each synapse, [N, M], by dL/dv of the states after each step and before the first."""
    to_current = summed(zip((of.by_current for of in pending.states), after, strict=True))
    found: list[Tensor | None] = []
    for place, drive in enumerate(pending.drives):
        total = None if to_current is None else drive.summed(to_current)
        for adjoint, trace in zip(before, matrices[place] if matrices else (), strict=bool(matrices)):
            if adjoint is not None and trace is not None:
                # For each neuron, a row times a matrix.
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
    """dL/dp of each other parameter, [N]."""
    earlier = summed(zip(before, vectors, strict=True)) if vectors else None
    found: list[Tensor | None] = []
    for place, which in enumerate(pending.vectors):
        own = pending.of_vector(which, after)
        total = None if own is None else own.sum((0, 1))
        if earlier is not None:
            total = plus(total, earlier[place].sum(0))
        found.append(total)
    return found
