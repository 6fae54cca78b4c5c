"""Chunks of a step, and the function that autograd sees."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from hdlif.equations import Needs, Saving, WrittenStep
from hdlif.functional.fused import native
from hdlif.functional.fused.backwards import Gradients
from hdlif.functional.fused.forward import Forward
from hdlif.functional.fused.plan import Plan
from hdlif.functional.fused.saved import HeldAt, Saved


class FusedStep:
    """Runs chunks of a step.

    Args:
        step: as it is written.
        kernels: the instruction set of the compiled kernels that run it on a CPU, "" for the best of this machine;
            None: PyTorch's operations run it everywhere, as they do where the kernels do not serve.
    """

    def __init__(self, step: WrittenStep, *, kernels: str | None = "") -> None:
        self.step = step
        self._native = None if kernels is None else native.NativeStep(step, kernels)
        self._plans: dict[object, Plan] = {}

    def __call__(
        self, current: Tensor, states: Sequence[Tensor], rows: Sequence[Any], *, steps: int
    ) -> tuple[Tensor, list[Tensor]]:
        """K steps.

        Args:
            current: [K, B, ...], or [1, B, ...] where it is the same at all of them.
            states: before the chunk, [B, ...], of the current's dtype.
            rows: as `WrittenStep.rows` gives them: numbers, or tensors broadcastable to the chunk, with K rows or one,
                of a dtype that is not wider.
            steps: K.
        Returns:
            spikes [K, B, ...], and the states after the chunk.
        """
        given = (current, *states, *rows)
        learns = torch.is_grad_enabled()
        needs = self.needs([learns and isinstance(one, Tensor) and one.requires_grad for one in given])
        has_graph = needs.current or any(needs.states) or any(needs.rows)
        if self._native is not None and native.serves(current, states, rows):
            compiled = self._native.plan(needs, steps)
            if compiled is not None:
                return (native.run_with_graph if has_graph else native.run)(compiled, given, steps)
        if not states and steps > 1:
            # Without a state the whole chunk is one step.
            whole = current.expand(steps, *current.shape[1:])[None]
            (spikes,), _ = self(whole, [], [row[None] if isinstance(row, Tensor) else row for row in rows], steps=1)
            return spikes, []
        if has_graph:
            spikes, *after = _Fused.apply(self, steps, *given)  # type: ignore[no-untyped-call]
            return spikes, after
        run = Forward(self.plan(needs, steps, current), given, steps)
        return run.spikes(), run.after()

    def needs(self, asked: Sequence[bool]) -> Needs:
        """Whose gradients are asked for, in the order of current, states and rows."""
        count = 1 + len(self.step.program.states)
        return Needs(asked[0], tuple(asked[1:count]), tuple(asked[count:]))

    def plan(self, needs: Needs, steps: int, current: Tensor) -> Plan:
        """How a chunk is run, made once."""
        key = needs, steps == 1, current.dtype, current.device
        if key not in self._plans:
            self._plans[key] = Plan(Saving(self.step, needs, steps == 1), current.dtype, current.device)
        return self._plans[key]


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, fused: FusedStep, steps: int, *given: Any) -> tuple[Tensor, ...]:
        plan = fused.plan(fused.needs(ctx.needs_input_grad[2:]), steps, given[0])
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
    @torch.autograd.function.once_differentiable
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
