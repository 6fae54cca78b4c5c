"""Compute the derivatives of neuron steps, and the dependencies between states within a chunk."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hdlif.nn import SteppedNeuron
from hdlif.nn.spikes import emitted


@dataclass
class Derivatives:
    """Derivatives [K, B, N] of the spikes of K steps, or of a state after each step, with None in place of zeros.

    Attributes:
        by_current: ∂/∂I.
        by_state: ∂/∂v_k for each state before the step.
        by_row: ∂/∂p for each parameter of the step.
    """

    by_current: Tensor | None
    by_state: Sequence[Tensor | None]
    by_row: Sequence[Tensor | None]


def derivatives_of(
    neuron: SteppedNeuron, current: Tensor, states: Sequence[Tensor], rows: Sequence[Tensor]
) -> list[Derivatives]:
    """Return the derivatives of each step's emitted spikes and of each state after the step, without a graph.

    The derivatives are with respect to all inputs of the step.

    Args:
        current: [K, B, N, ...].
        states: the states before each step, each shaped like the current.
        rows: the parameters at the steps, broadcastable to the current.
    """
    dtype = states[0].dtype if states else current.dtype
    with torch.enable_grad():
        given = [current, *states, *(row.expand(current.shape) for row in rows)]
        leaves = [value.detach().to(dtype).requires_grad_() for value in given]
        spike, *after = neuron.stepped(0, range(1), *leaves)
        found = []
        for value in (emitted(spike, neuron.quantizer), *after):
            by: Sequence[Tensor | None] = [None] * len(leaves)
            if isinstance(value, Tensor) and value.requires_grad:
                # Neurons are independent, so the gradient of the sum has each one's derivative.
                by = torch.autograd.grad(value.sum(), leaves, retain_graph=True, allow_unused=True)
            flat = [None if one is None else one.flatten(2) for one in by]
            found.append(Derivatives(flat[0], flat[1 : 1 + len(states)], flat[1 + len(states) :]))
    return found


def led_back(spike: Derivatives, states: Sequence[Derivatives], own: Tensor) -> list[Derivatives]:
    """Return derivatives that treat the spike as a further state, which feeds the next current with weights `own`."""
    return [
        Derivatives(of.by_current, [*of.by_state, times(of.by_current, own)], of.by_row) for of in (spike, *states)
    ] + [Derivatives(spike.by_current, [*spike.by_state, times(spike.by_current, own)], spike.by_row)]


def state_jacobians(states: Sequence[Derivatives]) -> tuple[list[list[Tensor | None]], list[list[Tensor | None]]]:
    """Return the derivatives of each final state with respect to each earlier state.

    The first list covers the states after each of K steps, [K, B, N], and the second list covers the initial states.
    """
    numbers = range(len(states))
    like = next((one for of in states for one in (of.by_current, *of.by_state) if one is not None), None)
    reach: list[list[Tensor | None]] = []
    across: list[list[Tensor | None]] = []
    for k in numbers:
        adjoint: list[Tensor | None] = [
            torch.ones_like(like[0]) if j == k and like is not None else None for j in numbers
        ]
        of_steps = []
        for t in reversed(range(0 if like is None else len(like))):
            of_steps.append(adjoint)
            adjoint = [summed((adjoint[i], _at(states[i].by_state[j], t)) for i in numbers) for j in numbers]
        reach.append(_along(of_steps, len(states)))
        across.append(adjoint)
    return reach, across


def state_adjoints(states: Sequence[Derivatives], along: Sequence[Tensor | None]) -> tuple[list[Tensor | None], ...]:
    """Return dL/dv_j for each state j, first after each of K steps, [K, B, N], and then before the first step.

    Args:
        along: dL/ds·∂s/∂v_j, [K, B, N].
    """
    numbers = range(len(states))
    like = next((one for one in along if one is not None), None)
    adjoint: list[Tensor | None] = [None] * len(states)
    of_steps = []
    for t in reversed(range(0 if like is None else len(like))):
        of_steps.append(adjoint)
        later = [summed((adjoint[k], _at(states[k].by_state[j], t)) for k in numbers) for j in numbers]
        adjoint = [plus(one, _at(own, t)) for one, own in zip(later, along, strict=True)]
    return _along(of_steps, len(states)), adjoint


def _along(of_steps: Sequence[Sequence[Tensor | None]], states: int) -> list[Tensor | None]:
    """Stack the values of each state into [K, B, N], given K steps in reverse order, with None in place of zeros."""
    found: list[Tensor | None] = []
    for j in range(states):
        values = [step[j] for step in reversed(of_steps)]
        like = next((one for one in values if one is not None), None)
        zero = None if like is None else torch.zeros_like(like)
        found.append(None if zero is None else torch.stack([zero if one is None else one for one in values]))
    return found


def _at(values: Tensor | None, t: int) -> Tensor | None:
    return None if values is None else values[t]


def times(factor: Tensor | None, other: Tensor | None) -> Tensor | None:
    return None if factor is None or other is None else factor * other


def summed(pairs: Iterable[tuple[Tensor | None, Tensor | None]]) -> Tensor | None:
    """Return Σ a·b over the pairs in which neither is None, or None if no such pair exists."""
    total: Tensor | None = None
    for one, other in pairs:
        if one is not None and other is not None:
            total = one * other if total is None else total.addcmul_(one, other)
    return total


def plus(trace: Tensor | None, added: Tensor | None) -> Tensor | None:
    if trace is None or added is None:
        return added if trace is None else trace
    return trace.add_(added)
