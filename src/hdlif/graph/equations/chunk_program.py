"""Forward and backward programs that the native kernels run for each step of a chunk.

`forward` computes a step's results and the values saved for the backward pass. `backward` computes the gradients of a
step's inputs from the gradients of the results and the saved values. The registers of a program contain streams,
states, rows and the results of instructions, in this order. A stream has one value per neuron and step. States are
passed to the step that runs next. In `backward`, the states are the gradients of the neuron's states.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from hdlif.errors import EquationError
from hdlif.graph.equations.literal_step import WrittenStep
from hdlif.graph.equations.program import Instruction
from hdlif.graph.equations.saving import Saving, Value, ways
from hdlif.graph.equations.tracing import trace_written

StreamEncoding = Literal["values", "bits", "bytes", "codes"]
ENCODINGS: tuple[StreamEncoding, ...] = ("values", "bits", "bytes", "codes")
"""Memory layouts of streams, in the order of native/kernels/chunk.h. Only results are codes, in 0..255."""

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
"""Operations, in the order of native/kernels/chunk.h, which defines them."""


class ChunkInstruction(NamedTuple):
    """An operation on registers, or the constant `value`."""

    operation: str
    operands: tuple[int, ...] = ()
    value: float = 0.0


@dataclass(frozen=True)
class ChunkProgram:
    """The computation of each step in a chunk.

    Attributes:
        streams: the layout of each stream.
        after: the register of each state after the step.
        rows: number of rows.
        results: registers written at each step, with their layouts.
        summed: registers summed to rows.
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
    """Convert a program to the arguments of `_native.Chunk`."""
    return {
        "streams": [ENCODINGS.index(encoding) for encoding in program.streams],
        "after": list(program.after),
        "rows": program.rows,
        "instructions": [
            (OPERATIONS.index(one.operation), *(*one.operands, 0, 0, 0)[:3], one.value) for one in program.instructions
        ],
        "results": [(register, ENCODINGS.index(encoding)) for register, encoding in program.results],
        "summed": list(program.summed),
    }


class Writing:
    """A writer that emits each instruction only once."""

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
    """A writer of instructions that compute the values (`saving.Value`) of a literal step.

    Attributes:
        at: the register of each value.
    """

    def __init__(self, step: WrittenStep, write: Writing, at: dict[Value, int]) -> None:
        self._step, self._write, self.at = step, write, at

    def compute(self, values: Sequence[Value]) -> None:
        """Write the instructions that compute `values`, which must be in topological order."""
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
                extreme = "smaller" if instruction.operation == "minimum" else "larger"
                return write(f"{extreme} number" if instruction.form == "first" else extreme, *operands)
            case "multiply" if instruction.form == "divide":
                return write("divide", *operands)
            case "step":
                return write("greater_equal", operands[0], write.constant(0.0))
            case operation:
                return write(operation, *operands)

    def _small(self, value: Value, instruction: Instruction) -> int:
        """Write the instructions for a mask, a share or a sign (see `saving.Value`)."""
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
    """Return the memory layout of a saved value that a step computes."""
    if saving.are_bits(value):
        return "bits"
    return "bytes" if value.kind in ("share", "sign") else "values"


def later_encoding(saving: Saving, value: Value) -> StreamEncoding:
    """Return a saved value's memory layout at later steps, whose saved states were computed within the chunk."""
    source = saving.source(value, len(saving.program.states))
    return encoding_of(saving, source.value) if source.place == "computed" else "values"


class Backward(NamedTuple):
    """The backward program of a step, with descriptions of the program's inputs.

    Attributes:
        program: its streams are the gradient of the spike, `saving.kept`, then the surrogates' derivatives. Its states
            are the gradients of the neuron's states and, if summed, of the current. Its rows are `rows`; its result, if
            any, is the gradient of the current. Its sums are the gradients of `summed`.
        rows, summed: registers of the step's rows: rows to read, and rows to differentiate.
        surrogates: for each stream after `kept`, the surrogate and the position of its argument in `kept`.
    """

    program: ChunkProgram
    rows: tuple[int, ...]
    summed: tuple[int, ...]
    surrogates: tuple[tuple[Callable[..., Any], int], ...]


