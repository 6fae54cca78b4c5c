"""Programs of neuron steps, which apply elementwise operations to registers in the order of the equation.

Register 0 is the current, followed by the states before the step, the rows, and one register per instruction. Rows
contain parameters and functions of parameters. Each instruction writes one register and reads only lower-numbered
registers, so every program terminates.

Comparisons return 1 or 0. `minimum(a, b)` returns `b` if b < a, and otherwise `a`. `maximum(a, b)` returns `b` if b >
a, and otherwise `a`. With these definitions, all implementations give the same results for signed zeros and NaN.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdlif.errors import EquationError

Array = NDArray[Any]
MAX_INSTRUCTIONS = 256
"""Largest number of instructions of a step; GLIF has ten."""
MAX_STATES = 16
MAX_ROWS = 64
"""Largest number of rows of a step: parameters, and functions of parameters alone."""
FLOAT32_MAX = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Operation:
    """An elementwise operation.

    Attributes:
        arity: number of registers that it reads.
        compute: computes the result for arrays of one dtype.
        text: a format with a placeholder for each operand.
        is_binary: whether the result is 1 or 0.
    """

    arity: int
    compute: Callable[..., Array]
    text: str
    is_binary: bool = False


def _select(chosen: Array, a: Array, b: Array) -> Array:
    found: Array = np.where(chosen != 0, a, b)
    return found


def _minimum(a: Array, b: Array) -> Array:
    return _select(b < a, b, a)


def _maximum(a: Array, b: Array) -> Array:
    return _select(b > a, b, a)


OPERATIONS: Mapping[str, Operation] = {
    "constant": Operation(0, lambda: np.zeros(()), "{}"),
    "add": Operation(2, np.add, "{} + {}"),
    "subtract": Operation(2, np.subtract, "{} - {}"),
    "multiply": Operation(2, np.multiply, "{} * {}"),
    "negative": Operation(1, np.negative, "-{}"),
    "absolute": Operation(1, np.absolute, "|{}|"),
    "floor": Operation(1, np.floor, "floor({})"),
    "minimum": Operation(2, _minimum, "min({}, {})"),
    "maximum": Operation(2, _maximum, "max({}, {})"),
    "greater": Operation(2, lambda a, b: a > b, "[{} > {}]", is_binary=True),
    "greater_equal": Operation(2, lambda a, b: a >= b, "[{} >= {}]", is_binary=True),
    "step": Operation(1, lambda x: x >= 0, "H({})", is_binary=True),
    "select": Operation(3, _select, "{} ? {} : {}"),
}
"""All operations, by name. The set is closed, and every target implements all of them."""


@dataclass(frozen=True)
class Instruction:
    """One operation on registers.

    Attributes:
        value: the value of a constant, rounded to float32.
        surrogate: name of the derivative of a "step"; all other operations have their true derivatives.
        form: in a `WrittenStep`, the written function, if several share this result but not the derivative:
            "relu", "clamp" and "first" (fmin, fmax) of minima and maxima, "divide" of products.
        stopped: in a `WrittenStep`, positions of the operands without a gradient.
        operation: one of `OPERATIONS`.
        operands: the registers that it reads.
    """

    operation: str
    operands: tuple[int, ...] = ()
    value: float = 0.0
    surrogate: str | None = None
    form: str = ""
    stopped: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if abs(self.value) <= FLOAT32_MAX:
            object.__setattr__(self, "value", float(np.float32(self.value)))


@dataclass(frozen=True)
class Program:
    """A neuron's step as a list of operations on registers. The function `trace` creates a program from a step.

    Register 0 is the current, followed by the states, the rows and the results of the instructions.

    The following program emits HD-LIF's membrane potential m = leak·v + I, which also becomes the new state:

    >>> from hdlif.graph.equations import Instruction, Program
    >>> leaked, membrane = Instruction("multiply", (2, 1)), Instruction("add", (3, 0))
    >>> print(Program(("potential",), ("leak",), (leaked, membrane), spike=4, after=(4,)).text())
    r3 = leak * potential
    r4 = r3 + current
    spike = r4
    potential = r4

    Attributes:
        states, rows: names, in the order of their registers.
        spike: the emitted register.
        after: the registers of the states after the step.
        instructions: the operations, in order.
    Raises:
        EquationError: an instruction or a result is invalid.
    """

    states: tuple[str, ...]
    rows: tuple[str, ...]
    instructions: tuple[Instruction, ...]
    spike: int
    after: tuple[int, ...]

    def __post_init__(self) -> None:
        names = (*self.states, *self.rows)
        if len(set(names)) != len(names):
            raise EquationError(f"names of states and rows are {list(names)}; they must be unique")
        if len(self.states) > MAX_STATES:
            raise EquationError(f"the step has {len(self.states)} states; a program has at most {MAX_STATES}")
        if len(self.rows) > MAX_ROWS:
            raise EquationError(
                f"the step has {len(self.rows)} parameters and functions of them; a program has at most {MAX_ROWS}"
            )
        if len(self.instructions) > MAX_INSTRUCTIONS:
            raise EquationError(
                f"the step takes {len(self.instructions)} operations; a program has at most {MAX_INSTRUCTIONS}"
            )
        for register, instruction in enumerate(self.instructions, self.first):
            operation = OPERATIONS.get(instruction.operation)
            if operation is None:
                raise EquationError(f"register {register}: operation {instruction.operation!r} is unknown")
            if len(instruction.operands) != operation.arity:
                raise EquationError(
                    f"register {register}: {instruction.operation} has {len(instruction.operands)} operands; "
                    f"it takes {operation.arity}"
                )
            if any(not 0 <= operand < register for operand in instruction.operands):
                raise EquationError(
                    f"register {register}: {instruction.operation} reads {list(instruction.operands)}; "
                    "a register must be written before it is read"
                )
            if not abs(instruction.value) <= FLOAT32_MAX:
                raise EquationError(f"register {register}: the constant {instruction.value} is not a finite float32")
        if len(self.after) != len(self.states):
            raise EquationError(f"the step returns {len(self.after)} states; it has {len(self.states)}")
        for register in (self.spike, *self.after):
            if not 0 <= register < self.registers:
                raise EquationError(f"the step returns register {register}, but has {self.registers} registers")

    @property
    def first(self) -> int:
        """Return the number of the first instruction's register."""
        return 1 + len(self.states) + len(self.rows)

    @property
    def registers(self) -> int:
        return self.first + len(self.instructions)

    @property
    def surrogates(self) -> tuple[str, ...]:
        """Return the names of all surrogates, without duplicates."""
        return tuple(dict.fromkeys(i.surrogate for i in self.instructions if i.surrogate is not None))

    def is_binary(self, register: int) -> bool:
        """Return whether a register, such as the result of a comparison, is always 1 or 0."""
        return self._binary[register]

    def starts_binary(self, register: int) -> bool:
        """Return whether a register is always 1 or 0 in sequences that start from the initial states."""
        return self._binary_from_start[register]

    @property
    def binary_states(self) -> frozenset[str]:
        """Return the states that store a comparison's result, such as the last spike, and are initially 0."""
        found = zip(self.states, self.after, strict=True)
        return frozenset(name for name, after in found if self._compares(after))

    def _compares(self, register: int) -> bool:
        return register >= self.first and OPERATIONS[self.instructions[register - self.first].operation].is_binary

    @cached_property
    def _binary(self) -> tuple[bool, ...]:
        return self._binary_given(frozenset())

    @cached_property
    def _binary_from_start(self) -> tuple[bool, ...]:
        return self._binary_given(self.binary_states)

    def _binary_given(self, states: frozenset[str]) -> tuple[bool, ...]:
        found = [False, *(name in states for name in self.states), *(False for _ in self.rows)]
        for instruction in self.instructions:
            match instruction.operation:
                case "constant":
                    found.append(instruction.value in (0.0, 1.0))
                case "select":
                    found.append(all(found[operand] for operand in instruction.operands[1:]))
                case "multiply":
                    found.append(all(found[operand] for operand in instruction.operands))
                case operation:
                    found.append(OPERATIONS[operation].is_binary)
        return tuple(found)

    @property
    def emits_steps(self) -> bool:
        """Return whether the spike is always 1 or 0, possibly times a row that a weight may absorb."""
        if self.spike < self.first:
            return False
        instruction = self.instructions[self.spike - self.first]
        rows = range(1 + len(self.states), self.first)
        is_scaled = instruction.operation == "multiply" and any(operand in rows for operand in instruction.operands)
        others = [operand for operand in instruction.operands if operand not in rows]
        return self.is_binary(self.spike) or (is_scaled and len(others) == 1 and self.is_binary(others[0]))

    def without_size(self) -> tuple["Program", str]:
        """Return the program without the row that scales the spikes (see `emits_steps`), and the name of this row."""
        factors = self.instructions[self.spike - self.first].operands
        size = next(operand for operand in factors if operand < self.first)
        emitted = replace(self, spike=next(operand for operand in factors if operand != size))
        return emitted.trimmed(), self.rows[size - 1 - len(self.states)]

    @property
    def needed(self) -> frozenset[int]:
        """Return the registers on which the spike or states depend."""
        found = {self.spike, *self.after}
        for register in range(self.registers - 1, self.first - 1, -1):
            if register in found:
                found.update(self.instructions[register - self.first].operands)
        return frozenset(found)

    def trimmed(self) -> "Program":
        """Return the program without unused rows and instructions."""
        needed, signals = self.needed, 1 + len(self.states)
        kept = [register for register in range(self.registers) if register < signals or register in needed]
        number = {register: place for place, register in enumerate(kept)}
        instructions = tuple(
            replace(instruction, operands=tuple(number[operand] for operand in instruction.operands))
            for register, instruction in enumerate(self.instructions, self.first)
            if register in needed
        )
        rows = tuple(name for register, name in enumerate(self.rows, signals) if register in needed)
        after = tuple(number[register] for register in self.after)
        return Program(self.states, rows, instructions, number[self.spike], after)

    @property
    def varying(self) -> frozenset[int]:
        """Return the registers that depend on the current or a state, so that their values differ between neurons."""
        return self.following(range(1 + len(self.states)))

    def following(self, registers: Iterable[int]) -> frozenset[int]:
        """Return the given registers and all registers that depend on them."""
        found = set(registers)
        for register, instruction in enumerate(self.instructions, self.first):
            if not found.isdisjoint(instruction.operands):
                found.add(register)
        return frozenset(found)

    @property
    def decision(self) -> tuple[int, int] | None:
        """Return the two registers (m, θ) whose comparison determines whether the neuron spikes.

        Return None if no comparison of two registers determines the spike.
        """
        waiting, seen = [self.spike], set[int]()
        while waiting:
            register = waiting.pop(0)
            if register < self.first or register in seen:
                continue
            seen.add(register)
            instruction = self.instructions[register - self.first]
            if instruction.operation in ("greater", "greater_equal"):
                return instruction.operands[0], instruction.operands[1]
            if instruction.operation == "step" or 0.0 in map(self.constant, instruction.operands):
                for operand in instruction.operands:
                    difference = self.instructions[operand - self.first] if operand >= self.first else None
                    if difference is not None and difference.operation == "subtract":
                        return difference.operands[0], difference.operands[1]
            waiting += instruction.operands
        return None

    def constant(self, register: int) -> float | None:
        """Return the value of a constant register, or None for other registers."""
        if register < self.first or self.instructions[register - self.first].operation != "constant":
            return None
        return self.instructions[register - self.first].value

    def text(self) -> str:
        """Format the program as lines such as `r5 = leak * potential`, followed by the spike and the states."""
        lines = [line for line in map(self.line, range(self.first, self.registers)) if line is not None]
        lines.append(f"spike = {self._name(self.spike)}")
        lines += [f"{state} = {self._name(after)}" for state, after in zip(self.states, self.after, strict=True)]
        return "\n".join(lines)

    def line(self, register: int) -> str | None:
        """Format a register as a line such as `r5 = leak * potential`, or return None for inputs and constants."""
        if register < self.first or self.constant(register) is not None:
            return None
        instruction = self.instructions[register - self.first]
        return f"r{register} = " + OPERATIONS[instruction.operation].text.format(*map(self._name, instruction.operands))

    def _name(self, register: int) -> str:
        constant = self.constant(register)
        if constant is not None:
            return f"{constant:g}"
        return ["current", *self.states, *self.rows][register] if register < self.first else f"r{register}"


