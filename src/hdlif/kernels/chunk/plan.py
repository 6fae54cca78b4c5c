"""The programs of one way to run a step, and where a chunk finds what they save."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hdlif.equations import Saving, Source, Value
from hdlif.equations.chunk_program import Backward, StreamEncoding, backward, encoding_of, forward
from hdlif.kernels.chunk.places import Place
from hdlif.kernels.plain import is_plain, is_watched

Numbers = NDArray[np.int64]
MOST_SLOTS = 64
"""Lengths of chunks whose slots a plan keeps."""


class Slots(NamedTuple):
    """Where the values that a chunk saves are found.

    Attributes:
        found: the tensors: each has rows of one value, computed or given.
        encodings, counts: how each lies, and how many of its rows are saved.
        rows: of each value and step, in which row of its tensor it is, [kept, K].
        parts: of each value the tensors that it is in, and at which steps.
    """

    found: tuple[Source, ...]
    encodings: tuple[StreamEncoding, ...]
    counts: tuple[int, ...]
    rows: Numbers
    parts: tuple[tuple[tuple[int, NDArray[np.bool_]], ...], ...]


class Rows:
    """The rows of a call: numbers, or tensors in the order of memory.

    Attributes:
        key: of each its (columns, inner), as `Place.columns` has them, and how many there are of it, K or 1.
    """

    def __init__(self, rows: Sequence[Any], place: Place, dtype: torch.dtype) -> None:
        self.values: list[Tensor | float] = []
        key: list[tuple[tuple[int, int], int]] = []
        for row in rows:
            if isinstance(row, Tensor):
                columns = place.columns(row)
                assert columns is not None
                row = place.aligned(row.detach())
                self.values.append((row if row.dtype == dtype else row.to(dtype)).contiguous())
                key.append((columns, row.shape[0]))
            else:
                self.values.append(row)
                key.append(((1, 1), 1))
        self.key = tuple(key)


class ForwardCall(NamedTuple):
    """What the forward pass is given, and what it fills, in the order of memory.

    Attributes:
        current: [K or 1, ...].
        states: before the chunk.
        spikes, after: what it gives.
        computed: what it saves of the plan's outputs, by the values; in the order of the slots.
        saves: whether it saves.
    """

    steps: int
    place: Place
    current: Tensor
    states: list[Tensor]
    rows: Rows
    spikes: Tensor
    after: list[Tensor]
    computed: dict[Value, Tensor]
    saves: bool


class BackwardCall(NamedTuple):
    """What the backward pass is given, and what it fills, in the order of memory.

    Attributes:
        spikes: the gradients of the spikes, [K or 1, ...].
        saved: a tensor for each slot.
        slopes: of each of the program's surrogates its derivatives, by the slots of its argument.
        rows: those that the program reads.
        arriving: the gradients of the states after the chunk.
        current, states: the gradients that it gives; None is not asked for.
    """

    steps: int
    place: Place
    dtype: torch.dtype
    device: torch.device
    adds_currents: bool
    spikes: Tensor | None
    saved: list[Tensor]
    slopes: list[dict[int, Tensor]]
    rows: Rows
    arriving: list[Tensor | None]
    current: Tensor | None
    states: list[Tensor | None]


class Plan(ABC):
    """One way to run a step: its programs, and what runs them.

    Attributes:
        outputs: what may be saved of what a step computes, but for spikes that are given away anyway, as the layer
            behind may save them.
        forward: the program of the forward pass, which may save all outputs.
        slots: those of a chunk of some steps, made once, and kept while they are some of the last.
    Raises:
        EquationError: what is asked for cannot be run back.
    """

    def __init__(self, saving: Saving) -> None:
        self.saving = saving
        program = saving.program
        # More steps than a value may lie back.
        found = {source for of_step in saving.sources(len(program.states) + 2) for source in of_step}
        saves_spikes = program.spike >= program.first and program.spike not in program.after
        given_away = {Value(program.spike)} if saves_spikes else set()
        self.outputs = tuple(sorted({source.value for source in found if source.place == "computed"} - given_away))
        self.forward = forward(saving, self.outputs)
        self._backwards: dict[bool, Backward] = {}
        self.slots = lru_cache(MOST_SLOTS)(self._slots)
        if saving.live:
            # So that what cannot be run back is known before it is run.
            self.backward(adds_currents=False)

    @abstractmethod
    def run_forward(self, call: ForwardCall) -> None:
        """Fills what a call gives and saves."""

    @abstractmethod
    def run_backward(self, call: BackwardCall, made: Backward) -> list[Tensor]:
        """Fills what a call gives; returns of each row that is summed its sums [K or 1, columns]."""

    def backward(self, *, adds_currents: bool) -> Backward:
        """The program of the backward pass, and what it is given."""
        if adds_currents not in self._backwards:
            self._backwards[adds_currents] = backward(self.saving, adds_currents=adds_currents)
        return self._backwards[adds_currents]

    def _slots(self, steps: int) -> Slots:
        found: dict[Source, int] = {}
        slots, rows = (np.zeros((len(self.saving.kept), steps), np.int64) for _ in range(2))
        for k, of_step in enumerate(self.saving.sources(steps)):
            for i, source in enumerate(of_step):
                slots[i, k] = found.setdefault(source._replace(step=0), len(found))
                rows[i, k] = source.step
        encodings = tuple(
            encoding_of(self.saving, source.value) if source.place == "computed" else "values" for source in found
        )
        counts = tuple(int(rows[slots == slot].max()) + 1 for slot in found.values())
        parts = tuple(tuple((slot, of == slot) for slot in np.unique(of).tolist()) for of in slots)
        return Slots(tuple(found), encodings, counts, rows, parts)


def are_columns(current: Tensor, states: Sequence[Tensor], rows: Sequence[Any]) -> bool:
    """Whether a chunk is one for programs: plain tensors on one device, not empty, states like the current, rows in
    columns."""
    device, dtype, place = current.device, current.dtype, Place.of(current)
    if not is_plain(current, device) or is_watched() or not place.entries:
        return False
    sizes = current.shape[1:]
    if not all(is_plain(state, device) and state.dtype == dtype and state.shape == sizes for state in states):
        return False
    return all(
        not isinstance(row, Tensor) or (is_plain(row, device) and place.columns(row) is not None) for row in rows
    )
