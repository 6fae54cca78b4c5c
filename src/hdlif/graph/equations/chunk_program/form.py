"""The form of a chunk's program: what the kernels take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

StreamEncoding = Literal["values", "bits", "bytes", "codes"]
ENCODINGS: tuple[StreamEncoding, ...] = ("values", "bits", "bytes", "codes")
"""How a stream lies in memory, in the order of native/kernels/chunk.h; codes, of 0..255, are results alone."""

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
"""In the order of native/kernels/chunk.h, where they are stated."""


class ChunkInstruction(NamedTuple):
    """One operation; `value` is that of a constant."""

    operation: str
    operands: tuple[int, ...] = ()
    value: float = 0.0


@dataclass(frozen=True)
class ChunkProgram:
    """What is computed at each step.

    Attributes:
        streams: how each lies.
        after: of each state, the register that it becomes.
        rows: how many.
        results: registers that are written out at each step, and how they lie.
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
    """The arguments of `_native.Chunk`."""

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
