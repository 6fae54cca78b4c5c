"""The text of a kernel, from the program of a step."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from hdlif.equations.chunk_program import ChunkInstruction, ChunkProgram, StreamEncoding

RowKind = Literal["number", "one", "one a step", "columns", "columns a step"]
"""How a row is given: a number, or values for all entries or for columns of them, the same at all steps or not."""

Written = Literal["nowhere", "at all steps", "at first steps"]
"""Where a result is written: a value that is read a step later alone is not at the last step."""

_EXPRESSIONS = {
    "add": "{0} + {1}",
    "subtract": "{0} - {1}",
    "multiply": "{0} * {1}",
    # "/" is no division to the nearest number on every device.
    "divide": "tl.div_rn({0}, {1})",
    # 0 - x would be 0 where x is, and not -0.
    "negative": "{0} * -1.0",
    "absolute": "tl.abs({0})",
    # tl.floor takes subnormal numbers for 0 on some devices.
    "floor": "floor({0})",
    "relu": "tl.where({0} <= 0.0, 0.0, {0})",
    "smaller": "tl.where({0} < {1}, {0}, tl.where({1} <= {0}, {1}, {0} + {1}))",
    "larger": "tl.where({0} > {1}, {0}, tl.where({1} >= {0}, {1}, {0} + {1}))",
    "smaller number": "tl.where(({0} <= {1}) | ({1} != {1}), {0}, {1})",
    "larger number": "tl.where(({0} >= {1}) | ({1} != {1}), {0}, {1})",
    "greater": "tl.where({0} > {1}, 1.0, 0.0)",
    "greater_equal": "tl.where({0} >= {1}, 1.0, 0.0)",
    "select": "tl.where({0} != 0.0, {1}, {2})",
}
"""What native/kernels/chunk.h states."""


# From 2**23 on every number is whole; -0 is its own floor.
_FUNCTIONS = """\
@triton.jit
def add(a, b):
    return a + b


@triton.jit
def floor(x):
    is_whole = (tl.abs(x) >= 8388608.0) | (x != x)
    cut = tl.where(is_whole, 0.0, x).to(tl.int32).to(tl.float32)
    return tl.where(is_whole | (cut == x), x, tl.where(cut > x, cut - 1.0, cut))


