"""A neuron's step, and the chunks of it that the compiled kernels run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from hdlif.errors import EquationError
from hdlif.graph.equations import Needs, Saving, WrittenStep
from hdlif.graph.equations.chunk_program import Levels
from hdlif.nn.kernels.chunk import passes
from hdlif.nn.kernels.chunk.places import Place
from hdlif.nn.kernels.chunk.plan import Plan
from hdlif.nn.kernels.tensors import is_plain, is_watched


class FusedStep:
    """Runs chunks of a step.

    Args:
        step: the traced step.
        instruction_set: of the kernels; "" takes the best one of this machine.
    """

    def __init__(self, step: WrittenStep, instruction_set: str = "") -> None:
        self.step, self.instruction_set = step, instruction_set
        self._plans: dict[tuple[Needs, bool], Plan | None] = {}

    def __reduce__(self) -> tuple[type[FusedStep], tuple[WrittenStep, str]]:
        # A copy compiles its programs again.
        return FusedStep, (self.step, self.instruction_set)

    def __call__(
        self, current: Tensor, states: Sequence[Tensor], rows: Sequence[Any], *, steps: int
    ) -> tuple[Tensor, list[Tensor]] | None:
        """Run K steps.

        Args:
            current: [K, B, ...], or [1, B, ...] if it is the same at all steps.
            states: before the chunk, [B, ...], of the current's dtype.
            rows: as `WrittenStep.rows` gives them: numbers, or tensors broadcastable to the chunk, with K rows or one,
                of a dtype that is not wider.
            steps: K.
        Returns:
            spikes [K, B, ...] and the states after the chunk; None if the kernels cannot run it.
        """
        given = (current, *states, *rows)
        learns = torch.is_grad_enabled()
        asked = [learns and isinstance(one, Tensor) and one.requires_grad for one in given]
        plan = self._plan(given, asked, len(states), steps)
        if plan is None:
            return None
        return (passes.run_with_graph if any(asked) else passes.run)(plan, given, steps)

    def codes(
        self,
        current: Tensor,
        states: Sequence[Tensor],
        rows: Sequence[Any],
        *,
        steps: int,
        levels: Levels,
        room: Tensor,
    ) -> tuple[Place, list[Tensor]] | None:
        """Run K steps without a graph, and write the codes of the spikes instead of the spikes.

        Args:
            current, states, rows, steps: as of a call.
            room: uint8, for the codes of all steps.
        Returns:
            the order of a step's codes in memory, and the states after the chunk; None if the kernels cannot run it, or
            if a spike is negative or no number.
        """
        given = (current, *states, *rows)
        plan = self._plan(given, [False] * len(given), len(states), steps)
        return None if plan is None else passes.run_codes(plan, given, steps, levels, room)

    def _plan(self, given: tuple[Any, ...], asked: list[bool], states: int, steps: int) -> Plan | None:
        """How to run a chunk; made once for all chunks that need the same gradients."""
        count = 1 + states
        if not _are_readable(given[0], given[1:count], given[count:]):
            return None
        needs = Needs(asked[0], tuple(asked[1:count]), tuple(asked[count:]))
        key = needs, steps == 1
        if key not in self._plans:
            try:
                self._plans[key] = Plan(Saving(self.step, needs, steps == 1), self.instruction_set)
            except EquationError:
                self._plans[key] = None
        return self._plans[key]


def _are_readable(current: Tensor, states: Sequence[Tensor], rows: Sequence[Any]) -> bool:
    """Whether the kernels can read a chunk: plain tensors in a CPU's memory, not empty, of float32 or float64, with
    states like the current and rows in columns."""
    device, dtype = current.device, current.dtype
    if not current.is_cpu or dtype not in (torch.float32, torch.float64) or not is_plain(current, device):
        return False
    place, sizes = Place.of(current), current.shape[1:]
    if is_watched() or not place.entries:
        return False
    if not all(is_plain(state, device) and state.dtype == dtype and state.shape == sizes for state in states):
        return False
    return all(
        not isinstance(row, Tensor) or (is_plain(row, device) and place.columns(row) is not None) for row in rows
    )
