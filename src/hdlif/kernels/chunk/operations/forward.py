"""The steps of a chunk forward, without a graph."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import torch
from torch import Tensor

from hdlif.equations import Value
from hdlif.kernels.chunk.operations.computing import Held
from hdlif.kernels.chunk.operations.plan import Plan


class Forward:
    """The steps of a chunk, run one after the other.

    Args:
        saved: what is saved of steps.
    Attributes:
        computed: that, of each step; bits as truth values.
    """

    def __init__(self, plan: Plan, given: Sequence[Any], steps: int, saved: Collection[Value] = ()) -> None:
        program = self._program = plan.saving.program
        current, *others = given
        self._given, self._shape, self._dtype = given, current.shape[1:], plan.dtype
        self._states: list[Tensor] = others[: len(program.states)]
        self._spikes: list[Tensor] = []
        self.computed: list[dict[Value, Tensor]] = []
        rows = [unbound(row, steps) for row in (current, *others[len(program.states) :])]
        for k in range(steps):
            held: list[Held] = [None] * len(plan.places)
            held[: program.first] = [rows[0][k], *self._states, *(row[k] for row in rows[1:])]
            for place, compute in plan.forward:
                held[place] = compute(held)
            # What a state becomes is one tensor, as a state and as a register.
            for register in program.after:
                held[register] = self._whole(held[register])
            of_step = {value: held[plan.places[value]] for value in saved}
            self.computed.append({value: plan.small(value, one) for value, one in of_step.items()})
            self._states = [held[register] for register in program.after]
            self._spikes.append(self._whole(held[program.spike]))

    def spikes(self) -> Tensor:
        """[K, B, ...], a tensor of its own."""
        program = self._program
        if len(self._spikes) > 1 or program.spike < program.first or program.spike in program.after:
            return torch.stack(self._spikes)
        return self._spikes[0][None]

    def after(self) -> list[Tensor]:
        """The states, each a tensor of its own."""
        seen: set[int] = set()
        found = []
        for register, state in zip(self._program.after, self._states, strict=True):
            found.append(state.clone() if register < self._program.first or register in seen else state)
            seen.add(register)
        return found

    def _whole(self, held: Held) -> Tensor:
        """An entry for each neuron."""
        if not isinstance(held, Tensor):
            return torch.full(self._shape, held, dtype=self._dtype, device=self._given[0].device)
        return held if held.shape == self._shape else held.expand(self._shape).contiguous()


def unbound(values: Any, steps: int) -> Sequence[Held]:
    """By step, what has a row for each, or one for all; a number is one for all."""
    if not isinstance(values, Tensor):
        return [values] * steps
    return values.unbind() if len(values) == steps else [values[0]] * steps