"""


class Part(NamedTuple):
    """Where a stream is found at a step.

    Attributes:
        tensor: which of the kernel's.
        encoding: how it lies there.
        delay: its row is that of so many steps before; None: there is one row for all steps.
    """

    tensor: int
    encoding: StreamEncoding
    delay: int | None


class Kernel(NamedTuple):
    """A program, and how it is given what it reads and writes.

    Attributes:
        is_reversed: whether it begins with the last step.
        streams: of each the parts of steps 0, 1, ..., the last one that of all further steps; () are zeros.
        before, after: which there are; the states before are zeros where not.
        rows: how each is given.
        results: where each is written.
        sums: of each whether it is one for all steps.
    """

    program: ChunkProgram
    is_reversed: bool
    streams: tuple[tuple[Part, ...], ...]
    before: tuple[bool, ...]
    rows: tuple[RowKind, ...]
    results: tuple[Written, ...]
    after: tuple[bool, ...]
    sums: tuple[bool, ...]

    def arguments(self) -> tuple[str, ...]:
        """The names of what it is called with.

        Tensors: `stream` (those that parts name), `before`, `row` (where it is no number), `result`, `after`, and
        `sum` [K or 1, entries / segment]. Numbers: of each result that is written at the first steps how many they are
        (`written`), of each row of columns what `Place.columns` says of it (`columns`, `inner`), `steps` and
        `entries`. Constants: `segment`, how many entries are summed to one, a power of two, and `BLOCK`.
        """
        tensors = sorted({part.tensor for parts in self.streams for part in parts})
        columns = _places([kind.startswith("columns") for kind in self.rows])
        return (
            *(f"stream{i}" for i in tensors),
            *(f"before{i}" for i in _places(self.before)),
            *(f"row{i}" for i in range(len(self.rows))),
            *(f"result{i}" for i, written in enumerate(self.results) if written != "nowhere"),
            *(f"after{i}" for i in _places(self.after)),
            *(f"sum{i}" for i in range(len(self.sums))),
            *(f"written{i}" for i, written in enumerate(self.results) if written == "at first steps"),
            *(name for i in columns for name in (f"columns{i}", f"inner{i}")),
            "steps",
            "entries",
            *(f"segment{i}" for i in range(len(self.sums))),
            "BLOCK",
        )


def source(kernel: Kernel) -> str:
    """The text of a module in which `chunk` is the kernel; entries are a multiple of 8 where a stream lies in bits."""
    names = kernel.arguments()
    constants = [name for name in names if name == "BLOCK" or name.startswith("segment")]
    # One kernel for chunks of all lengths.
    lengths = [name for name in names if name == "steps" or name.startswith("written")]
    given = ", ".join(f"{name}: tl.constexpr" if name in constants else name for name in names)
    lines = [
        "import triton",
        "import triton.language as tl",
        "",
        "",
        *_FUNCTIONS.splitlines(),
        f"@triton.jit(do_not_specialize={lengths})",
        f"def chunk({given}):",
        *(f"    {line}" for line in _before(kernel)),
        "    for passed in range(steps):",
        f"        k = {'steps - 1 - passed' if kernel.is_reversed else 'passed'}",
        *(f"        {line}" for line in _step(kernel)),
        *(f"    {line}" for line in _behind(kernel)),
    ]
    return "\n".join(lines) + "\n"


def _before(kernel: Kernel) -> Iterator[str]:
    """What is the same at all steps."""
    program = kernel.program
    first_state = len(program.streams)
    first_row = first_state + len(program.after)
    yield "block = tl.program_id(0)"
    yield "at = block * BLOCK + tl.arange(0, BLOCK)"
    yield "there = at < entries"
    yield "length = tl.cast(entries, tl.int64)"
    if any(encoding == "bits" for encoding in (*program.streams, *(encoding for _, encoding in program.results))):
        yield "byte = block * (BLOCK // 8) + tl.arange(0, BLOCK // 8)"
        yield "byte_there = byte < entries // 8"
    for i, parts in enumerate(kernel.streams):
        if not parts:
            yield f"r{i} = tl.full([BLOCK], 0.0, tl.float32)"
        elif _is_one(parts):
            yield f"r{i} = {_load(parts[0])}"
    for i, kind in enumerate(kernel.rows):
        yield from _row(i, kind, first_row + i)
    for i, instruction in enumerate(program.instructions, first_row + program.rows):
        if instruction.operation == "constant":
            yield f"r{i} = tl.full([BLOCK], {_number(instruction.value)}, tl.float32)"
    for i, is_there in enumerate(kernel.before):
        start = f"tl.load(before{i} + at, mask=there, other=0.0)" if is_there else "tl.full([BLOCK], 0.0, tl.float32)"
        yield f"state{i} = {start}"
    for i, is_shared in enumerate(kernel.sums):
        yield f"part{i} = block * (BLOCK // segment{i}) + tl.arange(0, BLOCK // segment{i})"
        yield f"parts{i} = (length + segment{i} - 1) // segment{i}"
        if is_shared:
            yield f"total{i} = tl.full([BLOCK], 0.0, tl.float32)"


def _row(i: int, kind: RowKind, register: int) -> Iterator[str]:
    if kind.startswith("columns"):
        yield f"column{i} = at // inner{i} % columns{i}"
    match kind:
        case "number":
            yield f"r{register} = tl.full([BLOCK], row{i}, tl.float32)"
        case "one":
            yield f"r{register} = tl.full([BLOCK], tl.load(row{i}), tl.float32)"
        case "columns":
            yield f"r{register} = tl.load(row{i} + column{i}, mask=there, other=0.0)"


def _step(kernel: Kernel) -> Iterator[str]:
    program = kernel.program
    first_state = len(program.streams)
    first_row = first_state + len(program.after)
    for i, parts in enumerate(kernel.streams):
        if parts and not _is_one(parts):
            yield from _stream(f"r{i}", parts)
    for i in range(len(program.after)):
        yield f"r{first_state + i} = state{i}"
    for i, kind in enumerate(kernel.rows):
        if kind == "one a step":
            yield f"r{first_row + i} = tl.full([BLOCK], tl.load(row{i} + k), tl.float32)"
        elif kind == "columns a step":
            row = f"row{i} + tl.cast(columns{i}, tl.int64) * k + column{i}"
            yield f"r{first_row + i} = tl.load({row}, mask=there, other=0.0)"
    for i, instruction in enumerate(program.instructions, first_row + program.rows):
        if instruction.operation != "constant":
            yield f"r{i} = {_expression(instruction)}"
    for i, (written, (register, encoding)) in enumerate(zip(kernel.results, program.results, strict=True)):
        if written == "at all steps":
            yield from _store(i, register, encoding)
        elif written == "at first steps":
            yield f"if k < written{i}:"
            yield from (f"    {line}" for line in _store(i, register, encoding))
    for i, (register, is_shared) in enumerate(zip(program.summed, kernel.sums, strict=True)):
        yield f"total{i} = total{i} + r{register}" if is_shared else _store_sum(i, f"r{register}", "k")
    for i, register in enumerate(program.after):
        yield f"state{i} = r{register}"


def _behind(kernel: Kernel) -> Iterator[str]:
    for i in _places(kernel.after):
        yield f"tl.store(after{i} + at, state{i}, mask=there)"
    for i, is_shared in enumerate(kernel.sums):
        if is_shared:
            yield _store_sum(i, f"total{i}", "0")


def _expression(instruction: ChunkInstruction) -> str:
    return _EXPRESSIONS[instruction.operation].format(*(f"r{operand}" for operand in instruction.operands))


def _is_one(parts: Sequence[Part]) -> bool:
    return len(parts) == 1 and parts[0].delay is None


def _stream(name: str, parts: Sequence[Part]) -> Iterator[str]:
    *first, last = parts
    for k, part in enumerate(first):
        yield f"{'elif' if k else 'if'} k == {k}:"
        yield f"    {name} = {_load(part)}"
    if first:
        yield "else:"
    yield f"{'    ' if first else ''}{name} = {_load(last)}"


def _load(part: Part) -> str:
    length = "length // 8" if part.encoding == "bits" else "length"
    step = f"(k - {part.delay})" if part.delay else "k"
    start = f"stream{part.tensor}" + ("" if part.delay is None else f" + {length} * {step}")
    match part.encoding:
        case "bits":
            return f"(tl.load({start} + at // 8, mask=there, other=0).to(tl.int32) >> at % 8 & 1).to(tl.float32)"
        case "bytes":
            return f"tl.load({start} + at, mask=there, other=0).to(tl.float32)"
        case _:
            return f"tl.load({start} + at, mask=there, other=0.0)"


def _store(i: int, register: int, encoding: StreamEncoding) -> Iterator[str]:
    if encoding == "bits":
        yield f"ones = tl.reshape((r{register} != 0.0).to(tl.int32), [BLOCK // 8, 8]) << tl.arange(0, 8)[None, :]"
        value = "tl.reduce(ones, 1, add).to(tl.uint8)"
        yield f"tl.store(result{i} + length // 8 * k + byte, {value}, mask=byte_there)"
    else:
        value = f"r{register}.to(tl.int32).to(tl.int8)" if encoding == "bytes" else f"r{register}"
        yield f"tl.store(result{i} + length * k + at, {value}, mask=there)"


def _store_sum(i: int, value: str, row: str) -> str:
    """Each `segment` entries that follow on each other to one number."""
    parts = f"tl.reshape(tl.where(there, {value}, 0.0), [BLOCK // segment{i}, segment{i}])"
    return f"tl.store(sum{i} + parts{i} * {row} + part{i}, tl.reduce({parts}, 1, add), mask=part{i} < parts{i})"


def _number(value: float) -> str:
    """As it is written in Python without names."""
    if math.isnan(value):
        return "1e999 - 1e999"
    return repr(value).replace("inf", "1e999")


def _places(which: Sequence[bool]) -> tuple[int, ...]:
    return tuple(i for i, one in enumerate(which) if one)
