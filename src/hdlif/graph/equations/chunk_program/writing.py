"""Programs of chunks in the kernels' format, and their writer, which emits each instruction once."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from hdlif.graph.equations.literal_step import WrittenStep
from hdlif.graph.equations.program import Instruction
from hdlif.graph.equations.saving import Saving, Value

StreamEncoding = Literal["values", "bits", "bytes", "codes"]
ENCODINGS: tuple[StreamEncoding, ...] = ("values", "bits", "bytes", "codes")
"""Memory layouts of streams, in the order of native/kernels/chunk.h; codes, in 0..255, are results only."""

OPERATIONS = (
    "constant",
    "add",
    "subtract",
    "multiply",
    "divide",
    "negative",
    "absolute",
    "floor",
    "relu",
    "smaller",
    "larger",
    "smaller number",
    "larger number",
    "greater",
    "greater_equal",
    "select",
)
"""In the order of native/kernels/chunk.h, which defines them."""


class ChunkInstruction(NamedTuple):
    """One operation; `value` is for constants."""

    operation: str
    operands: tuple[int, ...] = ()
    value: float = 0.0


@dataclass(frozen=True)
class ChunkProgram:
    """Computation of each step.

    Attributes:
        streams: layout of each.
        after: for each state, its register after the step.
        rows: number of rows.
        results: registers that are written at each step, with their layouts.
        summed: registers that are summed to rows.
    """

    streams: tuple[StreamEncoding, ...]
    after: tuple[int, ...]
    rows: int
    instructions: tuple[ChunkInstruction, ...]
    results: tuple[tuple[int, StreamEncoding], ...]
    summed: tuple[int, ...] = ()

    @property
    def registers(self) -> int:
        return len(self.streams) + len(self.after) + self.rows + len(self.instructions)


def encoded(program: ChunkProgram) -> Mapping[str, Any]:
    """Return the arguments of `_native.Chunk`."""

    def instruction(one: ChunkInstruction) -> tuple[int, int, int, int, float]:
        a, b, c = (*one.operands, 0, 0, 0)[:3]
        return OPERATIONS.index(one.operation), a, b, c, one.value

    return {
        "streams": [ENCODINGS.index(encoding) for encoding in program.streams],
        "after": list(program.after),
        "rows": program.rows,
        "instructions": [instruction(one) for one in program.instructions],
        "results": [(register, ENCODINGS.index(encoding)) for register, encoding in program.results],
        "summed": list(program.summed),
    }


_EXTREMES = {
    ("minimum", ""): "smaller",
    ("minimum", "clamp"): "smaller",
    ("minimum", "first"): "smaller number",
    ("maximum", ""): "larger",
    ("maximum", "clamp"): "larger",
    ("maximum", "first"): "larger number",
}


class Writing:
    """Writer of instructions without duplicates."""

    def __init__(self, signals: int) -> None:
        self._first = signals
        self._places: dict[tuple[ChunkInstruction, float], int] = {}

    @property
    def instructions(self) -> tuple[ChunkInstruction, ...]:
        return tuple(instruction for instruction, _ in self._places)

    def constant(self, value: float) -> int:
        return self._add(ChunkInstruction("constant", (), value))

    def __call__(self, operation: str, *operands: int) -> int:
        return self._add(ChunkInstruction(operation, operands))

    def _add(self, instruction: ChunkInstruction) -> int:
        # 0 and -0 are different constants.
        key = instruction, math.copysign(1.0, instruction.value)
        return self._places.setdefault(key, self._first + len(self._places))


class Values:
    """Computes values of a written step (`saving.Value`) in registers of a chunk's program.

    Attributes:
        at: the register of each.
    """

    def __init__(self, step: WrittenStep, write: Writing, at: dict[Value, int]) -> None:
        self._step, self._write, self.at = step, write, at

    def compute(self, values: Sequence[Value]) -> None:
        """Return values in topological order."""
        for value in values:
            self.at[value] = self._computed(value)

    def _computed(self, value: Value) -> int:
        program, write = self._step.program, self._write
        if value.kind == "true":
            return write("select", self._of(value.register), write.constant(1.0), write.constant(0.0))
        instruction = program.instructions[value.register - program.first]
        if value.kind != "value":
            return self._small(value, instruction)
        instruction = self._step.extreme(value.register) or instruction
        operands = [self._of(operand) for operand in instruction.operands]
        match instruction.operation:
            case "constant":
                return write.constant(instruction.value)
            case "maximum" if instruction.form == "relu":
                return write("relu", operands[1])
            case "minimum" | "maximum":
                return write(_EXTREMES[instruction.operation, instruction.form], *operands)
            case "multiply" if instruction.form == "divide":
                return write("divide", *operands)
            case "step":
                return write("greater_equal", operands[0], write.constant(0.0))
            case operation:
                return write(operation, *operands)

    def _small(self, value: Value, instruction: Instruction) -> int:
        """Write the value that routes a gradient: a choice, a share or a sign."""
        write = self._write
        if instruction.form == "relu":
            return self._of(value.register)
        if value.kind == "sign":
            x, zero = self._of(instruction.operands[0]), write.constant(0.0)
            return write("subtract", write("greater", x, zero), write("greater", zero, x))
        a, b = (self._of(operand) for operand in instruction.operands)
        if instruction.operation == "minimum":
            a, b = b, a
        if value.kind == "mask":
            return write("greater_equal", a, b)
        return write("add", write("greater", a, b), write("greater_equal", a, b))

    def _of(self, register: int) -> int:
        return self.at[Value(register)]


def encoding_of(saving: Saving, value: Value) -> StreamEncoding:
    """Return the saved layout of a value that a step computes."""
    if saving.are_bits(value):
        return "bits"
    return "bytes" if value.kind in ("share", "sign") else "values"


def later_encoding(saving: Saving, value: Value) -> StreamEncoding:
    """Return the saved layout of a value after the first steps, which read the states from before the chunk."""
    source = saving.source(value, len(saving.program.states))
    return encoding_of(saving, source.value) if source.place == "computed" else "values"
