"""A step as it is written over a whole chunk, in one function with a backward pass of its own.

Under autograd each operation of each step saves what its own derivative reads. Here the chunk runs without a graph, and
saves what `equations.Saving` lists: nothing twice, of a choice one bit, and nothing that follows from the rest. Backward,
the steps run in reverse, from the gradient of a state to that of the step before. Values are those of the step, bit for
bit, and so is what its derivatives read; gradients differ from autograd's by the order of their sums.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from hdlif.equations import Needs, Saving, Value, WrittenStep
from hdlif.functional.backwards import Gradients
from hdlif.functional.registers import Held, Registers
from hdlif.functional.sequence import pack_bits, unpack_bits


class FusedStep:
    """Runs chunks of a step.

    Args:
        step: as it is written.
    """

    def __init__(self, step: WrittenStep) -> None:
        self.step = step
        self._savings: dict[tuple[Needs, bool], Saving] = {}

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
        run = _Forward(self.step, given, steps)
        return run.spikes(), run.after()

    def saving(self, needs: Needs, steps: int) -> Saving:
        """What a chunk of `steps` saves."""
        key = needs, steps == 1
        if key not in self._savings:
            self._savings[key] = Saving(self.step, *key)
        return self._savings[key]

    def needs(self, requires_grad: Sequence[bool]) -> Needs:
        """Of current, states and rows, in this order."""
        current, *others = requires_grad
        count = len(self.step.program.states)
        return Needs(current, tuple(others[:count]), tuple(others[count:]))


class _Forward:
    """The steps of a chunk, run one after the other.

    Args:
        kept: what is to be saved of each.
    Attributes:
        saved: that, for each step.
    """

    def __init__(self, step: WrittenStep, given: Sequence[Any], steps: int, kept: Sequence[Value] = ()) -> None:
        self._program = program = step.program
        current, *others = given
        self._given, self._shape, self._dtype = given, current.shape[1:], current.dtype
        self._states: list[Tensor] = others[: len(program.states)]
        self._spikes: list[Tensor] = []
        self.saved: list[list[Tensor]] = []
        needed = sorted(register for register in program.needed if register >= program.first)
        for k in range(steps):
            registers = Registers(program, _given_at(k, given, self._states), self._dtype, current.device)
            for register in needed:
                registers.held(register)
            after = {register: self._whole(registers.held(register)) for register in set(program.after)}
            # What a state becomes is one tensor, as a state and as a register.
            carried = {Value(register): value for register, value in after.items() if register >= program.first}
            self.saved.append([carried[value] if value in carried else _tensor(registers[value]) for value in kept])
            self._states = [after[register] for register in program.after]
            self._spikes.append(self._whole(registers.number(program.spike)))

    def spikes(self) -> Tensor:
        """[K, B, ...], a tensor of its own."""
        program = self._program
        if len(self._spikes) > 1 or program.spike < program.first or program.spike in program.after:
            return torch.stack(self._spikes)
        return self._spikes[0][None]

    def after(self) -> list[Tensor]:
        """The states, each a tensor of its own."""
        seen: set[int] = {id(one) for one in self._given}
        found = []
        for register, state in zip(self._program.after, self._states, strict=True):
            number = state.to(self._dtype)
            found.append(number.clone() if register < self._program.first or id(number) in seen else number)
            seen.add(id(number))
        return found

    def _whole(self, held: Held) -> Tensor:
        """One entry for each neuron."""
        if not isinstance(held, Tensor):
            current = self._given[0]
            return torch.full(self._shape, held, dtype=self._dtype, device=current.device)
        return held if held.shape == self._shape else held.to(self._dtype).expand(self._shape).contiguous()


def _given_at(k: int, given: Sequence[Any], states: Sequence[Tensor]) -> dict[Value, Held]:
    """What step k is given, by its registers."""
    current, *others = given
    rows = others[len(states) :]
    held = [_row(current, k), *states, *(_row(row, k) for row in rows)]
    return {Value(register): one for register, one in enumerate(held)}


def _row(values: Any, k: int) -> Held:
    """Step k of what has K rows, or one for all; a number is one for all."""
    if not isinstance(values, Tensor):
        return float(values)
    return values[k if len(values) > 1 else 0]


def _tensor(held: Held) -> Tensor:
    assert isinstance(held, Tensor)
    return held


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, fused: FusedStep, steps: int, *given: Any) -> tuple[Tensor, ...]:
        saving = fused.saving(fused.needs(ctx.needs_input_grad[2:]), steps)
        run = _Forward(fused.step, given, steps, saving.kept)
        spikes, after = run.spikes(), run.after()
        store = _Store()
        program = saving.program
        spike = Value(program.spike)
        # What is emitted is saved as it is given away, where the layer behind may save it too.
        is_emitted = program.spike not in program.after and not program.is_binary(program.spike)
        whole = {Value(0): given[0]} | ({spike: spikes} if is_emitted else {})
        ctx.places = [
            [store.put(whole.get(value, tensor)) for value, tensor in zip(saving.kept, saved, strict=True)]
            for saved in run.saved
        ]
        ctx.sliced = frozenset(whole)
        first_row = 1 + len(program.states)
        ctx.rows = {r: store.put(given[r]) if isinstance(given[r], Tensor) else given[r] for r in saving.rows}
        ctx.save_for_backward(*store.tensors)
        ctx.bits = store.bits
        ctx.saving, ctx.steps = saving, steps
        ctx.shapes = [one.shape if isinstance(one, Tensor) else None for one in (given[0], *given[first_row:])]
        ctx.like = given[0].dtype, given[0].device
        ctx.set_materialize_grads(False)
        results = (program.spike, *program.after)
        ctx.mark_non_differentiable(
            *(
                output
                for place, (output, register) in enumerate(zip((spikes, *after), results, strict=True))
                if place in fused.step.stopped or register not in saving.live
            )
        )
        return spikes, *after

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        back = _Backward(ctx, ctx.saved_tensors)
        return None, None, *back.run(*grads)


class _Store:
    """Tensors to save, each once, truth values as bits.

    Attributes:
        tensors: what is saved.
        bits: the shapes of those that are bits, by their places.
    """

    def __init__(self) -> None:
        self.tensors: list[Tensor] = []
        self.bits: dict[int, torch.Size] = {}
        # With the tensors themselves, whose identity others would else take over.
        self._known: dict[int, tuple[int, Tensor]] = {}

    def put(self, tensor: Tensor) -> int:
        """The place of a tensor."""
        if id(tensor) not in self._known:
            place = len(self.tensors)
            self._known[id(tensor)] = place, tensor
            if tensor.dtype == torch.bool:
                self.bits[place] = tensor.shape
            self.tensors.append(pack_bits(tensor) if tensor.dtype == torch.bool else tensor)
        return self._known[id(tensor)][0]


class _Backward:
    """A chunk backwards."""

    def __init__(self, ctx: Any, tensors: Sequence[Tensor]) -> None:
        self._ctx, self._tensors = ctx, tensors
        self._saving: Saving = ctx.saving
        self._program = self._saving.program
        self._shape = ctx.shapes[0][1:]

    def run(self, spikes: Tensor | None, *after: Tensor | None) -> Iterator[Tensor | None]:
        """The gradients of current, states and rows."""
        program, saving, steps = self._program, self._saving, self._ctx.steps
        dtype, device = self._ctx.like
        states = range(1, 1 + len(program.states))
        rows = range(states.stop, program.first)
        arriving: list[tuple[Tensor | None, bool]] = [(one, False) for one in after]
        sums = {register: _Rows(shape, steps) for register, shape in zip((0, *rows), self._ctx.shapes, strict=True) if register in saving.live}
        shapes = _shapes(program, self._shape, dict(zip(rows, self._ctx.shapes[1:], strict=True)))
        stopped = saving.step.stopped
        for k in reversed(range(steps)):
            gradients = Gradients(saving, self._shape, shapes)
            if spikes is not None and 0 not in stopped:
                gradients.give(program.spike, spikes[k])
            for place, (register, (one, is_new)) in enumerate(zip(program.after, arriving, strict=True), 1):
                if one is not None and place not in stopped:
                    gradients.give(register, one, is_new=is_new)
            gradients.run(Registers(program, self._known(k), dtype, device), saving.step.surrogates)
            arriving = [gradients.take(state) for state in states]
            for register, of_steps in sums.items():
                of_steps.put(k, gradients.take(register)[0])
        yield sums[0].all(dtype, device) if 0 in sums else None
        yield from (one if saving.needs.states[place] else None for place, (one, _) in enumerate(arriving))
        yield from (sums[row].all(dtype, device) if row in sums else None for row in rows)

    def _known(self, k: int) -> dict[Value, Held]:
        """What is saved of step k."""
        known: dict[Value, Held] = {}
        for value, place in zip(self._saving.kept, self._ctx.places[k], strict=True):
            tensor = self._tensors[place]
            if value in self._ctx.sliced:
                known[value] = _row(tensor, k)
            else:
                bits = self._ctx.bits.get(place)
                known[value] = tensor if bits is None else unpack_bits(tensor, bits)
        for register, row in self._ctx.rows.items():
            known[Value(register)] = row if isinstance(row, float) else _row(self._tensors[row], k)
        return known


class _Rows:
    """The gradient of what has K rows, or one for all, gathered step by step."""

    def __init__(self, shape: torch.Size, steps: int) -> None:
        self._shape = shape
        self._steps: list[Tensor | None] = [None] * (steps if shape[0] > 1 else 1)

    def put(self, k: int, gradient: Tensor | None) -> None:
        """That of step k."""
        if gradient is None:
            return
        place = k if len(self._steps) > 1 else 0
        before = self._steps[place]
        self._steps[place] = gradient if before is None else before + gradient

    def all(self, dtype: torch.dtype, device: torch.device) -> Tensor:
        found = [
            torch.zeros(self._shape[1:], dtype=dtype, device=device) if one is None else one for one in self._steps
        ]
        return found[0][None] if len(found) == 1 else torch.stack(found)


def _shapes(program: Any, shape: torch.Size, rows: dict[int, torch.Size | None]) -> dict[int, torch.Size]:
    """The shapes of the registers that follow from rows alone."""
    found = {register: torch.Size() if row is None else row[1:] for register, row in rows.items()}
    for register, instruction in enumerate(program.instructions, program.first):
        if register not in program.varying:
            found[register] = torch.broadcast_shapes(torch.Size(), *(found[one] for one in instruction.operands))
    return found
