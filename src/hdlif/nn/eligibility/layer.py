"""The eligibilities of a layer, and how they are carried on over its last steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from hdlif.nn.eligibility.derivatives import Derivatives, plus, reach_of, summed, times
from hdlif.nn.eligibility.drives import Drive


@dataclass
class Pending:
    """What a layer's last steps have left to be carried on when the next ones run.

    Attributes:
        states: the derivatives of each state after each step.
        drives: dI/dW of each synapse.
        vectors: of the parameters of [N] or fewer numbers dI/dp, [K, B, N], or the place among the rows of the step.
    """

    states: Sequence[Derivatives]
    drives: Sequence[Drive]
    vectors: Sequence[Tensor | int]

    def of_vector(self, which: Tensor | int, factors: Sequence[Tensor | None]) -> Tensor | None:
        """Σ_k factor_k·dv_k/dp of a parameter by the step that it acts in, [K, B, N]."""
        own = [of.by_row[which] if isinstance(which, int) else times(of.by_current, which) for of in self.states]
        return summed(zip(own, factors, strict=True))


@dataclass
class Layer:
    """A neuron layer along time.

    Attributes:
        rows: the places of the parameters of its step that are learned, and that all steps share.
        matrices: dv/dW by synapse and state, [B, N, M]; None for zeros.
        vectors: dv/dp by state, [P, B, N], of all other parameters.
        waiting: for its last steps to be carried on.
        bytes: of its traces.
    """

    rows: Sequence[int]
    matrices: list[list[Tensor | None]] = field(default_factory=list)
    vectors: list[Tensor | None] = field(default_factory=list)
    waiting: Pending | None = None
    bytes: int = 0


def carry_on(layer: Layer) -> None:
    """The eligibilities after a layer's last steps, from those before them and what drove it."""
    if (pending := layer.waiting) is None:
        return
    layer.waiting, states = None, pending.states
    reach, across = reach_of(states)
    before = layer.matrices or [[None] * len(states) for _ in pending.drives]
    by_current = [of.by_current for of in states]
    factors = [summed(zip(of_state, by_current, strict=True)) for of_state in reach]
    layer.matrices = [
        [
            _driven(_mixed(traces, [_column(one) for one in mixing]), drive, factor)
            for mixing, factor in zip(across, factors, strict=True)
        ]
        for traces, drive in zip(before, pending.drives, strict=True)
    ]
    if pending.vectors:
        vectors = layer.vectors or [None] * len(states)
        layer.vectors = [
            plus(_mixed(vectors, mixing), _stacked([pending.of_vector(one, of_state) for one in pending.vectors]))
            for mixing, of_state in zip(across, reach, strict=True)
        ]


def _column(factor: Tensor | None) -> Tensor | None:
    return None if factor is None else factor[..., None]


def _mixed(traces: Sequence[Tensor | None], factors: Sequence[Tensor | None]) -> Tensor | None:
    """Σ_k factor_k·e_k; of one state written over e, which nothing else reads."""
    if len(traces) > 1:
        return summed(zip(traces, factors, strict=True))
    (trace,), (factor,) = traces, factors
    return None if trace is None or factor is None else trace.mul_(factor)


def _driven(trace: Tensor | None, drive: Drive, by_current: Tensor | None) -> Tensor | None:
    return trace if by_current is None else drive.add_to(trace, by_current)


def _stacked(added: Sequence[Tensor | None]) -> Tensor | None:
    """What K steps add to the vectors of a state, [P, B, N], from that of each step, [K, B, N]."""
    like = next((one for one in added if one is not None), None)
    return (
        None
        if like is None
        else torch.stack([like.new_zeros(like.shape[1:]) if a is None else a.sum(0) for a in added])
    )
