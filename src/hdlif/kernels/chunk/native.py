"""Chunks of a step in one pass over memory each way, by the compiled kernels, on a CPU.

The program of a step (`equations.chunk_program`) runs on a block of neurons at a time, all steps of the chunk, so that
states and gradients stay in the cache; blocks are shared out to as many threads as PyTorch has, at most 16, and small
chunks to fewer (where a step's bits fill no whole number of bytes, to one). Values are bit for bit those of PyTorch's
operations, and the same bytes are saved. The gradient of a row is summed over the steps that share it in the dtype of
the states, and over neurons in float64, in an order that does not depend on the number of threads.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from hdlif import _native
from hdlif.equations import Needs, Saving, Source, Value, WrittenStep
from hdlif.equations.chunk_program import Backward, Levels, StreamEncoding, encoded, forward
from hdlif.errors import EquationError
from hdlif.kernels.chunk.places import Place
from hdlif.kernels.chunk.plan import BackwardCall, ForwardCall, Numbers, Plan, Rows, are_columns

MOST_LAYOUTS = 64
"""That a program keeps, of chunks of so many lengths and batches."""
MOST_REGISTERS = 1024
"""Of a program: `kMaxChunkRegisters` in native/kernels/chunk.h."""
_DTYPES = (torch.float32, torch.float64)


class NativeStep:
    """Runs chunks of a step.

    Args:
        step: as it is written.
        instruction_set: whose kernels; "" are the best ones of this machine.
    """

    def __init__(self, step: WrittenStep, instruction_set: str = "") -> None:
        self.step, self.instruction_set = step, instruction_set
        self._plans: dict[tuple[Needs, bool], _Plan | None] = {}

    def __reduce__(self) -> tuple[type[NativeStep], tuple[WrittenStep, str]]:
        return NativeStep, (self.step, self.instruction_set)

    def plan(self, needs: Needs, steps: int) -> _Plan | None:
        """How a chunk is run, made once.

        None where a surrogate is no program and its argument is not saved, and where a program is too long.
        """
        key = needs, steps == 1
        if key not in self._plans:
            try:
                self._plans[key] = _Plan(Saving(self.step, needs, steps == 1), self.instruction_set)
            except EquationError:
                self._plans[key] = None
        return self._plans[key]


def serves(current: Tensor, states: Sequence[Tensor], rows: Sequence[Any]) -> bool:
    """Whether a chunk is one for these kernels: plain tensors in this process's memory, and rows in columns."""
    return current.is_cpu and current.dtype in _DTYPES and are_columns(current, states, rows)


class _Plan(Plan):
    """The compiled programs of one way to run a step.

    Attributes:
        layout: that of a kind of call, made once, and kept while it is one of the last.
    Raises:
        EquationError: what is asked for cannot be run back, or a program is too long.
    """

    def __init__(self, saving: Saving, instruction_set: str) -> None:
        super().__init__(saving)
        programs = [self.forward, *([self.backward(adds_currents=False).program] if saving.live else [])]
        # Where currents are added up, that takes one more and their sum.
        if any(one.registers > MOST_REGISTERS - 2 for one in programs):
            raise EquationError(f"the step takes more than {MOST_REGISTERS} registers")
        self._compiled_forward = _native.Chunk(**encoded(self.forward))
        self._compiled_codes = lru_cache(lambda levels: _native.Chunk(**encoded(forward(saving, (), levels))))
        self._compiled_backward = lru_cache(
            lambda adds_currents: _native.Chunk(**encoded(self.backward(adds_currents=adds_currents).program))
        )
        self._instruction_set = instruction_set
        self.layout = lru_cache(MOST_LAYOUTS)(self._layout)

    def _layout(self, kind: _ForwardKind | _BackwardKind) -> _native.ChunkLayout:
        if isinstance(kind, _ForwardKind):
            compiled = self._compiled_forward if kind.levels is None else self._compiled_codes(kind.levels)
            return _forward_layout(self, kind).compiled(compiled, self._instruction_set)
        made = self.backward(adds_currents=kind.adds_currents)
        chunk = self._compiled_backward(kind.adds_currents)
        return _backward_layout(self, kind, made).compiled(chunk, self._instruction_set)

    def run_forward(self, call: ForwardCall) -> None:
        dtype = call.current.dtype
        kind = _ForwardKind(call.steps, call.place, dtype, call.current.shape[0], call.rows.key, tuple(call.computed))
        rows = _tensors_of(call.rows, dtype)
        tensors = [call.current, *call.states, *rows, call.spikes, *call.after, *call.computed.values()]
        self.layout(kind).run([one.data_ptr() for one in tensors], torch.get_num_threads())

    def run_codes(self, call: ForwardCall, levels: Levels) -> bool:
        """As `run_forward`, with codes in place of the spikes, and nothing saved; whether all of them are codes."""
        dtype = call.current.dtype
        kind = _ForwardKind(call.steps, call.place, dtype, call.current.shape[0], call.rows.key, (), levels)
        tensors = [call.current, *call.states, *_tensors_of(call.rows, dtype), call.spikes, *call.after]
        return self.layout(kind).run([one.data_ptr() for one in tensors], torch.get_num_threads())

    def run_backward(self, call: BackwardCall, made: Backward) -> list[Tensor]:
        kind = _BackwardKind(
            call.steps,
            call.place,
            call.dtype,
            call.adds_currents,
            None if call.spikes is None else call.spikes.shape[0],
            tuple(one is not None for one in call.arriving),
            tuple(
                one.shape[0]
                for one, source in zip(call.saved, self.slots(call.steps).found, strict=True)
                if source.place == "current"
            ),
            call.rows.key,
        )
        kinds = [call.rows.key[made.rows.index(row)] for row in made.summed]
        sums = [torch.empty(count, columns, dtype=call.dtype) for (columns, _), count in kinds]
        slopes = [one for of_argument in call.slopes for one in of_argument.values()]
        rows = _tensors_of(call.rows, call.dtype)
        tensors = (call.spikes, *call.saved, *slopes, *rows, *call.arriving, call.current, *call.states, *sums)
        self.layout(kind).run([one.data_ptr() for one in tensors if one is not None], torch.get_num_threads())
        return sums


