"""Chunks of a step by PyTorch's operations, on any device and in any dtype."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from hdlif.equations import Needs, Saving, WrittenStep
from hdlif.functional.once import once_differentiable
from hdlif.kernels.chunk.operations.backwards import Gradients
from hdlif.kernels.chunk.operations.forward import Forward
from hdlif.kernels.chunk.operations.plan import Plan
from hdlif.kernels.chunk.operations.saved import HeldAt, Saved


class OperationsStep:
    """Runs chunks of a step.

    Args:
        step: as it is written.
    """

    def __init__(self, step: WrittenStep) -> None:
        self.step = step
        self._plans: dict[object, Plan] = {}

    def plan(self, needs: Needs, steps: int, current: Tensor) -> Plan:
        """How a chunk is run, made once."""
        key = needs, steps == 1, current.dtype, current.device
        if key not in self._plans:
            self._plans[key] = Plan(Saving(self.step, needs, steps == 1), current.dtype, current.device)
        return self._plans[key]


def run(plan: Plan, given: Sequence[Any], steps: int) -> tuple[Tensor, list[Tensor]]:
    """A chunk without a graph: spikes [K, B, ...], and the states after it.

    Args:
        given: current, states and rows.
    """
    chunk = Forward(plan, given, steps)
    return chunk.spikes(), chunk.after()


def run_with_graph(plan: Plan, given: Sequence[Any], steps: int) -> tuple[Tensor, list[Tensor]]:
    """A chunk as one function of autograd."""
    spikes, *after = _Function.apply(plan, steps, *given)  # type: ignore[no-untyped-call]
    return spikes, after


class _Function(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, plan: Plan, steps: int, *given: Any) -> tuple[Tensor, ...]:
        saving = plan.saving
        sources, computed = plan.sources(steps)
        run = Forward(plan, given, steps, computed)
        spikes, after = run.spikes(), run.after()
        saved = Saved(saving, given, run, spikes)
        for of_step in sources:
            for source in of_step:
                saved.put(source)
        tensors = saved.tensors()
        rows = {row: given[row] for row in plan.rows}
        ctx.save_for_backward(*tensors, *(row for row in rows.values() if isinstance(row, Tensor)))
        ctx.plan, ctx.sources, ctx.places, ctx.bits = plan, sources, saved.places, saved.bits
        ctx.rows = {row: None if isinstance(value, Tensor) else value for row, value in rows.items()}
        ctx.shapes = {place: one.shape for place, one in enumerate(given) if isinstance(one, Tensor)}
        ctx.set_materialize_grads(False)
        ctx.mark_non_differentiable(*(one for place, one in enumerate((spikes, *after)) if place in saving.constant))
        return spikes, *after

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, spikes: Tensor | None, *after: Tensor | None) -> tuple[Tensor | None, ...]:
        plan: Plan = ctx.plan
        program, steps = plan.saving.program, len(ctx.sources)
        held_at = HeldAt(ctx)
        sums = {place: GradientRows(ctx.shapes[place], steps) for place in (0, *plan.rows) if place in plan.saving.live}
        states = range(1, 1 + len(program.states))
        arriving = [(one, False) for one in after]
        for k in reversed(range(steps)):
            held = held_at(k)
            gradients = Gradients(program.registers)
            for give, (gradient, is_own) in zip(
                plan.start, [(None if spikes is None else spikes[k], False), *arriving], strict=True
            ):
                if give is not None and gradient is not None:
                    give(gradients, gradient, is_own, held)
            for register, back in plan.back:
                gradient, is_own = gradients.take(register)
                if gradient is not None:
                    back(gradients, gradient, is_own, held)
            arriving = [gradients.take(state) for state in states]
            for place, rows in sums.items():
                rows.put(k, gradients.take(place)[0])
        asked = plan.saving.needs
        return (
            None,
            None,
            sums[0].all(plan) if asked.current and 0 in sums else None,
            *(gradient if need else None for need, (gradient, _) in zip(asked.states, arriving, strict=True)),
            *(sums[row].all(plan) if row in sums else None for row in range(states.stop, program.first)),
        )


class GradientRows:
    """The gradient of what has K rows, or one for all, gathered step by step."""

    def __init__(self, shape: torch.Size, steps: int) -> None:
        self._shape = shape
        self._rows: list[Tensor | None] = [None] * min(shape[0], steps)

    def put(self, k: int, gradient: Tensor | None) -> None:
        """That of step k."""
        row = k if len(self._rows) > 1 else 0
        before = self._rows[row]
        if gradient is not None:
            self._rows[row] = gradient if before is None else before + gradient

    def all(self, plan: Plan) -> Tensor:
        nothing = torch.zeros(self._shape[1:], dtype=plan.dtype, device=plan.device)
        rows = [nothing if row is None else row for row in self._rows]
        return rows[0][None] if len(rows) == 1 else torch.stack(rows)
