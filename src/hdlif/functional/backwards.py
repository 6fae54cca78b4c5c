"""A written step backwards: from the gradients of what it gives to those of what it was given, operation by operation."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from hdlif.equations import Instruction, Saving
from hdlif.functional.registers import Registers


class Gradients:
    """The gradients of the registers of one step, as they are summed up.

    Args:
        shapes: of the registers that are not shaped like the current.
    """

    def __init__(self, saving: Saving, shape: torch.Size, shapes: Mapping[int, torch.Size]) -> None:
        self._saving, self._shape, self._shapes = saving, shape, shapes
        self._sums: dict[int, Tensor] = {}
        # Those that no other one looks at, and may be added to in place.
        self._owned: set[int] = set()

    def give(self, register: int, gradient: Tensor, *, negative: bool = False, is_new: bool = False) -> None:
        """Add to a register's gradient, summed to its shape; nothing where it is not asked for.

        Args:
            negative: subtract.
            is_new: whether nothing else holds the tensor.
        """
        if register not in self._saving.live:
            return
        shape = self._shapes.get(register, self._shape)
        if gradient.shape != shape:
            gradient, is_new = _summed(gradient, shape), True
        before = self._sums.get(register)
        if before is None:
            self._sums[register] = -gradient if negative else gradient
            if negative or is_new:
                self._owned.add(register)
        elif register in self._owned:
            before.add_(gradient, alpha=-1 if negative else 1)
        else:
            self._sums[register] = before - gradient if negative else before + gradient
            self._owned.add(register)

    def give_product(self, register: int, gradient: Tensor, factor: Tensor | float) -> None:
        """Add the product of a gradient and a factor."""
        if register not in self._saving.live:
            return
        shape = self._shapes.get(register, self._shape)
        if isinstance(factor, Tensor) and shape.numel() == 1 and gradient.shape == factor.shape != shape:
            product = torch.dot(gradient.flatten(), factor.flatten()).view(shape)
        else:
            product = gradient * factor
        self.give(register, product, is_new=True)

    def take(self, register: int) -> tuple[Tensor | None, bool]:
        """A register's gradient, None for nothing, and whether nothing else holds it."""
        is_new = register in self._owned
        self._owned.discard(register)
        return self._sums.pop(register, None), is_new

    def run(self, registers: Registers, surrogates: Mapping[str, Callable[[Tensor], Tensor]]) -> None:
        """From what is there of spike and states back to current, states and rows."""
        program = self._saving.program
        for register in range(program.registers - 1, program.first - 1, -1):
            gradient, is_new = self.take(register)
            if gradient is None:
                continue
            instruction = program.instructions[register - program.first]
            surrogate = None if instruction.surrogate is None else surrogates[instruction.surrogate]
            self._back(register, instruction, gradient, registers, is_new=is_new, surrogate=surrogate)

    def _back(
        self,
        register: int,
        instruction: Instruction,
        gradient: Tensor,
        registers: Registers,
        *,
        is_new: bool,
        surrogate: Callable[[Tensor], Tensor] | None,
    ) -> None:
        # A register that no gradient may go back to is none of these.
        ways = [None if place in instruction.stopped else one for place, one in enumerate(instruction.operands)]
        a, b, *_ = (*(-1 if way is None or way not in self._saving.live else way for way in ways), -1, -1)
        match instruction.operation:
            case "add":
                self.give(a, gradient, is_new=is_new and b < 0)
                self.give(b, gradient, is_new=is_new and a < 0)
            case "subtract":
                self.give(b, gradient, negative=True)
                self.give(a, gradient, is_new=is_new)
            case "negative":
                self.give(a, gradient, negative=True)
            case "multiply" if instruction.form == "divide":
                numerator, denominator = instruction.operands
                quotient = gradient / registers.number(denominator)
                if b >= 0:
                    of_denominator = -registers.tensor(numerator) / registers.number(denominator)
                    self.give_product(b, quotient, of_denominator)
                self.give(a, quotient, is_new=True)
            case "multiply":
                # The other factor is read only where it was saved for this.
                first, second = instruction.operands
                if a >= 0:
                    self.give_product(a, gradient, registers.number(second))
                if b >= 0:
                    self.give_product(b, gradient, registers.number(first))
            case "absolute":
                sign = registers[self._saving.sign(register)]
                self.give_product(a, gradient, sign)
            case "minimum" | "maximum":
                self._part(register, instruction, gradient, registers, a, b)
            case "step":
                assert surrogate is not None
                self.give(a, gradient * surrogate(registers.tensor(instruction.operands[0])), is_new=True)
            case "select":
                chosen = registers[self._saving.chosen(register)]
                self._choose(chosen, gradient, b, -1 if ways[2] is None else ways[2])

    def _part(
        self, register: int, instruction: Instruction, gradient: Tensor, registers: Registers, a: int, b: int
    ) -> None:
        """Of a minimum or maximum: all to one, or halves to equals."""
        told = registers[self._saving.shared(register)]
        if instruction.form:
            self._choose(told, gradient, *((b, a) if instruction.form == "relu" else (a, b)))
            return
        assert isinstance(told, Tensor)
        first = gradient * (0.5 * told.to(gradient.dtype))
        if b >= 0:
            self.give(b, gradient - first, is_new=True)
        self.give(a, first, is_new=True)

    def _choose(self, chosen: Tensor | float, gradient: Tensor, a: int, b: int) -> None:
        if not isinstance(chosen, Tensor):
            self.give(a if chosen else b, gradient)
            return
        for register, is_first in ((a, True), (b, False)):
            if register in self._saving.live:
                part = torch.where(chosen, gradient, 0) if is_first else torch.where(chosen, 0, gradient)
                self.give(register, part, is_new=True)


def _summed(gradient: Tensor, shape: torch.Size) -> Tensor:
    """Summed over what a register does not have."""
    if shape.numel() == 1:
        return gradient.sum().view(shape)
    return gradient.sum_to_size(shape) if len(shape) <= gradient.ndim else gradient.expand(shape)
