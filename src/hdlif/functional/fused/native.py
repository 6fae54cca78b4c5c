"""Chunks of a step in one pass over memory each way, by the compiled kernels, on a CPU.

The program of a step (`equations.chunk_program`) runs on a block of neurons at a time, all steps of the chunk, so that
states and gradients stay in the cache; blocks are shared out to as many threads as PyTorch has. Values are bit for bit
those of PyTorch's operations, and the same bytes are saved. The gradient of a row is summed in float64, in an order
that does not depend on the number of threads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hdlif import _native
from hdlif.equations import Needs, Saving, Source, Value, WrittenStep
from hdlif.equations.chunk_program import Backward, Lying, backward, encoded, forward, lying_of
from hdlif.errors import EquationError
from hdlif.functional.fused.places import Place

Addresses = NDArray[np.int64]
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
    given = [current, *states, *(row for row in rows if isinstance(row, Tensor))]
    if current.dtype not in _DTYPES or not all(map(_is_plain, given)):
        return False
    if any(state.dtype != current.dtype or state.shape != current.shape[1:] for state in states):
        return False
    place = Place.of(current)
    return all(place.columns(row) is not None for row in rows if isinstance(row, Tensor))


def _is_plain(tensor: Tensor) -> bool:
    return (
        type(tensor) in (Tensor, torch.nn.Parameter)
        and tensor.device.type == "cpu"
        and tensor.layout == torch.strided
        and not torch._C._functorch.is_functorch_wrapped_tensor(tensor)
    )


def run(plan: _Plan, given: Sequence[Any], steps: int) -> tuple[Tensor, list[Tensor]]:
    """A chunk without a graph: spikes [K, B, ...], and the states after it."""
    chunk = _Forward(plan, given, steps, ())
    return chunk.spikes, chunk.after


def run_with_graph(plan: _Plan, given: Sequence[Any], steps: int) -> tuple[Tensor, list[Tensor]]:
    """A chunk as one function of autograd."""
    spikes, *after = _Native.apply(plan, steps, *given)  # type: ignore[no-untyped-call]
    return spikes, after


class _Slots(NamedTuple):
    """Where the values that a chunk saves are found.

    Attributes:
        found: the tensors: each has rows of one value, computed or given.
        rows: of each value and step, in which row of its tensor it is, [kept, K].
        parts: of each value the tensors that it is in, and at which steps.
        counts: how many rows of each tensor are saved.
    """

    found: tuple[Source, ...]
    rows: Addresses
    parts: tuple[tuple[tuple[int, NDArray[np.bool_]], ...], ...]
    counts: tuple[int, ...]


class _Plan:
    """The compiled programs of one way to run a step.

    Attributes:
        saves_spikes: whether spikes that are saved are the tensor that is given away, as the layer behind may save it.
        outputs: what else may be saved of what a step computes.
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
            counts = tuple(int(rows[slots == slot].max()) + 1 for slot in found.values())
            parts = tuple(tuple((slot, of == slot) for slot in np.unique(of).tolist()) for of in slots)
            self._slots[steps] = _Slots(tuple(found), rows, parts, counts)
        return self._slots[steps]