def evaluate(
    program: Program, current: Array, states: Sequence[Array], rows: Sequence[Array]
) -> tuple[Array, list[Array]]:
    """Evaluate one step in the dtype of the input current. All other implementations are compared with this one.

    >>> import torch
    >>> from hdlif.graph.equations import evaluate, trace
    >>> def step(current, potential, leak, threshold):
    ...     membrane = leak * potential + current
    ...     spike = torch.relu(membrane - threshold)
    ...     return spike, membrane - spike
    >>> rows = {"leak": torch.tensor(0.5), "threshold": torch.tensor(0.75)}
    >>> program, values = trace(step, states=["potential"], rows=rows)
    >>> import numpy as np
    >>> current, states = np.array([0.25, 1.0]), [np.array([1.0, 0.5])]
    >>> spike, after = evaluate(program, current, states, [values[name] for name in program.rows])
    >>> spike.tolist(), after[0].tolist()
    ([0.0, 0.5], [0.75, 0.75])

    Args:
        program: the neuron's program.
        current: an array of any shape.
        states: the states before the step, of that shape.
        rows: the rows, broadcastable to that shape.
    Returns:
        the spike, and each state after the step, in the order of `program.states`.
    """
    registers = evaluate_registers(program, current, states, rows)
    spike, *after = (
        np.array(np.broadcast_to(registers[i], current.shape), current.dtype) for i in (program.spike, *program.after)
    )
    return spike, after


def evaluate_registers(program: Program, current: Array, states: Sequence[Array], rows: Sequence[Array]) -> list[Array]:
    """Return the values of all registers in a step, in shapes that broadcast to the current's shape.

    Args:
        program, current, states, rows: as in `evaluate`.
    """
    dtype = current.dtype
    registers = [current, *states, *(np.asarray(row, dtype) for row in rows)]
    for instruction in program.instructions:
        if instruction.operation == "constant":
            registers.append(np.asarray(instruction.value, dtype))
            continue
        operands = [registers[i] for i in instruction.operands]
        registers.append(np.asarray(OPERATIONS[instruction.operation].compute(*operands), dtype))
    return registers
