"""The registers of a written step in PyTorch: each is computed when it is read, by the functions of the step itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from hdlif.equations import Instruction, Program, Value

Held = Tensor | float
"""What a register holds: a tensor, of truth values where they are what a comparison gave, or a number."""


class Registers:
    """What a time step computes, from what is known of it.

    Args:
        known: current, states and rows in a forward pass; what was saved, and rows, in a backward pass.
        dtype: of the states, in which the step computes.
    """

    def __init__(self, program: Program, known: Mapping[Value, Held], dtype: torch.dtype, device: torch.device) -> None:
        self._program, self._known = program, dict(known)
        self._numbers: dict[int, Held] = {}
        self._dtype, self._device = dtype, device

    def __getitem__(self, value: Value) -> Held:
        """A value by its kind, see `Value`."""
        if value not in self._known:
            self._known[value] = self._true(value) if value.kind == "true" else self._computed(value)
        return self._known[value]

    def held(self, register: int) -> Held:
        """What a register holds, truth values as such."""
        return self[Value(register)]

    def number(self, register: int) -> Held:
        """The same as numbers."""
        if register not in self._numbers:
            held = self.held(register)
            is_truth = isinstance(held, Tensor) and held.dtype == torch.bool
            self._numbers[register] = held.to(self._dtype) if is_truth and isinstance(held, Tensor) else held
        return self._numbers[register]

    def tensor(self, register: int) -> Tensor:
        """The same as a tensor, whatever it is."""
        number = self.number(register)
        if isinstance(number, Tensor):
            return number
        return torch.tensor(number, dtype=self._dtype, device=self._device)

    def truth(self, register: int) -> Tensor | bool:
        """Whether a register is not 0."""
        held = self.held(register)
        if not isinstance(held, Tensor):
            return bool(held)
        return held if held.dtype == torch.bool else held != 0

    def is_binary(self, register: int) -> bool:
        return self._program.is_binary(register)

    def _true(self, value: Value) -> Held:
        return self.truth(value.register)

    def _computed(self, value: Value) -> Held:
        instruction = self._program.instructions[value.register - self._program.first]
        if value.kind == "value":
            return _OPERATIONS[instruction.operation](self, instruction, value.register)
        return _KINDS[value.kind](self, instruction)


def _of_numbers(function: Callable[[Held, Held], Held]) -> Callable[[Registers, Instruction, int], Held]:
    def compute(registers: Registers, instruction: Instruction, _: int) -> Held:
        a, b = instruction.operands
        first = registers.number(a)
        second = registers.number(b)
        if not isinstance(first, Tensor) and not isinstance(second, Tensor):
            first = registers.tensor(a)
        return function(first, second)

    return compute


def _multiply(registers: Registers, instruction: Instruction, register: int) -> Held:
    a, b = instruction.operands
    if instruction.form == "divide":
        return _of_numbers(lambda x, y: x / y)(registers, instruction, register)
    if registers.is_binary(register):
        both = torch.as_tensor(registers.truth(a)), registers.truth(b)
        return both[0] & both[1]
    return _of_numbers(lambda x, y: x * y)(registers, instruction, register)


def _extreme(name: str) -> Callable[[Registers, Instruction, int], Held]:
    of_tensors, of_first, clamped = {
        "minimum": (torch.minimum, torch.fmin, "max"),
        "maximum": (torch.maximum, torch.fmax, "min"),
    }[name]

    def compute(registers: Registers, instruction: Instruction, _: int) -> Held:
        a, b = instruction.operands
        match instruction.form:
            case "relu":
                return torch.relu(registers.tensor(b))
            case "clamp":
                return torch.clamp(registers.tensor(a), **{clamped: registers.number(b)})
            case "first":
                return of_first(registers.tensor(a), registers.tensor(b))
        return of_tensors(registers.tensor(a), registers.tensor(b))

    return compute


def _select(registers: Registers, instruction: Instruction, register: int) -> Held:
    condition, a, b = instruction.operands
    chosen = registers.truth(condition)
    read = registers.truth if registers.is_binary(register) else registers.number
    if isinstance(chosen, bool):
        return read(a if chosen else b)
    first, second = read(a), read(b)
    if not isinstance(first, Tensor) and not isinstance(second, Tensor) and not isinstance(first, bool):
        first = registers.tensor(a)
    return torch.where(chosen, first, second)


_OPERATIONS: Mapping[str, Callable[[Registers, Instruction, int], Held]] = {
    "constant": lambda registers, instruction, _: instruction.value,
    "add": _of_numbers(lambda x, y: x + y),
    "subtract": _of_numbers(lambda x, y: x - y),
    "multiply": _multiply,
    "negative": lambda registers, instruction, _: -registers.number(instruction.operands[0]),
    "absolute": lambda registers, instruction, _: registers.tensor(instruction.operands[0]).abs(),
    "floor": lambda registers, instruction, _: registers.tensor(instruction.operands[0]).floor(),
    "minimum": _extreme("minimum"),
    "maximum": _extreme("maximum"),
    "greater": _of_numbers(lambda x, y: x > y),
    "greater_equal": _of_numbers(lambda x, y: x >= y),
    "step": lambda registers, instruction, _: registers.tensor(instruction.operands[0]) >= 0,
    "select": _select,
}


def _mask(registers: Registers, instruction: Instruction) -> Tensor:
    a, b = instruction.operands
    if instruction.form == "relu":
        return registers.tensor(b) > 0
    if instruction.operation == "maximum":
        return registers.tensor(a) >= registers.number(b)
    return registers.tensor(a) <= registers.number(b)


def _share(registers: Registers, instruction: Instruction) -> Tensor:
    a, b = registers.tensor(instruction.operands[0]), registers.tensor(instruction.operands[1])
    if instruction.operation == "minimum":
        a, b = b, a
    return (a > b).to(torch.int8) + (a >= b)


def _sign(registers: Registers, instruction: Instruction) -> Tensor:
    return registers.tensor(instruction.operands[0]).sign().to(torch.int8)


_KINDS: Mapping[str, Callable[[Registers, Instruction], Tensor]] = {"mask": _mask, "share": _share, "sign": _sign}