def backward(saving: Saving, *, adds_currents: bool = False) -> Backward:
    """Return the backward program of a step.

    Args:
        adds_currents: whether to sum the gradients of the current over the steps.
    Raises:
        EquationError: a surrogate has no program, and its argument is not saved unchanged.
    """
    return _Backwards(saving, adds_currents).made()


class _Backwards:
    def __init__(self, saving: Saving, adds_currents: bool) -> None:
        program = saving.program
        self._saving, self._program = saving, program
        rows = range(1 + len(program.states), program.first)
        self._rows = tuple(row for row in rows if row in saving.rows or row in saving.live)
        self._surrogates, self._given = self._surrogates_given()
        self._gives_current = saving.needs.current and 0 in saving.live
        self._adds_currents = adds_currents and self._gives_current
        self._streams = 1 + len(saving.kept) + len(self._given)
        states = len(program.states) + self._adds_currents
        signals = self._streams + states + len(self._rows)
        self._write = write = Writing(signals)
        at = {value: place for place, value in enumerate(saving.kept, 1)}
        at |= {Value(row): self._streams + states + place for place, row in enumerate(self._rows)}
        self._values = Values(saving.step, write, at)
        self._values.compute(saving.order(saving.read, list(at)))
        self._gradients: dict[int, int] = {}

    def _surrogates_given(self) -> tuple[dict[str, WrittenStep], dict[str, int]]:
        """Return the traced surrogates and, for all other surrogates, the positions of their arguments in `kept`."""
        traced, given = dict[str, WrittenStep](), dict[str, int]()
        saving, program = self._saving, self._program
        for register, instruction in enumerate(program.instructions, program.first):
            name = instruction.surrogate
            if name is None or register not in saving.live:
                continue
            try:
                traced[name] = _traced(saving.step.surrogates[name])
            except EquationError:
                argument = Value(instruction.operands[0])
                if argument not in saving.kept or name in given or later_encoding(saving, argument) != "values":
                    raise
                given[name] = saving.kept.index(argument)
        return traced, given

    def made(self) -> Backward:
        saving, program, write = self._saving, self._program, self._write
        for place, register in enumerate((program.spike, *program.after)):
            if register in saving.live and place not in saving.step.stopped:
                # The gradient of the spike is the first stream; gradients of states come from the next step.
                self._give(register, 0 if place == 0 else self._streams + place - 1)
        for register in range(program.registers - 1, program.first - 1, -1):
            if register in saving.live and register in self._gradients:
                self._back(program.instructions[register - program.first], register)
        after = [self._of(state) for state in range(1, 1 + len(program.states))]
        results: tuple[tuple[int, StreamEncoding], ...] = ()
        if self._adds_currents:
            after.append(write("add", self._streams + len(program.states), self._of(0)))
        elif self._gives_current:
            results = ((self._of(0), "values"),)
        summed = tuple(row for row in self._rows if row in saving.live)
        streams: list[StreamEncoding] = ["values", *(later_encoding(saving, value) for value in saving.kept)]
        streams += ["values" for _ in self._given]
        made = ChunkProgram(
            streams=tuple(streams),
            after=tuple(after),
            rows=len(self._rows),
            results=results,
            summed=tuple(self._of(row) for row in summed),
            instructions=write.instructions,
        )
        surrogates = tuple((saving.step.surrogates[name], place) for name, place in self._given.items())
        return Backward(made, self._rows, summed, surrogates)

    def _of(self, register: int) -> int:
        """Return the gradient of a register, which is 0 if no gradient flows back."""
        return self._gradients[register] if register in self._gradients else self._write.constant(0.0)

    def _give(self, register: int, gradient: int, *, negative: bool = False) -> None:
        before = self._gradients.get(register)
        if before is None:
            self._gradients[register] = self._write("negative", gradient) if negative else gradient
        else:
            self._gradients[register] = self._write("subtract" if negative else "add", before, gradient)

    def _back(self, instruction: Instruction, register: int) -> None:
        saving, write, at = self._saving, self._write, self._values.at
        gradient, operands = self._gradients[register], instruction.operands
        live = [place for place in ways(instruction) if operands[place] in saving.live]
        match instruction.operation:
            case "add":
                for place in live:
                    self._give(operands[place], gradient)
            case "subtract":
                for place in reversed(live):
                    self._give(operands[place], gradient, negative=place == 1)
            case "negative":
                self._give(operands[0], gradient, negative=True)
            case "multiply" if instruction.form == "divide":
                numerator, denominator = operands
                for place in live:
                    part = write("divide", gradient, at[Value(denominator)])
                    if place == 1:
                        part = write("divide", write("multiply", part, at[Value(numerator)]), at[Value(denominator)])
                    self._give(operands[place], part, negative=place == 1)
            case "multiply":
                for place in live:
                    self._give(operands[place], write("multiply", gradient, at[Value(operands[1 - place])]))
            case "absolute":
                self._give(operands[0], write("multiply", gradient, at[saving.sign(register)]))
            case "minimum" | "maximum" if instruction.form == "":
                half = write("multiply", write.constant(0.5), at[saving.shared(register)])
                first = write("multiply", gradient, half)
                for place in live:
                    self._give(operands[place], first if place == 0 else write("subtract", gradient, first))
            case "minimum" | "maximum":
                places = (1, 0) if instruction.form == "relu" else (0, 1)
                self._choose(gradient, at[saving.shared(register)], operands, live, places)
            case "select":
                self._choose(gradient, at[saving.chosen(register)], operands, live, (1, 2))
            case "step":
                assert instruction.surrogate is not None
                slope = self._slope(instruction.surrogate, at[Value(operands[0])])
                self._give(operands[0], write("multiply", gradient, slope))
            case operation:
                raise AssertionError(f"{operation} has no derivative")

    def _choose(
        self, gradient: int, chosen: int, operands: Sequence[int], live: Sequence[int], places: tuple[int, int]
    ) -> None:
        """Route the gradient to the first of two operands if the selector is not 0, otherwise to the second."""
        first, second = places
        zero = self._write.constant(0.0)
        if second in live:
            self._give(operands[second], self._write("select", chosen, zero, gradient))
        if first in live:
            self._give(operands[first], self._write("select", chosen, gradient, zero))

    def _slope(self, name: str, argument: int) -> int:
        """Return the register with the surrogate derivative of a step function."""
        if name in self._given:
            return 1 + len(self._saving.kept) + list(self._given).index(name)
        surrogate = self._surrogates[name]
        program = surrogate.program
        at = {Value(0): argument}
        at |= {Value(row): self._write.constant(source) for row, source in enumerate(surrogate.sources, 1)}
        values = Values(surrogate, self._write, at)
        values.compute([Value(register) for register in range(program.first, program.registers)])
        return values.at[Value(program.spike)]


def _traced(surrogate: Callable[..., Any]) -> WrittenStep:
    """Trace a surrogate's derivative as a function of the argument, or raise `EquationError`."""
    written = trace_written(lambda x: surrogate(x), states=(), rows={})
    if not all(isinstance(source, float) for source in written.sources):
        raise EquationError("the surrogate reads tensors of its own")
    return written


class Levels(NamedTuple):
    """The parameters that quantise spikes >= 0 to the codes min(⌊spike·inverse_step + offset⌋, largest)."""

    inverse_step: float
    offset: float
    largest: float


def forward(saving: Saving, saved: Sequence[Value], levels: Levels | None = None) -> ChunkProgram:
    """Return the forward program of a step.

    The program reads the current (a stream), the states and the rows, and computes the spike and the saved values.

    Args:
        saved: the values of a step that may be saved.
        levels: the levels of the codes that replace the spike.
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
