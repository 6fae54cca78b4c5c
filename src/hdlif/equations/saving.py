"""What a chunk of steps saves for its backward pass, read off the step's program.

A derivative reads some of the step's values: the other factor of a product, the argument of a step, and of a choice only
which it was. These are `Value`s, the registers of the program and what follows from them alone. Not all of them are
saved: what follows from others by the program's own operations is computed again. What is saved is the cheapest set from
which everything else follows, a minimum cut between current and states and what the derivatives read.

A state that is read is saved at each step, so that what it becomes is saved already, by the step after.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

from hdlif.equations.cuts import cheapest_cut
from hdlif.equations.program import Instruction, Program
from hdlif.equations.written import WrittenStep

Kind = Literal["value", "mask", "share", "sign", "true"]
_BITS = {"mask": 1, "true": 1, "share": 8, "sign": 8}


class Value(NamedTuple):
    """What a derivative reads of a register.

    Kinds: "value" is what the register holds; of a maximum or minimum of a and b, "mask" is whether the gradient goes to
    its first operand (its second, of a "relu"), and "share" twice the first one's share, 0, 1 or 2; "sign" is that of
    the operand of an absolute value; "true" is whether a register that chooses is not 0.
    """

    register: int
    kind: Kind = "value"


class Needs(NamedTuple):
    """Which gradients are asked for: of the current, of each state before the chunk, of each row."""

    current: bool
    states: tuple[bool, ...]
    rows: tuple[bool, ...]


@dataclass(frozen=True)
class Saving:
    """What is saved of each step of a chunk, and what goes backwards from it.

    Args:
        step: as it is written.
        needs: whose gradients are asked for.
        is_one_step: whether the chunk is one step, whose states are those before it and no others.
    """

    step: WrittenStep
    needs: Needs
    is_one_step: bool = False

    @property
    def program(self) -> Program:
        return self.step.program

    @cached_property
    def live(self) -> frozenset[int]:
        """The registers whose gradients are computed: one is asked for behind them, and they lead to a result."""
        program, given = self.program, self.needs
        states = range(1, 1 + len(program.states))
        asked = {register for register, need in enumerate((given.current, *given.states, *given.rows)) if need}
        results = (program.spike, *program.after)
        followed = {register for place, register in enumerate(results) if place not in self.step.stopped}
        for register, instruction in zip(range(program.registers - 1, -1, -1), program.instructions[::-1], strict=False):
            if register in followed:
                followed.update(instruction.operands[place] for place in _ways(instruction))
        while True:
            found = set(asked)
            for register, instruction in enumerate(program.instructions, program.first):
                if any(instruction.operands[place] in found for place in _ways(instruction)):
                    found.add(register)
            again = {
                state
                for place, (state, after) in enumerate(zip(states, program.after, strict=True), 1)
                if after in found and place not in self.step.stopped
            }
            if self.is_one_step or again <= asked:
                return frozenset(found & followed)
            asked |= again

    @cached_property
    def read(self) -> frozenset[Value]:
        """What the derivatives read."""
        return frozenset(
            value
            for register, instruction in enumerate(self.program.instructions, self.program.first)
            if register in self.live
            for value in self._read(register, instruction)
        )

    def _read(self, register: int, instruction: Instruction) -> Iterator[Value]:
        live = [
            place for place in _ways(instruction) if instruction.operands[place] in self.live
        ]
        operands = instruction.operands
        match instruction.operation:
            case "multiply" if instruction.form == "divide":
                yield Value(operands[1])
                if 1 in live:
                    yield Value(operands[0])
            case "multiply":
                yield from (Value(operands[1 - place]) for place in live)
            case "absolute":
                yield self.sign(register)
            case "minimum" | "maximum":
                yield self.shared(register)
            case "step":
                yield Value(operands[0])
            case "select":
                yield self.chosen(register)

    def shared(self, register: int) -> Value:
        """What tells to which operand of a minimum or maximum the gradient goes."""
        instruction = self.program.instructions[register - self.program.first]
        if instruction.form == "":
            return Value(register, "share")
        return self._compared.get(register, Value(register, "mask"))

    def sign(self, register: int) -> Value:
        """What is read of an absolute value's operand."""
        return Value(register, "sign")

    def chosen(self, register: int) -> Value:
        """What tells which operand of a select it was."""
        condition = self.program.instructions[register - self.program.first].operands[0]
        return Value(condition) if self.program.is_binary(condition) else Value(condition, "true")

    @cached_property
    def _compared(self) -> dict[int, Value]:
        """Of a relu of a - b, the register of a > b where the step has it: a - b > 0 says the same."""
        greater, found = {}, {}
        for register, instruction in enumerate(self.program.instructions, self.program.first):
            if instruction.operation == "greater":
                greater[instruction.operands] = Value(register)
        for register, instruction in enumerate(self.program.instructions, self.program.first):
            if instruction.form == "relu" and instruction.operands[1] >= self.program.first:
                difference = self.program.instructions[instruction.operands[1] - self.program.first]
                if difference.operation == "subtract" and difference.operands in greater:
                    found[register] = greater[difference.operands]
        return found

    def operands(self, value: Value) -> tuple[Value, ...]:
        """What a value is computed from."""
        if value.kind == "true":
            return (Value(value.register),)
        if value.register < self.program.first:
            return ()
        return tuple(map(Value, self.program.instructions[value.register - self.program.first].operands))

    @cached_property
    def kept(self) -> tuple[Value, ...]:
        """What is saved of each step."""
        program = self.program
        signals = range(1 + len(program.states))
        states = [Value(state) for state in signals[1:]]
        saved_after = {after for state, after in zip(states, program.after, strict=True) if state in self.read}
        graph = {value: self.operands(value) for value in self._behind(self.read)}
        costs = {value: self._cost(value, saved_after) for value in graph}
        sources = [value for value in graph if value.kind == "value" and value.register in signals]
        cut = cheapest_cut(graph, costs, sources=sources, sinks=[value for value in self.read if value in graph])
        return tuple(sorted(cut))

    def _cost(self, value: Value, saved_after: set[int]) -> int:
        """Bits a neuron, in float32."""
        if value.kind == "value":
            if value.register in saved_after:
                return 0
            return 1 if self.program.is_binary(value.register) else 32
        return _BITS[value.kind]

    def _behind(self, values: Iterable[Value]) -> set[Value]:
        """These values and those that they follow from."""
        found, waiting = set[Value](), list(values)
        while waiting:
            value = waiting.pop()
            if value not in found:
                found.add(value)
                waiting += self.operands(value)
        return found

    @cached_property
    def rows(self) -> frozenset[int]:
        """The registers of the rows that the backward pass reads."""
        found, waiting = set[Value](), list(self.read)
        while waiting:
            value = waiting.pop()
            if value not in found:
                found.add(value)
                waiting += [] if value in self.kept else self.operands(value)
        rows = range(1 + len(self.program.states), self.program.first)
        return frozenset(value.register for value in found if value.register in rows)

    def bytes(self, steps: int, neurons: int, *, itemsize: int = 4, constant: bool = False) -> int:
        """Bytes that a chunk of `steps` saves, of `neurons` neurons in all (B·C·H·W): exactly what autograd holds.

        Rows, which lie there anyway, are not in it; a current is that lies by itself.

        Args:
            itemsize: of the states' dtype.
            constant: whether the current is the same at all steps, and given once.
        """
        program = self.program
        number, bits = neurons * itemsize, -(-neurons // 8)
        sizes: dict[object, int] = {}
        states: list[object] = [("before", state) for state in program.states]
        binary = [False] * len(states)
        for step in range(steps):
            for value in self.kept:
                if value.register == 0 and value.kind == "value":
                    sizes["current"] = (1 if constant else steps) * number
                elif value.kind == "value" and value.register <= len(states):
                    identity = states[value.register - 1]
                    is_current = identity == "current"
                    size = (1 if constant else steps) * number if is_current else number
                    sizes[identity] = bits if binary[value.register - 1] else size
                else:
                    is_number = value.kind == "value" and not program.is_binary(value.register)
                    sizes[step, value] = number if is_number else bits if value.kind not in ("share", "sign") else neurons
            after = [self._carried(register, step, states, binary) for register in program.after]
            states, binary = [one for one, _ in after], [flag for _, flag in after]
        return sum(sizes.values())

    def _carried(self, register: int, step: int, states: list[object], binary: list[bool]) -> tuple[object, bool]:
        """What a state is after a step, so that nothing counts twice; and whether it is held as a truth value."""
        if register == 0:
            return "current", False
        if register <= len(states):
            return states[register - 1], binary[register - 1]
        return (step, Value(register)), self.program.is_binary(register)


def _ways(instruction: Instruction) -> list[int]:
    """The places of the operands that a gradient goes back to."""
    if instruction.operation in ("constant", "floor", "greater", "greater_equal"):
        return []
    places = range(len(instruction.operands))
    return [p for p in places if p not in instruction.stopped and not (instruction.operation == "select" and p == 0)]
