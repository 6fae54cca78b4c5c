"""Chunks of a step in one pass over memory each way, by the compiled kernels, on a CPU.

The program of a step (`equations.chunk_program`) runs on a block of neurons at a time, all steps of the chunk, so that
states and gradients stay in the cache; blocks are shared out to as many threads as PyTorch has. Values are bit for bit
those of PyTorch's operations, and the same bytes are saved. The gradient of a row is summed in float64, in an order
that does not depend on the number of threads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hdlif import _native
from hdlif.equations import Needs, Saving, Source, Value, WrittenStep
from hdlif.equations.chunk_program import Backward, Lying, backward, encoded, forward, lying_of
from hdlif.errors import EquationError
from hdlif.kernels.chunk.places import Place

Numbers = NDArray[np.int64]
MOST_LAYOUTS = 64
"""That a program keeps, of chunks of so many lengths and batches."""
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

    def plan(self, needs: Needs, steps: int) -> _Plan | None:
        """How a chunk is run, made once; None where a surrogate is no program and its argument is not saved."""
        key = needs, steps == 1
        if key not in self._plans:
            try:
                self._plans[key] = _Plan(Saving(self.step, needs, steps == 1), self.instruction_set)
            except EquationError:
                self._plans[key] = None
        return self._plans[key]


def serves(current: Tensor, states: Sequence[Tensor], rows: Sequence[Any]) -> bool:
    """Whether a chunk is one for these kernels: plain tensors in this process's memory, and rows in columns."""
    dtype, place = current.dtype, Place.of(current)
    if dtype not in _DTYPES or not _is_plain(current):
        return False
    sizes = current.shape[1:]
    if not all(_is_plain(state) and state.dtype == dtype and state.shape == sizes for state in states):
        return False
    return all(not isinstance(row, Tensor) or (_is_plain(row) and place.columns(row) is not None) for row in rows)


def _is_plain(tensor: Tensor) -> bool:
    return (
        type(tensor) in (Tensor, torch.nn.Parameter)
        and tensor.is_cpu
        and tensor.layout == torch.strided
        and not torch._C._functorch.is_functorch_wrapped_tensor(tensor)
    )


def run(plan: _Plan, given: Sequence[Any], steps: int) -> tuple[Tensor, list[Tensor]]:
    """A chunk without a graph: spikes [K, B, ...], and the states after it."""
    chunk = _Forward(plan, given, steps, saves=False)
    return chunk.spikes, chunk.after


def run_with_graph(plan: _Plan, given: Sequence[Any], steps: int) -> tuple[Tensor, list[Tensor]]:
    """A chunk as one function of autograd."""
    spikes, *after = _Native.apply(plan, steps, *given)  # type: ignore[no-untyped-call]
    return spikes, after


class _Slots(NamedTuple):
    """Where the values that a chunk saves are found.

    Attributes:
        found: the tensors: each has rows of one value, computed or given.
        lyings, counts: how each lies, and how many of its rows are saved.
        rows: of each value and step, in which row of its tensor it is, [kept, K].
        parts: of each value the tensors that it is in, and at which steps.
    """

    found: tuple[Source, ...]
    lyings: tuple[Lying, ...]
    counts: tuple[int, ...]
    rows: Numbers
    parts: tuple[tuple[tuple[int, NDArray[np.bool_]], ...], ...]


