"""Chunks of a step, and what runs them."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from hdlif.equations import Needs, WrittenStep
from hdlif.equations.chunk_program import Levels
from hdlif.errors import MissingExtraError
from hdlif.kernels import devices
from hdlif.kernels.chunk import gpu, native, operations, passes
from hdlif.kernels.chunk.places import Place
from hdlif.kernels.chunk.plan import Plan


class FusedStep:
    """Runs chunks of a step.

    Args:
        step: as it is written.
        kernels: the instruction set of the compiled kernels that run it on a CPU, "" for the best of this machine, and
            Triton's kernels on a GPU where Triton is installed; "triton": these wherever the tensors are, which on a
            CPU needs Triton's interpreter; None: PyTorch's operations run it everywhere, as they do where the kernels
            do not serve.
    Raises:
        MissingExtraError: "triton" is asked for and not installed.
    """

    def __init__(self, step: WrittenStep, *, kernels: str | None = "") -> None:
        self.step = step
        if kernels == "triton" and find_spec("triton") is None:
            raise MissingExtraError("triton is not installed; install it with: pip install 'hdlif[triton]'")
        self._is_gpu_everywhere = kernels == "triton"
        self._native = None if kernels is None or self._is_gpu_everywhere else native.NativeStep(step, kernels)
        self._gpu = None if kernels is None else gpu.GPUStep(step)
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
        programs = self._programs(current, states, rows, needs, steps)
        if programs is not None:
            return (passes.run_with_graph if any(asked) else passes.run)(programs, given, steps)
        if not states and steps > 1:
            # Without a state the whole chunk is one step.
            whole = current.expand(steps, *current.shape[1:])[None]
            (spikes,), _ = self(whole, [], [row[None] if isinstance(row, Tensor) else row for row in rows], steps=1)
            return spikes, []
        plan = self._operations.plan(needs, steps, current)
        return (operations.run_with_graph if any(asked) else operations.run)(plan, given, steps)

    def codes(
        self,
        current: Tensor,
        states: Sequence[Tensor],
        rows: Sequence[Any],
        *,
        steps: int,
        levels: Levels,
        room: Tensor,
    ) -> tuple[Place, list[Tensor]] | None:
        """K steps without a graph, of whose spikes the codes alone are given.

        Args:
            current, states, rows, steps: as of a call.
            room: uint8, for the codes of all steps.
        Returns:
            in which order the codes of a step lie, and the states after the chunk; None where the compiled kernels do
            not serve, or a spike is negative or no number.
        """
        if self._native is None or not native.serves(current, states, rows):
            return None
        plan = self._native.plan(Needs(False, (False,) * len(states), (False,) * len(rows)), steps)
        return None if plan is None else passes.run_codes(plan, (current, *states, *rows), steps, levels, room)

    def _programs(
        self, current: Tensor, states: Sequence[Tensor], rows: Sequence[Any], needs: Needs, steps: int
    ) -> Plan | None:
        """What runs a chunk by its programs; None: nothing does."""
        which = "triton" if self._is_gpu_everywhere else devices.kernels_for(current.device)
        if which == "native" and self._native is not None and native.serves(current, states, rows):
            return self._native.plan(needs, steps)
        if which == "triton" and self._gpu is not None and gpu.serves(current, states, rows):
            return self._gpu.plan(needs, steps, current)
        return None
