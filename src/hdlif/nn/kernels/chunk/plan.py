"""The compiled programs for a step and a set of required gradients, and the tensors of their calls."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache, partial
from typing import Any

import torch
from torch import Tensor

from hdlif import _native
from hdlif.errors import EquationError
from hdlif.graph.equations import Saving, Value
from hdlif.graph.equations.chunk_program import Levels, backward, encoded, forward
from hdlif.nn.kernels.chunk.layout import BackwardKind, ForwardKind, backward_layout, forward_layout, slots_of
from hdlif.nn.kernels.chunk.places import Place

MAX_LAYOUTS = 64
"""Largest number of layouts that a plan keeps, and of chunk lengths whose slots it keeps."""
MAX_REGISTERS = 1024
"""Largest number of registers of a program: `kMaxChunkRegisters` in native/kernels/chunk.h."""


class Rows:
    """The parameter rows of a call, as tensors in memory order.

    Attributes:
        key: for each row its (columns, inner) from `Place.columns`, and its length, K or 1.
    """

    def __init__(self, rows: Sequence[Any], place: Place, dtype: torch.dtype) -> None:
        self.values: list[Tensor] = []
        key: list[tuple[tuple[int, int], int]] = []
        for row in rows:
            if isinstance(row, Tensor):
                columns = place.columns(row)
                assert columns is not None
                row = place.aligned(row.detach())
                self.values.append((row if row.dtype == dtype else row.to(dtype)).contiguous())
                key.append((columns, row.shape[0]))
            else:
                self.values.append(torch.tensor([row], dtype=dtype, device="cpu"))
                key.append(((1, 1), 1))
        self.key = tuple(key)


class Plan:
    """The compiled forward and backward programs for a step and a set of required gradients.

    Attributes:
        outputs: the values of a step that may be saved, except spikes that the caller gets anyway.
        slots: returns the slots for a number of steps, with a cache.
        layout: returns the layout for a kind of call, with a cache.
    Raises:
        EquationError: the required gradients have no program, or a program is too long.
    """

    def __init__(self, saving: Saving, instruction_set: str) -> None:
        self.saving, self._instruction_set = saving, instruction_set
        program = saving.program
        # More steps than the distance to any earlier value.
        found = {source for of_step in saving.sources(len(program.states) + 2) for source in of_step}
        saves_spikes = program.spike >= program.first and program.spike not in program.after
        emitted = {Value(program.spike)} if saves_spikes else set()
        self.outputs = tuple(sorted({source.value for source in found if source.place == "computed"} - emitted))
        self.slots = lru_cache(MAX_LAYOUTS)(partial(slots_of, saving))
        self.layout = lru_cache(MAX_LAYOUTS)(self._layout)
        self.backward = lru_cache(partial(backward, saving))
        run = forward(saving, self.outputs)
        programs = [run, *([self.backward(adds_currents=False).program] if saving.live else [])]
        # A sum of currents takes one more register and a sum.
        if any(one.registers > MAX_REGISTERS - 2 for one in programs):
            raise EquationError(f"the step takes more than {MAX_REGISTERS} registers")
        self._compiled_forward = _native.Chunk(**encoded(run))
        self._compiled_codes = lru_cache(lambda levels: _native.Chunk(**encoded(forward(saving, (), levels))))
        self._compiled_backward = lru_cache(
            lambda adds_currents: _native.Chunk(**encoded(self.backward(adds_currents=adds_currents).program))
        )

    def run_forward(
        self,
        current: Tensor,
        states: list[Tensor],
        rows: Rows,
        place: Place,
        steps: int,
        *,
        spikes: Tensor,
        after: list[Tensor],
        computed: dict[Value, Tensor],
        levels: Levels | None = None,
    ) -> bool:
        """Fill in the spikes, the states after the chunk and the values to save, all in memory order.

        Args:
            levels: if given, fill `spikes` with codes.
        Returns:
            whether every spike has a code.
        """
        kind = ForwardKind(steps, place, current.dtype, current.shape[0], rows.key, tuple(computed), levels)
        return self._run(kind, [current, *states, *rows.values, spikes, *after, *computed.values()])

    def run_backward(
        self,
        spikes: Tensor | None,
        after: list[Tensor | None],
        saved: list[Tensor],
        slopes: list[dict[int, Tensor]],
        rows: Rows,
        place: Place,
        steps: int,
        dtype: torch.dtype,
        *,
        adds_currents: bool,
        current: Tensor | None,
        states: list[Tensor | None],
    ) -> list[Tensor]:
        """Fill in the gradients of the current and of the states before the chunk, all in memory order.

        Args:
            spikes, after: the incoming gradients, [K or 1, ...] for the spikes.
            saved: a tensor for each slot.
            slopes: the derivatives of each of the program's surrogates, by the slots of its argument.
            rows: the rows that the program reads.
        Returns:
            the sums of each summed row, [K or 1, columns].
        """
        currents = [
            one.shape[0]
            for one, source in zip(saved, self.slots(steps).found, strict=True)
            if source.place == "current"
        ]
        kind = BackwardKind(
            steps,
            place,
            dtype,
            adds_currents,
            None if spikes is None else spikes.shape[0],
            tuple(one is not None for one in after),
            tuple(currents),
            rows.key,
        )
        made = self.backward(adds_currents=adds_currents)
        kinds = [rows.key[made.rows.index(row)] for row in made.summed]
        sums = [torch.empty(count, columns, dtype=dtype, device="cpu") for (columns, _), count in kinds]
        values = [one for of_argument in slopes for one in of_argument.values()]
        tensors = (spikes, *saved, *values, *rows.values, *after, current, *states, *sums)
        self._run(kind, [one for one in tensors if one is not None])
        return sums

    def _run(self, kind: ForwardKind | BackwardKind, tensors: list[Tensor]) -> bool:
        return self.layout(kind).run([one.data_ptr() for one in tensors], torch.get_num_threads())

    def _layout(self, kind: ForwardKind | BackwardKind) -> _native.ChunkLayout:
        slots = self.slots(kind.steps)
        if isinstance(kind, BackwardKind):
            layout = backward_layout(self.saving, slots, kind, self.backward(adds_currents=kind.adds_currents))
            return layout.compiled(self._compiled_backward(kind.adds_currents), self._instruction_set)
        chunk = self._compiled_forward if kind.levels is None else self._compiled_codes(kind.levels)
        layout = forward_layout(self.saving, slots, kind, self.outputs)
        return layout.compiled(chunk, self._instruction_set)