class _Plan:
    """The compiled programs of one way to run a step.

    Attributes:
        saves_spikes: whether spikes that are saved are the tensor that is given away, as the layer behind may save it.
        outputs: what else may be saved of what a step computes.
        layouts: of each kind of call, made once.
    """

    def __init__(self, saving: Saving, instruction_set: str) -> None:
        self.saving, self.instruction_set = saving, instruction_set
        program = saving.program
        # More steps than a value may lie back.
        found = {source for of_step in saving.sources(len(program.states) + 2) for source in of_step}
        self.saves_spikes = program.spike >= program.first and program.spike not in program.after
        given_away = {Value(program.spike)} if self.saves_spikes else set()
        self.outputs = tuple(sorted({source.value for source in found if source.place == "computed"} - given_away))
        self.forward = _native.Chunk(**encoded(forward(saving, self.outputs)))
        self.layouts: dict[object, _native.ChunkLayout] = {}
        self._backwards: dict[bool, tuple[Backward, _native.Chunk]] = {}
        self._slots: dict[int, _Slots] = {}
        if saving.live:
            # So that what cannot be run back is known before it is run.
            self.backward(adds_currents=False)

    def backward(self, *, adds_currents: bool) -> tuple[Backward, _native.Chunk]:
        if adds_currents not in self._backwards:
            made = backward(self.saving, adds_currents=adds_currents)
            self._backwards[adds_currents] = made, _native.Chunk(**encoded(made.program))
        return self._backwards[adds_currents]

    def slots(self, steps: int) -> _Slots:
        """Of a chunk of some steps."""
        if steps not in self._slots:
            found: dict[Source, int] = {}
            slots, rows = (np.zeros((len(self.saving.kept), steps), np.int64) for _ in range(2))
            for k, of_step in enumerate(self.saving.sources(steps)):
                for i, source in enumerate(of_step):
                    slots[i, k] = found.setdefault(source._replace(step=0), len(found))
                    rows[i, k] = source.step
            lyings = tuple(
                lying_of(self.saving, source.value) if source.place == "computed" else "values" for source in found
            )
            counts = tuple(int(rows[slots == slot].max()) + 1 for slot in found.values())
            parts = tuple(tuple((slot, of == slot) for slot in np.unique(of).tolist()) for of in slots)
            self._slots[steps] = _Slots(tuple(found), lyings, counts, rows, parts)
        return self._slots[steps]

    def layout(self, key: object, make: Callable[[], _Layout], chunk: _native.Chunk) -> _native.ChunkLayout:
        """The layout of all calls with this key."""
        if key not in self.layouts:
            if len(self.layouts) == MOST_LAYOUTS:
                del self.layouts[next(iter(self.layouts))]
            self.layouts[key] = make().compiled(chunk, self.instruction_set)
        return self.layouts[key]


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

    def length(self, lying: Lying = "values") -> int:
        """From one row to the next: bytes, or bits."""
        return self.place.entries * (self.dtype.itemsize if lying == "values" else 1)

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


class _Rows:
    """The rows of a call: their tensors in the order of memory, and what a layout has to know of them."""

    def __init__(self, rows: Sequence[Any], place: Place, dtype: torch.dtype) -> None:
        self.tensors: list[Tensor] = []
        key: list[tuple[tuple[int, int], int]] = []
        for row in rows:
            if isinstance(row, Tensor):
                columns = place.columns(row)
                assert columns is not None
                row = place.aligned(row.detach())
                self.tensors.append((row if row.dtype == dtype else row.to(dtype)).contiguous())
                key.append((columns, row.shape[0]))
            else:
                self.tensors.append(torch.tensor([row], dtype=dtype))
                key.append(((1, 1), 1))
        self.key = tuple(key)