class _Call:
    """What one run of a program is given: addresses, and the tensors that they lead to."""

    def __init__(self, place: Place, dtype: torch.dtype, steps: int) -> None:
        self.place, self.dtype, self.steps = place, dtype, steps
        self._size = dtype.itemsize
        self._alive: list[Tensor] = []
        self._row_addresses: list[Addresses] = []
        self._row_columns: list[tuple[int, int]] = []

    def laid(self, chunk: Tensor) -> Tensor:
        """[K or 1, B, ...] as it lies in memory; one row of what is the same at all steps."""
        chunk = chunk.detach()
        return self.place.laid(chunk[:1] if chunk.shape[0] > 1 and chunk.stride(0) == 0 else chunk)

    def add_row(self, row: Any, *, is_reversed: bool = False) -> None:
        """A row of the program, the next one: a number, or a tensor [K or 1, ...]."""
        if not isinstance(row, Tensor):
            row = torch.tensor([row], dtype=self.dtype)
        columns = self.place.columns(row)
        assert columns is not None
        row = self.place.aligned(row.detach().to(self.dtype)).contiguous()
        self._alive.append(row)
        addresses = row.data_ptr() + self._size * columns[0] * _steps_of(row.shape[0], self.steps)
        self._row_addresses.append(addresses[::-1] if is_reversed else addresses)
        self._row_columns.append(columns)

    def values(self, tensor: Tensor) -> Addresses:
        """Of rows of values, one for each step or one for all."""
        self._alive.append(tensor)
        return tensor.data_ptr() + self._size * self.place.entries * _steps_of(tensor.shape[0], self.steps)

    def saved(self, tensor: Tensor, lying: Lying, rows: Addresses) -> Addresses:
        """Of rows of what is saved."""
        self._alive.append(tensor)
        first = tensor.data_ptr() * (8 if lying == "bits" else 1)
        return first + self.place.entries * (self._size if lying == "values" else 1) * rows

    def pointer(self, tensor: Tensor | None) -> int:
        """Of a step's values; 0 for None."""
        if tensor is None:
            return 0
        self._alive.append(tensor)
        return tensor.data_ptr()

    def run(
        self,
        chunk: _native.Chunk,
        instruction_set: str,
        *,
        streams: Sequence[Addresses],
        results: Sequence[Addresses],
        before: Sequence[int],
        after: Sequence[int],
        sums: Sequence[tuple[Tensor, tuple[int, int]]] = (),
    ) -> None:
        """Run it; the `sums`, [rows, columns], are of steps from the last one on."""
        of_steps = [_steps_of(total.shape[0], self.steps)[::-1] for total, _ in sums]
        chunk.run(
            self.dtype == torch.float64,
            self.steps,
            self.place.entries,
            _joined(streams),
            _joined(results),
            _joined(self._row_addresses),
            _numbers(self._row_columns),
            _numbers(before),
            _numbers(after),
            _joined(of_steps),
            _numbers([columns for _, columns in sums]),
            _numbers([total.data_ptr() for total, _ in sums]),
            _numbers([total.shape[0] for total, _ in sums]),
            torch.get_num_threads(),
            instruction_set,
        )


class _Forward:
    """The steps of a chunk.

    Args:
        given: current, states and rows.
        saved: what is saved of what they compute, with the number of its rows; else nothing is.
    Attributes:
        spikes, after: what it gives.
        tensors: what is saved.
    """

    def __init__(self, plan: _Plan, given: Sequence[Any], steps: int, saved: Sequence[tuple[Source, int]]) -> None:
        program = plan.saving.program
        current, *others = given
        place = Place.of(current)
        call = _Call(place, current.dtype, steps)
        self._current, self._states = (
            call.laid(current),
            [call.laid(one[None]) for one in others[: len(program.states)]],
        )
        for row in others[len(program.states) :]:
            call.add_row(row)
        self.spikes = place.empty(steps, dtype=current.dtype)
        self.after = [place.empty(dtype=current.dtype) for _ in program.states]
        self.tensors = []
        results = {value: np.zeros(steps, np.int64) for value in plan.outputs}
        for source, count in saved:
            tensor = self._given(source)
            if tensor is None and source.value not in results:
                tensor = self.spikes
            elif tensor is None:
                lying = lying_of(plan.saving, source.value)
                tensor = _empty(lying, count, place.entries, current.dtype)
                results[source.value] = addresses = call.saved(tensor, lying, np.arange(steps))
                addresses[count:] = 0
            self.tensors.append(tensor)
        call.run(
            plan.forward,
            plan.instruction_set,
            streams=[call.values(self._current)],
            results=[call.values(self.spikes), *results.values()],
            before=[call.pointer(state) for state in self._states],
            after=[call.pointer(state) for state in self.after],
        )

    def _given(self, source: Source) -> Tensor | None:
        if source.place == "current":
            return self._current
        return self._states[source.value.register - 1] if source.place == "before" else None


