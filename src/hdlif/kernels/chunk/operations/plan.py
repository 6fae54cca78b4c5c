"""What a chunk of a step computes and saves, made once for all chunks alike."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from hdlif.equations import Saving, Source, Value
from hdlif.functional.sequence import eights_of_bytes
from hdlif.kernels.chunk.operations.backwards import backwards
from hdlif.kernels.chunk.operations.computing import Compute, computing


class Plan:
    """What is computed in a step, forward and backward, in order.

    Attributes:
        places: of the values, in the list that a step has of them.
        forward, again: a place and what computes it, in the forward pass, and in the backward pass from what is saved.
        start, back: how the results pass their gradients on, and each register with a gradient, in order.
        rows: the registers of the rows that the backward pass reads, or that have a gradient.
    """

    def __init__(self, saving: Saving, dtype: torch.dtype, device: torch.device) -> None:
        self.saving, self.dtype, self.device = saving, dtype, device
        program = saving.program
        kinds = sorted(value for value in {*saving.kept, *saving.read} if value.kind != "value")
        self.places = {Value(register): register for register in range(program.registers)}
        self.places |= {value: place for place, value in enumerate(kinds, program.registers)}
        given = [Value(register) for register in range(program.first)]
        results = [Value(register) for register in (program.spike, *program.after)]
        self.forward = self._computing((*results, *saving.kept), given)
        # What a row's gradient is summed to is seen at its value.
        alike = [Value(register) for register in saving.live - program.varying]
        self.again = self._computing((*saving.read, *alike), (*saving.kept, *given))
        self.start, self.back = backwards(saving, self.places)
        rows = range(1 + len(program.states), program.first)
        self.rows = [row for row in rows if row in saving.rows or row in saving.live]
        self.eights = eights_of_bytes(device)
        self._sources: dict[int, tuple[list[list[Source]], list[Value]]] = {}

    def sources(self, steps: int) -> tuple[list[list[Source]], list[Value]]:
        """Of each step those of what is saved, and the values among them that steps compute."""
        if steps not in self._sources:
            found = self.saving.sources(steps)
            computed = [source.value for of_step in found for source in of_step if source.place == "computed"]
            self._sources[steps] = found, list(dict.fromkeys(computed))
        return self._sources[steps]

    def small(self, value: Value, tensor: Tensor) -> Tensor:
        """As it is saved: truth values, which are packed later, or a byte where that says all."""
        if self.saving.are_bits(value):
            return tensor.bool()
        return tensor.to(torch.int8) if value.kind in ("share", "sign") else tensor

    def _computing(self, values: Sequence[Value], known: Sequence[Value]) -> list[tuple[int, Compute]]:
        order = self.saving.order(values, known)
        return [(self.places[value], computing(self.saving.step, value, self.dtype, self.device)) for value in order]
