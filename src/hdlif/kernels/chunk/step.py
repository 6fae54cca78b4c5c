"""Chunks of a step, and what runs them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from hdlif.equations import Needs, WrittenStep
from hdlif.kernels.chunk import native, operations, passes


class FusedStep:
    """Runs chunks of a step.

    Args:
        step: as it is written.
        kernels: the instruction set of the compiled kernels that run it on a CPU, "" for the best of this machine;
            None: PyTorch's operations run it everywhere, as they do where the kernels do not serve.
    """

    def __init__(self, step: WrittenStep, *, kernels: str | None = "") -> None:
        self.step = step
        self._native = None if kernels is None else native.NativeStep(step, kernels)
        self._operations = operations.OperationsStep(step)

    def __call__(
        self, current: Tensor, states: Sequence[Tensor], rows: Sequence[Any], *, steps: int
    ) -> tuple[Tensor, list[Tensor]]:
        """K steps.

        Args:
            current: [K, B, ...], or [1, B, ...] where it is the same at all of them.
            states: before the chunk, [B, ...], of the current's dtype.
            rows: as `WrittenStep.rows` gives them: numbers, or tensors broadcastable to the chunk, with K rows or one,
                of a dtype that is not wider.
            steps: K.
        Returns:
            spikes [K, B, ...], and the states after the chunk.
        """
        given = (current, *states, *rows)
        learns = torch.is_grad_enabled()
        asked = [learns and isinstance(one, Tensor) and one.requires_grad for one in given]
        count = 1 + len(states)
        needs = Needs(asked[0], tuple(asked[1:count]), tuple(asked[count:]))
        if self._native is not None and native.serves(current, states, rows):
            compiled = self._native.plan(needs, steps)
            if compiled is not None:
                return (passes.run_with_graph if any(asked) else passes.run)(compiled, given, steps)
        if not states and steps > 1:
            # Without a state the whole chunk is one step.
            whole = current.expand(steps, *current.shape[1:])[None]
            (spikes,), _ = self(whole, [], [row[None] if isinstance(row, Tensor) else row for row in rows], steps=1)
            return spikes, []
        plan = self._operations.plan(needs, steps, current)
        return (operations.run_with_graph if any(asked) else operations.run)(plan, given, steps)