class _Forward:
    """The steps of a chunk.

    Args:
        given: current, states and rows.
        saves: whether what the backward pass reads is saved.
    Attributes:
        spikes, after: what it gives.
        saved: a tensor for each of the plan's slots.
    """

    def __init__(self, plan: _Plan, given: Sequence[Any], steps: int, *, saves: bool) -> None:
        program = plan.saving.program
        current, *others = given
        place, dtype = Place.of(current), current.dtype
        count = len(program.states)
        current = laid(current, place)
        states = [place.laid(one.detach()[None]) for one in others[:count]]
        rows = _Rows(others[count:], place, dtype)
        self.spikes = place.empty(steps, dtype=dtype)
        self.after = [place.empty(dtype=dtype) for _ in program.states]
        self.saved: list[Tensor] = []
        computed: list[Tensor] = []
        if saves:
            slots = plan.slots(steps)
            for source, lying, number in zip(slots.found, slots.lyings, slots.counts, strict=True):
                if source.place == "current":
                    self.saved.append(current)
                elif source.place == "before":
                    self.saved.append(states[source.value.register - 1])
                elif source.value not in plan.outputs:
                    self.saved.append(self.spikes)
                else:
                    computed.append(_empty(lying, number, place.entries, dtype))
                    self.saved.append(computed[-1])
        key = "forward", steps, place, dtype, current.shape[0], rows.key, saves
        layout = plan.layout(
            key,
            lambda: _forward_layout(plan, place, dtype, steps, current.shape[0], rows, saves=saves),
            plan.forward,
        )
        tensors = [current, *states, *rows.tensors, self.spikes, *self.after, *computed]
        layout.run([one.data_ptr() for one in tensors], torch.get_num_threads())


def _forward_layout(
    plan: _Plan, place: Place, dtype: torch.dtype, steps: int, currents: int, rows: _Rows, *, saves: bool
) -> _Layout:
    layout, states = _Layout(place, dtype, steps), len(plan.saving.program.states)
    layout.values("streams", currents)
    for _ in range(states):
        layout.state("before")
    for columns, count in rows.key:
        layout.row(columns, count)
    layout.values("results", steps)
    for _ in range(states):
        layout.state("after")
    slots = plan.slots(steps)
    found = dict(zip(slots.found, zip(slots.lyings, slots.counts, strict=True), strict=True)) if saves else {}
    # In the order of the slots, which is that of the tensors.
    computed = {source.value: layout.tensor() for source in found if source.value in plan.outputs and _computed(source)}
    for value in plan.outputs:
        if value not in computed:
            layout.nothing("results")
            continue
        lying, count = found[Source("computed", value, 0)]
        is_saved = np.arange(steps) < count
        offsets = layout.length(lying) * np.arange(steps) * is_saved
        factor = (8 if lying == "bits" else 1) * is_saved
        layout.add("results", np.where(is_saved, computed[value], -1), factor, offsets)
    return layout


def _computed(source: Source) -> bool:
    return source.place == "computed"


class _Native(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, plan: _Plan, steps: int, *given: Any) -> tuple[Tensor, ...]:
        chunk = _Forward(plan, given, steps, saves=True)
        ctx.adds_currents = given[0].shape[0] < steps
        made = plan.backward(adds_currents=ctx.adds_currents)[0] if plan.saving.live else None
        rows = [given[row] for row in made.rows] if made else []
        ctx.save_for_backward(*chunk.saved, *(row for row in rows if isinstance(row, Tensor)))
        ctx.rows = [None if isinstance(row, Tensor) else row for row in rows]
        ctx.plan, ctx.steps, ctx.place, ctx.dtype = plan, steps, Place.of(given[0]), given[0].dtype
        ctx.set_materialize_grads(False)
        results = (chunk.spikes, *chunk.after)
        if plan.saving.constant:
            ctx.mark_non_differentiable(*(results[place] for place in plan.saving.constant))
        return results

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        plan: _Plan = ctx.plan
        place: Place = ctx.place
        saving, steps, dtype = plan.saving, ctx.steps, ctx.dtype
        program, slots = saving.program, plan.slots(steps)
        made, chunk = plan.backward(adds_currents=ctx.adds_currents)
        saved = list(ctx.saved_tensors[: len(slots.found)])
        tensors = iter(ctx.saved_tensors[len(slots.found) :])
        given = [next(tensors) if number is None else number for number in ctx.rows]
        rows = _Rows(given, place, dtype)
        summed = [made.rows.index(row) for row in made.summed]
        sums = [torch.empty(rows.key[i][1], rows.key[i][0][0], dtype=dtype) for i in summed]

        spikes, *after = (None if one is None else one.detach().to(dtype) for one in gradients)
        spikes = None if spikes is None else laid(spikes, place)
        arriving = [None if one is None else place.laid(one[None]) for one in after]
        slopes = [
            surrogate(saved[slot].view(-1, *place.shape)).contiguous()
            for surrogate, i in made.surrogates
            for slot, _ in slots.parts[i]
        ]
        current = None
        if saving.needs.current and 0 in saving.live:
            current = place.empty(1 if ctx.adds_currents else steps, dtype=dtype)
        states = [place.empty(dtype=dtype) if need else None for need in saving.needs.states]
        call = _BackwardCall(
            steps,
            place,
            dtype,
            ctx.adds_currents,
            None if spikes is None else spikes.shape[0],
            tuple(one is not None for one in arriving),
            tuple(one.shape[0] for one, source in zip(saved, slots.found, strict=True) if source.place == "current"),
            rows.key,
        )
        layout = plan.layout(call, lambda: _backward_layout(plan, call, made), chunk)
        pointers = (spikes, *saved, *slopes, *rows.tensors, *arriving, current, *states, *sums)
        layout.run([one.data_ptr() for one in pointers if one is not None], torch.get_num_threads())
        of_rows: list[Tensor | None] = [None] * len(program.rows)
        for i, total in zip(summed, sums, strict=True):
            of_rows[made.rows[i] - 1 - len(program.states)] = place.unaligned(total, given[i])
        return None, None, current, *states, *of_rows


