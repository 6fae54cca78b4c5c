"""A step backwards: from the gradients of what it gives to those of what it was given, operation by operation."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from hdlif.equations import Instruction, Saving, Value
from hdlif.equations.saving import ways
from hdlif.kernels.chunk.operations.computing import Held

Back = Callable[["Gradients", Tensor, bool, list[Held]], None]
"""(gradients, that of the register, whether nothing else holds it, values): passes it on to the operands."""


class Gradients:
    """The gradients of the registers of one step, as they are summed up."""

    def __init__(self, registers: int) -> None:
        self._sums: list[Tensor | None] = [None] * registers
        # Whether nothing else holds the tensor, which may then be added to in place.
        self._own = [False] * registers

    def give(self, register: int, gradient: Tensor, is_own: bool) -> None:
        """Add to the gradient of a register."""
        before = self._sums[register]
        if before is None:
            self._sums[register], self._own[register] = gradient, is_own
        elif self._own[register]:
            before.add_(gradient)
        elif is_own:
            self._sums[register], self._own[register] = gradient.add_(before), True
        else:
            self._sums[register], self._own[register] = before + gradient, True

    def give_negative(self, register: int, gradient: Tensor) -> None:
        """Subtract from it."""
        before = self._sums[register]
        if before is None:
            self._sums[register] = -gradient
        elif self._own[register]:
            before.sub_(gradient)
        else:
            self._sums[register] = before - gradient
        self._own[register] = True

    def take(self, register: int) -> tuple[Tensor | None, bool]:
        """The gradient of a register, None for nothing, and whether nothing else holds it."""
        gradient = self._sums[register]
        self._sums[register] = None
        return gradient, self._own[register]


class _Backwards:
    """What each operation of a step does with the gradient of its register."""

    def __init__(self, saving: Saving, places: Mapping[Value, int]) -> None:
        self._saving, self._places, self._program = saving, places, saving.program

    def of(self, register: int, instruction: Instruction) -> Back:
        operands, live = instruction.operands, self._live(instruction)
        match instruction.operation, live:
            case "add", (_, _):
                return self._both([self.give(one) for one in operands])
            case "add", (place,):
                return self.give(operands[place])
            case "subtract", _:
                # First what is subtracted, which is made anew.
                gives = [self.give(operands[place], negative=place == 1) for place in reversed(live)]
                return self._both(gives) if len(gives) > 1 else gives[0]
            case "negative", _:
                return self.give(operands[0], negative=True)
            case "multiply", _ if instruction.form == "divide":
                return self._both([self._quotient(operands, place) for place in live])
            case "multiply", _:
                gives = [self._product(operands[place], operands[1 - place]) for place in live]
                return self._both(gives) if len(gives) > 1 else gives[0]
            case "absolute", _:
                return self._product(operands[0], self._places[self._saving.sign(register)])
            case (("minimum" | "maximum"), _) if instruction.form == "":
                return self._shares(operands, live, self._places[self._saving.shared(register)])
            case (("minimum" | "maximum"), _):
                chosen, first = self._saving.shared(register), 1 if instruction.form == "relu" else 0
                return self._choice(operands[first], operands[1 - first], (first in live, 1 - first in live), chosen)
            case "select", _:
                return self._choice(operands[1], operands[2], (1 in live, 2 in live), self._saving.chosen(register))
            case "step", _:
                assert instruction.surrogate is not None
                return self._step(operands[0], self._saving.step.surrogates[instruction.surrogate])
        raise AssertionError(f"{instruction.operation} has no derivative")

    def _live(self, instruction: Instruction) -> tuple[int, ...]:
        return tuple(place for place in ways(instruction) if instruction.operands[place] in self._saving.live)

    @staticmethod
    def _both(gives: list[Back]) -> Back:
        def back(gradients: Gradients, gradient: Tensor, is_own: bool, held: list[Held]) -> None:
            for give in gives:
                give(gradients, gradient, False, held)

        return back

    def _is_whole(self, register: int) -> bool:
        return register in self._program.varying

    def give(self, register: int, *, negative: bool = False) -> Back:
        """The gradient as it is, summed to the shape of a row."""
        is_whole = self._is_whole(register)

        def back(gradients: Gradients, gradient: Tensor, is_own: bool, held: list[Held]) -> None:
            if not is_whole:
                gradient, is_own = _summed(gradient, held[register].shape), True
            if negative:
                gradients.give_negative(register, gradient)
            else:
                gradients.give(register, gradient, is_own)

        return back

    def _product(self, register: int, factor: int) -> Back:
        """The gradient times what stands at the place `factor`."""
        is_whole = self._is_whole(register)

        def back(gradients: Gradients, gradient: Tensor, is_own: bool, held: list[Held]) -> None:
            if is_whole:
                gradients.give(register, gradient * held[factor], True)
            else:
                gradients.give(register, _summed_product(gradient, held[factor], held[register].shape), True)

        return back

    def _quotient(self, operands: tuple[int, ...], place: int) -> Back:
        """Of a / b: g/b, or -g·a/b²."""
        numerator, denominator = operands
        give = self.give(operands[place], negative=place == 1)

        def back(gradients: Gradients, gradient: Tensor, is_own: bool, held: list[Held]) -> None:
            quotient = gradient / held[denominator]
            if place == 1:
                quotient = quotient * held[numerator] / held[denominator]
            give(gradients, quotient, True, held)

        return back

    def _shares(self, operands: tuple[int, ...], live: tuple[int, ...], chooser: int) -> Back:
        """To equals half each."""
        gives = [(place, self.give(operands[place])) for place in live]

        def back(gradients: Gradients, gradient: Tensor, is_own: bool, held: list[Held]) -> None:
            first = gradient * (0.5 * held[chooser])
            for place, give in gives:
                give(gradients, first if place == 0 else gradient - first, len(gives) == 1, held)

        return back

    def _choice(self, first: int, second: int, live: tuple[bool, bool], chosen: Value) -> Back:
        """All to the first where what is chosen by is above 0, else to the second."""
        chooser = self._places[chosen]
        give_first = self.give(first) if live[0] else None
        give_second = self.give(second) if live[1] else None

        def back(gradients: Gradients, gradient: Tensor, is_own: bool, held: list[Held]) -> None:
            choosing = held[chooser]
            if not isinstance(choosing, Tensor):
                give = give_first if choosing else give_second
                if give is not None:
                    give(gradients, gradient, False, held)
                return
            if choosing.shape != gradient.shape:
                choosing = choosing.to(gradient.dtype).expand(gradient.shape)
            part = torch.ops.aten.threshold_backward(gradient, choosing, 0)
            if give_second is not None:
                give_second(gradients, gradient - part, True, held)
            if give_first is not None:
                give_first(gradients, part, True, held)

        return back

    def _step(self, register: int, surrogate: Callable[[Tensor], Tensor]) -> Back:
        give = self.give(register)

        def back(gradients: Gradients, gradient: Tensor, is_own: bool, held: list[Held]) -> None:
            give(gradients, gradient * surrogate(held[register]).to(gradient.dtype), True, held)

        return back


def backwards(saving: Saving, places: Mapping[Value, int]) -> tuple[list[Back | None], list[tuple[int, Back]]]:
    """How a step's results pass on their gradients, and how each of its registers does, from the last one on.

    Args:
        places: of the values in the list that the functions are given.
    Returns:
        for spike and states, None where nothing goes back; and registers with their functions.
    """
    program = saving.program
    made = _Backwards(saving, places)
    results = [
        made.give(register) if register in saving.live and place not in saving.step.stopped else None
        for place, register in enumerate((program.spike, *program.after))
    ]
    return results, [
        (register, made.of(register, program.instructions[register - program.first]))
        for register in range(program.registers - 1, program.first - 1, -1)
        if register in saving.live
    ]


def _summed(gradient: Tensor, shape: torch.Size) -> Tensor:
    """Summed over what a row does not have."""
    return gradient.sum().view(shape) if shape.numel() == 1 else gradient.sum_to_size(shape)


def _summed_product(gradient: Tensor, factor: Held, shape: torch.Size) -> Tensor:
    if isinstance(factor, Tensor) and shape.numel() == 1 and gradient.shape == factor.shape:
        return torch.dot(gradient.flatten(), factor.flatten()).view(shape)
    return _summed(gradient * factor, shape)
