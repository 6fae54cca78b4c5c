"""Address tables, which the compiled kernels use to locate the tensors of a chunk at each step."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from hdlif import _native
from hdlif.graph.equations import Saving, Source, Value
from hdlif.graph.equations.chunk_program import Backward, Levels, StreamEncoding, encoding_of
from hdlif.nn.kernels.chunk.places import Place

Numbers = NDArray[np.int64]


class Slots(NamedTuple):
    """The locations of the values that a chunk saves.

    Attributes:
        found: the tensors; each has rows of one value, computed or given.
        encodings, counts: the encoding of each tensor, and its number of saved rows.
        rows: the row of each value at each step in its tensor, [kept, K].
        parts: for each value its tensors, and the steps that each tensor covers.
    """

    found: tuple[Source, ...]
    encodings: tuple[StreamEncoding, ...]
    counts: tuple[int, ...]
    rows: Numbers
    parts: tuple[tuple[tuple[int, NDArray[np.bool_]], ...], ...]


def slots_of(saving: Saving, steps: int) -> Slots:
    """Return the locations of the values that a chunk of `steps` steps saves."""
    found: dict[Source, int] = {}
    slots, rows = (np.zeros((len(saving.kept), steps), np.int64) for _ in range(2))
    for k, of_step in enumerate(saving.sources(steps)):
        for i, source in enumerate(of_step):
            slots[i, k] = found.setdefault(source._replace(step=0), len(found))
            rows[i, k] = source.step
    encodings = tuple(encoding_of(saving, source.value) if source.place == "computed" else "values" for source in found)
    counts = tuple(int(rows[slots == slot].max()) + 1 for slot in found.values())
    parts = tuple(tuple((slot, of == slot) for slot in np.unique(of).tolist()) for of in slots)
    return Slots(tuple(found), encodings, counts, rows, parts)


class Layout:
    """The address tables of a program for one kind of call, with a tensor number and an offset for each step."""

    def __init__(self, place: Place, dtype: torch.dtype, steps: int) -> None:
        self.place, self.dtype, self.steps = place, dtype, steps
        self.tables = {name: list[Numbers]() for name in ("streams", "results", "rows", "before", "after", "sums")}
        self.row_columns: list[tuple[int, int]] = []
        self.sum_columns: list[tuple[int, int]] = []
        self.sum_rows: list[Numbers] = []
        self.sum_counts: list[int] = []
        self._tensors = -1

    def tensor(self) -> int:
        """Return the index of the next tensor of the call."""
        self._tensors += 1
        return self._tensors

    def nothing(self, table: str) -> None:
        """Add an empty entry: reads return zeros, and writes have no effect."""
        self.add(table, -1, 0, np.zeros(self.steps, np.int64))

    def add(self, table: str, tensor: int | Numbers, factor: int | Numbers, offsets: Numbers) -> None:
        """Add one address per step to a table: `factor` times the tensor's address, plus an offset."""
        self.tables[table].append(np.stack(np.broadcast_arrays(tensor, factor, offsets), axis=-1))

    def length(self, encoding: StreamEncoding = "values") -> int:
        """Return the distance between adjacent rows, in bits for the encoding "bits" and in bytes otherwise."""
        return self.place.entries * (self.dtype.itemsize if encoding == "values" else 1)

    def values(self, table: str, rows: int, *, is_reversed: bool = False) -> None:
        """Add the next tensor, with one row of values per step or one row for all steps."""
        offsets = self.length() * _steps_of(rows, self.steps)
        self.add(table, self.tensor(), 1, offsets[::-1] if is_reversed else offsets)

    def row(self, columns: tuple[int, int], rows: int, *, is_reversed: bool = False) -> None:
        """Add the next tensor, which contains a parameter row of the program."""
        offsets = columns[0] * self.dtype.itemsize * _steps_of(rows, self.steps)
        self.add("rows", self.tensor(), 1, offsets[::-1] if is_reversed else offsets)
        self.row_columns.append(columns)

    def state(self, table: str, *, is_there: bool = True) -> None:
        """Add the next tensor, which contains a state."""
        self.add(table, self.tensor() if is_there else -1, 1 if is_there else 0, np.zeros(1, np.int64))

    def sum(self, columns: tuple[int, int], rows: int) -> None:
        """Add the next tensor, which accumulates sums over the steps in reverse order."""
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


class ForwardKind(NamedTuple):
    """The properties of a forward call that determine its layout."""

    steps: int
    place: Place
    dtype: torch.dtype
    currents: int
    rows: tuple[tuple[tuple[int, int], int], ...]
    computed: tuple[Value, ...]
    levels: Levels | None = None


def forward_layout(saving: Saving, slots: Slots, call: ForwardKind, outputs: tuple[Value, ...]) -> Layout:
    """Return the layout of the forward pass.

    Args:
        outputs: the values that the program may save.
    """
    steps, states = call.steps, len(saving.program.states)
    layout = Layout(call.place, call.dtype, steps)
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
    found = dict(zip(slots.found, zip(slots.encodings, slots.counts, strict=True), strict=True))
    computed = {value: layout.tensor() for value in call.computed}
    for value in outputs:
        if value not in computed:
            layout.nothing("results")
            continue
        encoding, count = found[Source("computed", value, 0)]
        is_saved = np.arange(steps) < count
        offsets = layout.length(encoding) * np.arange(steps) * is_saved
        factor = (8 if encoding == "bits" else 1) * is_saved
        layout.add("results", np.where(is_saved, computed[value], -1), factor, offsets)
    return layout


class BackwardKind(NamedTuple):
    """The properties of a backward call that determine its layout."""

    steps: int
    place: Place
    dtype: torch.dtype
    adds_currents: bool
    spikes: int | None
    arriving: tuple[bool, ...]
    currents: tuple[int, ...]
    rows: tuple[tuple[tuple[int, int], int], ...]


def backward_layout(saving: Saving, slots: Slots, call: BackwardKind, made: Backward) -> Layout:
    """Return the layout of the backward pass, whose steps run in reverse."""
    layout = Layout(call.place, call.dtype, call.steps)
    if call.spikes is None:
        layout.nothing("streams")
    else:
        layout.values("streams", call.spikes, is_reversed=True)
    saved = [layout.tensor() for _ in slots.found]

    def stream(i: int, tensors: dict[int, int], later: StreamEncoding) -> None:
        """Add saved value i, with negated addresses for steps that store the value in a different encoding."""
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
    """Return the row that each step uses, given the number of rows."""
    return np.arange(steps) if rows == steps else np.zeros(steps, np.int64)


def _numbers(values: Any) -> Numbers:
    return np.array(values, np.int64).ravel()