class _BackwardCall(NamedTuple):
    """What tells calls of the backward pass apart: how many rows its tensors have, and which there are."""

    steps: int
    place: Place
    dtype: torch.dtype
    adds_currents: bool
    spikes: int | None
    arriving: tuple[bool, ...]
    currents: tuple[int, ...]
    rows: tuple[tuple[tuple[int, int], int], ...]


def _backward_layout(plan: _Plan, call: _BackwardCall, made: Backward) -> _Layout:
    layout, slots, saving = _Layout(call.place, call.dtype, call.steps), plan.slots(call.steps), plan.saving
    if call.spikes is None:
        layout.nothing("streams")
    else:
        layout.values("streams", call.spikes, is_reversed=True)
    saved = [layout.tensor() for _ in slots.found]

    def stream(i: int, tensors: dict[int, int], later: Lying) -> None:
        """Value i of those that are kept; where it lies as in most steps, and where not, by the negated address."""
        tensor, factor, offsets = (np.zeros(call.steps, np.int64) for _ in range(3))
        for slot, is_here in slots.parts[i]:
            lying, sign = slots.lyings[slot], 1 if slots.lyings[slot] == later else -1
            is_one = slots.found[slot].place == "current" and call.currents == (1,)
            tensor[is_here], factor[is_here] = tensors[slot], sign * (8 if lying == "bits" else 1)
            offsets[is_here] = sign * layout.length(lying) * (0 if is_one else slots.rows[i][is_here])
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


def laid(chunk: Tensor, place: Place) -> Tensor:
    """[K or 1, B, ...] as it lies in memory; one row of what is the same at all steps."""
    chunk = chunk.detach()
    return place.laid(chunk[:1] if chunk.shape[0] > 1 and chunk.stride(0) == 0 else chunk)


def _empty(lying: Lying, rows: int, entries: int, dtype: torch.dtype) -> Tensor:
    """For rows that are saved."""
    if lying == "bits":
        make = torch.empty if entries % 8 == 0 else torch.zeros
        return make(-(-rows * entries // 8), dtype=torch.uint8)
    return torch.empty(rows * entries, dtype=torch.int8 if lying == "bytes" else dtype)


def _steps_of(rows: int, steps: int) -> Numbers:
    """Which of `rows` rows is that of each step."""
    return np.arange(steps) if rows == steps else np.zeros(steps, np.int64)


def _numbers(values: Any) -> Numbers:
    return np.array(values, np.int64).ravel()