class _Native(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, plan: _Plan, steps: int, *given: Any) -> tuple[Tensor, ...]:
        slots = plan.slots(steps)
        chunk = _Forward(plan, given, steps, list(zip(slots.found, slots.counts, strict=True)))
        made = plan.backward(adds_currents=given[0].shape[0] < steps)[0] if plan.saving.live else None
        rows = {row: given[row] for row in ({*made.rows} if made else ())}
        ctx.save_for_backward(*chunk.tensors, *(row for row in rows.values() if isinstance(row, Tensor)))
        ctx.plan, ctx.steps, ctx.place, ctx.dtype = plan, steps, Place.of(given[0]), given[0].dtype
        ctx.rows = {row: None if isinstance(value, Tensor) else value for row, value in rows.items()}
        ctx.adds_currents = given[0].shape[0] < steps
        ctx.set_materialize_grads(False)
        results = (chunk.spikes, *chunk.after)
        ctx.mark_non_differentiable(*(one for place, one in enumerate(results) if place in plan.saving.constant))
        return results

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        plan: _Plan = ctx.plan
        place: Place = ctx.place
        saving, steps = plan.saving, ctx.steps
        program, slots = saving.program, plan.slots(steps)
        made, chunk = plan.backward(adds_currents=ctx.adds_currents)
        call = _Call(place, ctx.dtype, steps)
        saved = ctx.saved_tensors[: len(slots.found)]
        tensors = iter(ctx.saved_tensors[len(slots.found) :])
        rows = {row: next(tensors) if number is None else number for row, number in ctx.rows.items()}
        for row in made.rows:
            call.add_row(rows[row], is_reversed=True)

        spikes, *after = (None if one is None else one.to(ctx.dtype) for one in gradients)
        nothing = np.zeros(steps, np.int64)
        streams = [nothing if spikes is None else call.values(call.laid(spikes))[::-1]]
        for i in range(len(saving.kept)):
            streams.append(_kept_addresses(call, plan, i, saved, later=made.program.streams[1 + i])[::-1])
        for surrogate, i in made.surrogates:
            slopes = {slot: surrogate(saved[slot]) for slot, _ in slots.parts[i]}
            streams.append(_kept_addresses(call, plan, i, slopes, later="values")[::-1])

        current = None
        if saving.needs.current and 0 in saving.live:
            current = place.empty(1 if ctx.adds_currents else steps, dtype=ctx.dtype)
        states = [place.empty(dtype=ctx.dtype) if need else None for need in saving.needs.states]
        arriving = [call.pointer(None if one is None else call.laid(one[None])) for one in after]
        leaving = [call.pointer(one) for one in states]
        if current is not None and ctx.adds_currents:
            arriving.append(0)
            leaving.append(call.pointer(current))
        sums = {row: _sums(rows[row], place, ctx.dtype) for row in made.summed}
        call.run(
            chunk,
            plan.instruction_set,
            streams=streams,
            results=[] if current is None or ctx.adds_currents else [call.values(current)[::-1]],
            before=arriving,
            after=leaving,
            sums=[sums[row] for row in made.summed],
        )
        of_rows = [
            place.unaligned(sums[row][0], rows[row]) if row in sums else None
            for row in range(1 + len(program.states), program.first)
        ]
        return None, None, current, *states, *of_rows


def _kept_addresses(
    call: _Call, plan: _Plan, i: int, tensors: Sequence[Tensor] | Mapping[int, Tensor], *, later: Lying
) -> Addresses:
    """Of value i of those that are kept, at each step; `later` is how it lies at most of them."""
    slots = plan.slots(call.steps)
    found = np.empty(call.steps, np.int64)
    for slot, is_here in slots.parts[i]:
        source, tensor = slots.found[slot], tensors[slot]
        lying = lying_of(plan.saving, source.value) if source.place == "computed" else "values"
        rows = slots.rows[i][is_here]
        if source.place == "current" and tensor.shape[0] == 1:
            rows = np.zeros_like(rows)
        found[is_here] = call.saved(tensor, lying, rows) * (1 if lying == later else -1)
    return found


def _empty(lying: Lying, rows: int, entries: int, dtype: torch.dtype) -> Tensor:
    """For rows that are saved."""
    if lying == "bits":
        make = torch.empty if entries % 8 == 0 else torch.zeros
        return make(-(-rows * entries // 8), dtype=torch.uint8)
    return torch.empty(rows * entries, dtype=torch.int8 if lying == "bytes" else dtype)


def _sums(row: Tensor, place: Place, dtype: torch.dtype) -> tuple[Tensor, tuple[int, int]]:
    columns = place.columns(row)
    assert columns is not None
    return torch.empty(row.shape[0], columns[0], dtype=dtype), columns


@lru_cache(maxsize=256)
def _steps_of(rows: int, steps: int) -> Addresses:
    """Which of `rows` rows is that of each step; not to be written to."""
    return np.arange(steps) if rows == steps else np.zeros(steps, np.int64)


def _joined(addresses: Sequence[Addresses]) -> Addresses:
    return np.concatenate(addresses) if addresses else np.zeros(0, np.int64)


def _numbers(values: Any) -> Addresses:
    return np.array(values, np.int64).ravel()
