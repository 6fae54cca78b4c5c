"""Which chunks of a step Triton's kernels run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from hdlif.equations import Needs, Saving, WrittenStep
from hdlif.errors import EquationError
from hdlif.kernels.chunk.gpu.kernels import Kernels
from hdlif.kernels.chunk.plan import are_columns
from hdlif.kernels.gpu.launching import MOST_ENTRIES


class GPUStep:
    """Runs chunks of a step.

    Args:
        step: as it is written.
    """

    def __init__(self, step: WrittenStep) -> None:
        self.step = step
        self._plans: dict[tuple[Needs, bool], Kernels | None] = {}

    def plan(self, needs: Needs, steps: int, current: Tensor) -> Kernels | None:
        """How a chunk is run, made once.

        None where the kernels do not serve: where a surrogate is no program and its argument is not saved, and where
        the saved bits of a step do not fill bytes, as two instances would write to one of them.
        """
        key = needs, steps == 1
        if key not in self._plans:
            try:
                self._plans[key] = Kernels(Saving(self.step, needs, steps == 1))
            except EquationError:
                self._plans[key] = None
        plan = self._plans[key]
        return None if plan is not None and plan.has_bits and current[0].numel() % 8 else plan


def serves(current: Tensor, states: Sequence[Tensor], rows: Sequence[Any]) -> bool:
    """Whether a chunk is one for these kernels: plain tensors in float32 on one device, and rows in columns."""
    if current.dtype != torch.float32 or not 0 < current[0].numel() < MOST_ENTRIES:
        return False
    return are_columns(current, states, rows)
