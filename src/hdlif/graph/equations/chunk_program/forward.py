"""What a step computes, and what is saved of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from hdlif.graph.equations.chunk_program.form import ChunkProgram, StreamEncoding
from hdlif.graph.equations.chunk_program.writing import Values, Writing, encoding_of
from hdlif.graph.equations.saving import Saving, Value


class Levels(NamedTuple):
    """Spikes of 0 or more as codes: min(⌊spike·inverse_step + offset⌋, largest)."""

    inverse_step: float
    offset: float
    largest: float


def forward(saving: Saving, saved: Sequence[Value], levels: Levels | None = None) -> ChunkProgram:
    """What a step computes.

    Its stream is the current, its results are the spike, and what is saved; its rows those of the step.

    Args:
        saved: what may be saved of a step.
        levels: of the codes that are given in place of the spike.
    """
    program = saving.program
    write = Writing(program.first)
    values = Values(saving.step, write, {Value(register): register for register in range(program.first)})
    results = [Value(register) for register in (program.spike, *program.after)]
    values.compute(saving.order((*results, *saved), list(values.at)))
    spike: tuple[int, StreamEncoding] = values.at[results[0]], "values"
    if levels is not None:
        level = write("multiply", spike[0], write.constant(levels.inverse_step))
        level = write("floor", write("add", level, write.constant(levels.offset)))
        spike = write("smaller", level, write.constant(levels.largest)), "codes"
    written = [spike, *((values.at[value], encoding_of(saving, value)) for value in saved)]
    return ChunkProgram(
        streams=("values",),
        after=tuple(values.at[value] for value in results[1:]),
        rows=len(program.rows),
        instructions=write.instructions,
        results=tuple(written),
    )
