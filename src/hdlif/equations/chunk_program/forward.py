"""What a step computes, and what is saved of it."""

from __future__ import annotations

from collections.abc import Sequence

from hdlif.equations.chunk_program.form import ChunkProgram
from hdlif.equations.chunk_program.writing import Values, Writing, encoding_of
from hdlif.equations.saving import Saving, Value


def forward(saving: Saving, saved: Sequence[Value]) -> ChunkProgram:
    """What a step computes.

    Its stream is the current, its results are the spike, and what is saved; its rows those of the step.

    Args:
        saved: what may be saved of a step.
    """
    program = saving.program
    write = Writing(program.first)
    values = Values(saving.step, write, {Value(register): register for register in range(program.first)})
    results = [Value(register) for register in (program.spike, *program.after)]
    values.compute(saving.order((*results, *saved), list(values.at)))
    written = [(values.at[results[0]], "values"), *((values.at[value], encoding_of(saving, value)) for value in saved)]
    return ChunkProgram(
        streams=("values",),
        after=tuple(values.at[value] for value in results[1:]),
        rows=len(program.rows),
        instructions=write.instructions,
        results=tuple(written),
    )
