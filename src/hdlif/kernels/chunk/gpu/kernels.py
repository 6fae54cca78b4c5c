"""The kernels of one way to run a step, and their calls."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import gcd
from typing import Any, NamedTuple

import torch
from torch import Tensor

from hdlif.equations import Saving
from hdlif.equations.chunk_program import Backward, ChunkProgram, forward
from hdlif.kernels.chunk.gpu.source import Kernel, Part, RowKind, Written, source
from hdlif.kernels.chunk.plan import BackwardCall, ForwardCall, Plan, Rows
from hdlif.kernels.gpu import launching

Parts = tuple[Part, ...]
RowKey = tuple[tuple[int, int], int]


class _Call(NamedTuple):
    """What a kernel is called with; None is not there.

    Attributes:
        streams, tensors: where each stream is found, and the tensors that parts name.
        before, after: states.
        results: each with the number of steps that write it.
        summed: what `Rows.key` says of the rows whose gradients are summed.
    """

    program: ChunkProgram
    steps: int
    entries: int
    device: torch.device
    is_reversed: bool
    streams: Sequence[Parts]
    tensors: dict[int, Tensor]
    before: Sequence[Tensor | None]
    rows: Rows
    results: Sequence[tuple[Tensor, int] | None]
    after: Sequence[Tensor | None]
    summed: Sequence[RowKey] = ()


class Kernels(Plan):
    """A step's kernels.

    Attributes:
        has_bits: whether any of what is saved is bits.
    """

    def __init__(self, saving: Saving) -> None:
        super().__init__(saving)
        programs = [self.forward]
        if saving.live:
            programs.append(self.backward(adds_currents=False).program)
        self.has_bits = any(
            encoding == "bits"
            for one in programs
            for encoding in (*one.streams, *(encoding for _, encoding in one.results))
        )
        self._without_saving = forward(saving, ())
        self._parts: dict[object, Parts] = {}
        self._texts: dict[object, str] = {}

    def run_forward(self, call: ForwardCall) -> None:
        steps, slots = call.steps, self.slots(call.steps)
        counts = {found.value: count for found, count in zip(slots.found, slots.counts, strict=True)}
        results: list[tuple[Tensor, int] | None] = [(call.spikes, steps)]
        if call.saves:
            results += [
                (call.computed[value], counts[value]) if value in call.computed else None for value in self.outputs
            ]
        self._run(
            _Call(
                self.forward if call.saves else self._without_saving,
                steps,
                call.place.entries,
                call.current.device,
                is_reversed=False,
                streams=[_at_each_step(0, call.current)],
                tensors={0: call.current},
                before=call.states,
                rows=call.rows,
                results=results,
                after=call.after,
            )
        )

    def run_backward(self, call: BackwardCall, made: Backward) -> list[Tensor]:
        spikes, current, saved = call.spikes, call.current, dict(enumerate(call.saved))
        streams: list[Parts] = [() if spikes is None else _at_each_step(0, spikes)]
        tensors = {} if spikes is None else {0: spikes}
        given = [(i, saved, 1, False) for i in range(len(self.saving.kept))]
        given += [
            (i, slopes, 1 + place * len(saved), True)
            for place, ((_, i), slopes) in enumerate(zip(made.surrogates, call.slopes, strict=True), 1)
        ]
        for i, by_slot, first, are_values in given:
            streams.append(self._parts_of(i, call, first, are_values=are_values))
            tensors |= {part.tensor: by_slot[part.tensor - first] for part in streams[-1]}
        adds = call.adds_currents and current is not None
        return self._run(
            _Call(
                made.program,
                call.steps,
                call.place.entries,
                call.device,
                is_reversed=True,
                streams=streams,
                tensors=tensors,
                before=[*call.arriving, None] if adds else call.arriving,
                rows=call.rows,
                results=[] if current is None or adds else [(current, call.steps)],
                after=[*call.states, current] if adds else call.states,
                summed=[call.rows.key[made.rows.index(row)] for row in made.summed],
            )
        )

    def _parts_of(self, i: int, call: BackwardCall, first: int, *, are_values: bool) -> Parts:
        """Where value i of those that are kept is found; its slots' tensors are numbered from `first` on."""
        slots = self.slots(call.steps)
        single = {
            slot
            for slot, source in enumerate(slots.found)
            if source.place == "before" or (source.place == "current" and call.saved[slot].shape[0] < call.steps)
        }
        key = i, call.steps, first, are_values, len(single)
        if key not in self._parts:
            parts: list[Part | None] = [None] * call.steps
            for slot, is_here in slots.parts[i]:
                encoding = "values" if are_values else slots.encodings[slot]
                for k in is_here.nonzero()[0].tolist():
                    delay = None if slot in single else k - int(slots.rows[i][k])
                    parts[k] = Part(first + slot, encoding, delay)
            while len(parts) > 1 and parts[-1] == parts[-2]:
                parts.pop()
            self._parts[key] = tuple(part for part in parts if part is not None)
        return self._parts[key]

    def _run(self, call: _Call) -> list[Tensor]:
        """Returns the sums."""
        kernel = Kernel(
            call.program,
            call.is_reversed,
            tuple(call.streams),
            before=tuple(one is not None for one in call.before),
            rows=tuple(_kind(*row) for row in zip(call.rows.values, call.rows.key, strict=True)),
            results=tuple(_written(one, call.steps) for one in call.results),
            after=tuple(one is not None for one in call.after),
            sums=tuple(count == 1 for _, count in call.summed),
        )
        # Programs are this plan's own, and long.
        key = id(call.program), *kernel[1:]
        if key not in self._texts:
            self._texts[key] = source(kernel)
        block, entries = launching.BLOCK, call.entries
        segments = [block if columns == 1 else gcd(inner, block) for (columns, inner), _ in call.summed]
        sums = [
            torch.empty(count, -(-entries // segment), dtype=torch.float32, device=call.device)
            for (_, count), segment in zip(call.summed, segments, strict=True)
        ]
        named: dict[str, Any] = {f"stream{i}": one for i, one in call.tensors.items()}
        rows = [row if isinstance(row, Tensor) else float(row) for row in call.rows.values]
        named |= _named("before", call.before) | _named("row", rows) | _named("after", call.after)
        for i, result in enumerate(call.results):
            if result is not None:
                named[f"result{i}"] = result[0]
                if kernel.results[i] == "at first steps":
                    named[f"written{i}"] = result[1]
        for i, ((columns, inner), _) in enumerate(call.rows.key):
            if columns > 1:
                named |= {f"columns{i}": columns, f"inner{i}": inner}
        named |= _named("sum", sums) | _named("segment", segments)
        named |= {"steps": call.steps, "entries": entries, "BLOCK": block}
        with launching.on(call.device):
            launching.launch(self._texts[key], -(-entries // block), named)
        return [
            _summed(one, *columns, segment)
            for one, (columns, _), segment in zip(sums, call.summed, segments, strict=True)
        ]


def _at_each_step(tensor: int, chunk: Tensor) -> Parts:
    """[K, ...], or [1, ...] for all steps."""
    return (Part(tensor, "values", None if chunk.shape[0] == 1 else 0),)


def _kind(row: Tensor | float, key: RowKey) -> RowKind:
    (columns, _), count = key
    if not isinstance(row, Tensor):
        return "number"
    if columns == 1:
        return "one" if count == 1 else "one a step"
    return "columns" if count == 1 else "columns a step"


def _written(result: tuple[Tensor, int] | None, steps: int) -> Written:
    if result is None:
        return "nowhere"
    return "at all steps" if result[1] == steps else "at first steps"


def _named(name: str, values: Iterable[Any]) -> dict[str, Any]:
    return {f"{name}{i}": value for i, value in enumerate(values) if value is not None}


def _summed(parts: Tensor, columns: int, inner: int, segment: int) -> Tensor:
    """Sums [rows, columns] of those of segments [rows, segments], each of which lies in one column."""
    if columns == 1:
        return parts.sum(1, keepdim=True, dtype=torch.float64).to(parts.dtype)
    by_column = parts.view(parts.shape[0], -1, columns, inner // segment)
    return by_column.sum((1, 3), dtype=torch.float64).to(parts.dtype)