def _tensors_of(rows: Rows, dtype: torch.dtype) -> list[Tensor]:
    return [row if isinstance(row, Tensor) else torch.tensor([row], dtype=dtype) for row in rows.values]


class _Layout:
    """Where a program finds what it is given at each step: in which tensor of the call's, and where in it."""

    def __init__(self, place: Place, dtype: torch.dtype, steps: int) -> None:
        self.place, self.dtype, self.steps = place, dtype, steps
        self.tables = {name: list[Numbers]() for name in ("streams", "results", "rows", "before", "after", "sums")}
        self.row_columns: list[tuple[int, int]] = []
        self.sum_columns: list[tuple[int, int]] = []
        self.sum_rows: list[Numbers] = []
        self.sum_counts: list[int] = []
        self._tensors = -1

    def tensor(self) -> int:
        """The number of the next tensor of the call's."""
        self._tensors += 1
        return self._tensors

    def nothing(self, table: str) -> None:
        """Zeros where it is read, nowhere where it is written."""
        self.add(table, -1, 0, np.zeros(self.steps, np.int64))

    def add(self, table: str, tensor: int | Numbers, factor: int | Numbers, offsets: Numbers) -> None:
        """Addresses: factor times the tensor's, and the offset."""
        self.tables[table].append(np.stack(np.broadcast_arrays(tensor, factor, offsets), axis=-1))

    def length(self, encoding: StreamEncoding = "values") -> int:
        """From one row to the next: bytes, or bits."""
        return self.place.entries * (self.dtype.itemsize if encoding == "values" else 1)

    def values(self, table: str, rows: int, *, is_reversed: bool = False) -> None:
        """The next tensor, of values with a row for each step, or one for all."""
        offsets = self.length() * _steps_of(rows, self.steps)
        self.add(table, self.tensor(), 1, offsets[::-1] if is_reversed else offsets)

    def row(self, columns: tuple[int, int], rows: int, *, is_reversed: bool = False) -> None:
        """The next tensor, a row of the program."""
        offsets = columns[0] * self.dtype.itemsize * _steps_of(rows, self.steps)
        self.add("rows", self.tensor(), 1, offsets[::-1] if is_reversed else offsets)
        self.row_columns.append(columns)

    def state(self, table: str, *, is_there: bool = True) -> None:
        """The next tensor, a state."""
        self.add(table, self.tensor() if is_there else -1, 1 if is_there else 0, np.zeros(1, np.int64))

    def sum(self, columns: tuple[int, int], rows: int) -> None:
        """The next tensor, sums of the steps from the last one on."""
        self.add("sums", self.tensor(), 1, np.zeros(1, np.int64))
        self.sum_columns.append(columns)
        self.sum_rows.append(_steps_of(rows, self.steps)[::-1])
        self.sum_counts.append(rows)

    def compiled(self, chunk: _native.Chunk, instruction_set: str) -> _native.ChunkLayout:
        return _native.ChunkLayout(
            chunk,
            is_double=self.dtype == torch.float64,
            steps=self.steps,
            entries=self.place.entries,
            **{name: np.concatenate(parts or [np.zeros((0, 3), np.int64)]) for name, parts in self.tables.items()},
            row_columns=_numbers(self.row_columns),
            sum_columns=_numbers(self.sum_columns),
            sum_rows=_numbers(self.sum_rows),
            sum_counts=_numbers(self.sum_counts),
            instruction_set=instruction_set,
        )


