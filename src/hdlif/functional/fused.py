"""A step as it is written over a whole chunk, in one function with a backward pass of its own.

Under autograd each operation of each step saves what its own derivative reads. Here the chunk runs without a graph, and
saves what `equations.Saving` lists: nothing twice, of a choice one bit, and nothing that follows from the rest. Backward,
the steps run in reverse, from the gradient of a state to that of the step before. Values are those of the step, and so
is what its derivatives read; gradients differ from autograd's by the order of their sums.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import torch
from torch import Tensor

from hdlif.equations import Needs, Saving, Source, Value, WrittenStep
from hdlif.functional.backwards import Gradients, backwards
from hdlif.functional.computing import Compute, Held, computing
from hdlif.functional.sequence import eights_of_bytes, pack_bits, unpack_bits


class FusedStep:
    """Runs chunks of a step.

    Args:
        step: as it is written.
    """

    def __init__(self, step: WrittenStep) -> None:
        self.step = step
        self._plans: dict[object, _Plan] = {}

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
        if torch.is_grad_enabled() and any(isinstance(one, Tensor) and one.requires_grad for one in given):
            spikes, *after = _Fused.apply(self, steps, *given)  # type: ignore[no-untyped-call]
            return spikes, after
        none = Needs(False, (False,) * len(states), (False,) * len(rows))
        run = _Forward(self.plan(none, steps, current), given, steps)
        return run.spikes(), run.after()

    def needs(self, asked: Sequence[bool]) -> Needs:
        """Whose gradients are asked for, in the order of current, states and rows."""
        count = 1 + len(self.step.program.states)
        return Needs(asked[0], tuple(asked[1:count]), tuple(asked[count:]))

    def saving(self, needs: Needs, steps: int) -> Saving:
        """What a chunk of `steps` saves."""
        return Saving(self.step, needs, steps == 1)

    def plan(self, needs: Needs, steps: int, current: Tensor) -> _Plan:
        """How a chunk is run, made once."""
        key = needs, steps == 1, current.dtype, current.device
        if key not in self._plans:
            self._plans[key] = _Plan(self.saving(needs, steps), current.dtype, current.device)
        return self._plans[key]


class _Plan:
    """What is computed in a step, forward and backward, in order.

    Attributes:
        places: of the values, in the list that a step has of them.
        forward, again: a place and what computes it, in the forward pass, and in the backward pass from what is saved.
        start, back: how the results pass their gradients on, and each register with a gradient, in order.
        rows: the registers of the rows that the backward pass reads, or that have a gradient.
    """

    def __init__(self, saving: Saving, dtype: torch.dtype, device: torch.device) -> None:
        self.saving, self.dtype, self.device = saving, dtype, device
        program = saving.program
        kinds = sorted(value for value in {*saving.kept, *saving.read} if value.kind != "value")
        self.places = {Value(register): register for register in range(program.registers)}
        self.places |= {value: place for place, value in enumerate(kinds, program.registers)}
        given = [Value(register) for register in range(program.first)]
        results = [Value(register) for register in (program.spike, *program.after)]
        self.forward = self._computing((*results, *saving.kept), given)
        # What a row's gradient is summed to is seen at its value.
        alike = [Value(register) for register in saving.live - program.varying]
        self.again = self._computing((*saving.read, *alike), (*saving.kept, *given))
        self.start, self.back = backwards(saving, self.places)
        rows = range(1 + len(program.states), program.first)
        self.rows = [row for row in rows if row in saving.rows or row in saving.live]
        self.eights = eights_of_bytes(device)
        self._sources: dict[int, tuple[list[list[Source]], list[Value]]] = {}

    def sources(self, steps: int) -> tuple[list[list[Source]], list[Value]]:
        """Of each step those of what is saved, and the values among them that steps compute."""
        if steps not in self._sources:
            found = self.saving.sources(steps)
            computed = [source.value for of_step in found for source in of_step if source.place == "computed"]
            self._sources[steps] = found, list(dict.fromkeys(computed))
        return self._sources[steps]

    def small(self, value: Value, tensor: Tensor) -> Tensor:
        """As it is saved: truth values, which are packed later, or a byte where that says all."""
        if self.saving.are_bits(value):
            return tensor.bool()
        return tensor.to(torch.int8) if value.kind in ("share", "sign") else tensor

    def _computing(self, values: Sequence[Value], known: Sequence[Value]) -> list[tuple[int, Compute]]:
        order = self.saving.order(values, known)
        return [(self.places[value], computing(self.saving.step, value, self.dtype, self.device)) for value in order]


class _Forward:
    """The steps of a chunk, run one after the other.

    Args:
        saved: what is saved of steps.
    Attributes:
        computed: that, of each step; bits as truth values.
    """

    def __init__(self, plan: _Plan, given: Sequence[Any], steps: int, saved: Collection[Value] = ()) -> None:
        program = self._program = plan.saving.program
        current, *others = given
        self._given, self._shape, self._dtype = given, current.shape[1:], plan.dtype
        self._states: list[Tensor] = others[: len(program.states)]
        self._spikes: list[Tensor] = []
        self.computed: list[dict[Value, Tensor]] = []
        rows = [_unbound(row, steps) for row in (current, *others[len(program.states) :])]
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


def _unbound(values: Any, steps: int) -> Sequence[Held]:
    """By step, what has a row for each, or one for all; a number is one for all."""
    if not isinstance(values, Tensor):
        return [values] * steps
    return values.unbind() if len(values) == steps else [values[0]] * steps


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, fused: FusedStep, steps: int, *given: Any) -> tuple[Tensor, ...]:
        plan = fused.plan(fused.needs(ctx.needs_input_grad[2:]), steps, given[0])
        saving = plan.saving
        sources, computed = plan.sources(steps)
        run = _Forward(plan, given, steps, computed)
        spikes, after = run.spikes(), run.after()
        saved = _Saved(saving, given, run, spikes)
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
        plan: _Plan = ctx.plan
        program, steps = plan.saving.program, len(ctx.sources)
        held_at = _Held(ctx)
        sums = {place: _Rows(ctx.shapes[place], steps) for place in (0, *plan.rows) if place in plan.saving.live}
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


class _Saved:
    """What is saved, each tensor once, and bits packed.

    Attributes:
        places: by source, which tensor it is in, and in which row of it; None for all of it.
        bits: the shapes of those that are bits, by their places.
    """

    def __init__(self, saving: Saving, given: Sequence[Any], run: _Forward, spikes: Tensor) -> None:
        program = saving.program
        self._saving, self._given, self._run = saving, given, run
        self._wholes = {Value(0): given[0]}
        if program.spike >= program.first and program.spike not in program.after:
            # Saved as it is given away, where the layer behind may save it too.
            self._wholes[Value(program.spike)] = spikes
        self._parts: list[list[Tensor]] = []
        self._found: dict[Value, int] = {}
        self.places: dict[Source, tuple[int, int | None]] = {}
        self.bits: dict[int, torch.Size] = {}

    def put(self, source: Source) -> None:
        """Save what a source names, if it is not saved."""
        if source in self.places:
            return
        place, value, k = source
        if place == "before":
            self.places[source] = self._add(self._given[value.register]), None
        elif place == "computed" and self._saving.are_bits(value):
            tensor = self._run.computed[k][value]
            if value not in self._found:
                self._found[value] = self._add()
            parts = self._parts[self._found[value]]
            self.places[source] = self._found[value], len(parts)
            parts.append(tensor)
        elif value in self._wholes:
            whole = self._wholes[value]
            if value not in self._found:
                self._found[value] = self._add(whole)
            self.places[source] = self._found[value], k if len(whole) > 1 else 0
        else:
            self.places[source] = self._add(self._run.computed[k][value]), None

    def _add(self, *parts: Tensor) -> int:
        self._parts.append(list(parts))
        return len(self._parts) - 1

    def tensors(self) -> list[Tensor]:
        """By place."""
        found = []
        for place, parts in enumerate(self._parts):
            if parts[0].dtype == torch.bool:
                self.bits[place] = torch.Size((len(parts), *parts[0].shape))
                found.append(pack_bits(torch.stack(parts) if len(parts) > 1 else parts[0]))
            else:
                found += parts
        return found


class _Held:
    """The values that a step has in the backward pass: what was saved, and what follows from it."""

    def __init__(self, ctx: Any) -> None:
        self._plan: _Plan = ctx.plan
        self._sources, self._places = ctx.sources, ctx.places
        count = len(ctx.saved_tensors) - sum(row is None for row in ctx.rows.values())
        self._tensors = list(ctx.saved_tensors[:count])
        for place, shape in ctx.bits.items():
            self._tensors[place] = unpack_bits(self._tensors[place], shape, self._plan.eights).view(torch.uint8)
        rows = iter(ctx.saved_tensors[count:])
        self._rows = {
            register: _unbound(next(rows) if number is None else number, len(ctx.sources))
            for register, number in ctx.rows.items()
        }

    def __call__(self, k: int) -> list[Held]:
        """Of step k."""
        plan = self._plan
        held: list[Held] = [None] * len(plan.places)
        for register, row in self._rows.items():
            held[register] = row[k]
        for value, source in zip(plan.saving.kept, self._sources[k], strict=True):
            place, row = self._places[source]
            tensor = self._tensors[place]
            held[plan.places[value]] = (tensor if row is None else tensor[row]).to(plan.dtype)
        for place, compute in plan.again:
            held[place] = compute(held)
        return held


class _Rows:
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

    def all(self, plan: _Plan) -> Tensor:
        nothing = torch.zeros(self._shape[1:], dtype=plan.dtype, device=plan.device)
        rows = [nothing if row is None else row for row in self._rows]
        return rows[0][None] if len(rows) == 1 else torch.stack(rows)
