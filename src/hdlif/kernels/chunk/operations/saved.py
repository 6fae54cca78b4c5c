"""What a chunk saves for its backward pass, and what a step of it reads there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from hdlif.equations import Saving, Source, Value
from hdlif.functional.sequence import pack_bits, unpack_bits
from hdlif.kernels.chunk.operations.computing import Held
from hdlif.kernels.chunk.operations.forward import Forward, unbound
from hdlif.kernels.chunk.operations.plan import Plan


class Saved:
    """What is saved, each tensor once, and bits packed.

    Attributes:
        places: by source, which tensor it is in, and in which row of it; None for all of it.
        bits: the shapes of those that are bits, by their places.
    """

    def __init__(self, saving: Saving, given: Sequence[Any], run: Forward, spikes: Tensor) -> None:
        program = saving.program
        self._saving, self._given, self._run = saving, given, run
        self._wholes = {Value(0): given[0]}
        if program.spike >= program.first and program.spike not in program.after:
            # Saved as it is given away, where the layer behind may save it too.
            self._wholes[Value(program.spike)] = spikes
        self._parts: list[list[Tensor]] = []
        self._found: dict[Value, int] = {}
        self.places: dict[Source, tuple[int, int | None]] = {}
        self.bits: dict[int, torch.Size] = {}

    def put(self, source: Source) -> None:
        """Save what a source names, if it is not saved."""
        if source in self.places:
            return
        place, value, k = source
        if place == "before":
            self.places[source] = self._add(self._given[value.register]), None
        elif place == "computed" and self._saving.are_bits(value):
            tensor = self._run.computed[k][value]
            if value not in self._found:
                self._found[value] = self._add()
            parts = self._parts[self._found[value]]
            self.places[source] = self._found[value], len(parts)
            parts.append(tensor)
        elif value in self._wholes:
            whole = self._wholes[value]
            if value not in self._found:
                self._found[value] = self._add(whole)
            self.places[source] = self._found[value], k if len(whole) > 1 else 0
        else:
            self.places[source] = self._add(self._run.computed[k][value]), None

    def _add(self, *parts: Tensor) -> int:
        self._parts.append(list(parts))
        return len(self._parts) - 1

    def tensors(self) -> list[Tensor]:
        """By place."""
        found = []
        for place, parts in enumerate(self._parts):
            if parts[0].dtype == torch.bool:
                self.bits[place] = torch.Size((len(parts), *parts[0].shape))
                found.append(pack_bits(torch.stack(parts) if len(parts) > 1 else parts[0]))
            else:
                found += parts
        return found


class HeldAt:
    """The values that a step has in the backward pass: what was saved, and what follows from it."""

    def __init__(self, ctx: Any) -> None:
        self._plan: Plan = ctx.plan
        self._sources, self._places = ctx.sources, ctx.places
        saved = ctx.saved_tensors
        count = len(saved) - sum(row is None for row in ctx.rows.values())
        self._tensors = list(saved[:count])
        for place, shape in ctx.bits.items():
            self._tensors[place] = unpack_bits(self._tensors[place], shape, self._plan.eights).view(torch.uint8)
        rows = iter(saved[count:])
        self._rows = {
            register: unbound(next(rows) if number is None else number, len(ctx.sources))
            for register, number in ctx.rows.items()
        }

    def __call__(self, k: int) -> list[Held]:
        """Of step k."""
        plan = self._plan
        held: list[Held] = [None] * len(plan.places)
        for register, row in self._rows.items():
            held[register] = row[k]
        for value, source in zip(plan.saving.kept, self._sources[k], strict=True):
            place, row = self._places[source]
            tensor = self._tensors[place]
            held[plan.places[value]] = (tensor if row is None else tensor[row]).to(plan.dtype)
        for place, compute in plan.again:
            held[place] = compute(held)
        return held