class _ForwardKind(NamedTuple):
    """What tells calls of the forward pass apart: how many rows its tensors have, and which values are saved."""

    steps: int
    place: Place
    dtype: torch.dtype
    currents: int
    rows: tuple[tuple[tuple[int, int], int], ...]
    computed: tuple[Value, ...]
    levels: Levels | None = None


def _forward_layout(plan: _Plan, call: _ForwardKind) -> _Layout:
    steps, states = call.steps, len(plan.saving.program.states)
    layout = _Layout(call.place, call.dtype, steps)
    layout.values("streams", call.currents)
    for _ in range(states):
        layout.state("before")
    for columns, count in call.rows:
        layout.row(columns, count)
    if call.levels is None:
        layout.values("results", steps)
    else:
        layout.add("results", layout.tensor(), 1, call.place.entries * np.arange(steps))
    for _ in range(states):
        layout.state("after")
    if call.levels is not None:
        return layout
    slots = plan.slots(steps)
    found = dict(zip(slots.found, zip(slots.encodings, slots.counts, strict=True), strict=True))
    computed = {value: layout.tensor() for value in call.computed}
    for value in plan.outputs:
        if value not in computed:
            layout.nothing("results")
            continue
        encoding, count = found[Source("computed", value, 0)]
        is_saved = np.arange(steps) < count
        offsets = layout.length(encoding) * np.arange(steps) * is_saved
        factor = (8 if encoding == "bits" else 1) * is_saved
        layout.add("results", np.where(is_saved, computed[value], -1), factor, offsets)
    return layout


class _BackwardKind(NamedTuple):
    """What tells calls of the backward pass apart: how many rows its tensors have, and which there are."""

    steps: int
    place: Place
    dtype: torch.dtype
    adds_currents: bool
    spikes: int | None
    arriving: tuple[bool, ...]
    currents: tuple[int, ...]
    rows: tuple[tuple[tuple[int, int], int], ...]


def _backward_layout(plan: _Plan, call: _BackwardKind, made: Backward) -> _Layout:
    layout, slots, saving = _Layout(call.place, call.dtype, call.steps), plan.slots(call.steps), plan.saving
    if call.spikes is None:
        layout.nothing("streams")
    else:
        layout.values("streams", call.spikes, is_reversed=True)
    saved = [layout.tensor() for _ in slots.found]

    def stream(i: int, tensors: dict[int, int], later: StreamEncoding) -> None:
        """Value i of those that are kept; where it lies as in most steps, and where not, by the negated address."""
        tensor, factor, offsets = (np.zeros(call.steps, np.int64) for _ in range(3))
        for slot, is_here in slots.parts[i]:
            encoding, sign = slots.encodings[slot], 1 if slots.encodings[slot] == later else -1
            is_one = slots.found[slot].place == "current" and call.currents == (1,)
            tensor[is_here], factor[is_here] = tensors[slot], sign * (8 if encoding == "bits" else 1)
            offsets[is_here] = sign * layout.length(encoding) * (0 if is_one else slots.rows[i][is_here])
        layout.add("streams", tensor[::-1], factor[::-1], offsets[::-1])

    for i in range(len(saving.kept)):
        stream(i, dict(enumerate(saved)), made.program.streams[1 + i])
    for _, i in made.surrogates:
        stream(i, {slot: layout.tensor() for slot, _ in slots.parts[i]}, "values")
    for columns, count in call.rows:
        layout.row(columns, count, is_reversed=True)
    for is_there in call.arriving:
        layout.state("before", is_there=is_there)
    gives_current = saving.needs.current and 0 in saving.live
    if gives_current and call.adds_currents:
        layout.state("before", is_there=False)
        current = layout.tensor()
    elif gives_current:
        layout.values("results", call.steps, is_reversed=True)
    for need in saving.needs.states:
        layout.state("after", is_there=need)
    if gives_current and call.adds_currents:
        layout.add("after", current, 1, np.zeros(1, np.int64))
    for row in made.summed:
        layout.sum(*call.rows[made.rows.index(row)])
    return layout


def _steps_of(rows: int, steps: int) -> Numbers:
    """Which of `rows` rows is that of each step."""
    return np.arange(steps) if rows == steps else np.zeros(steps, np.int64)


def _numbers(values: Any) -> Numbers:
    return np.array(values, np.int64).ravel()
