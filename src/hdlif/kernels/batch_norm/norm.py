"""A batch norm at the steps of a chunk, and its gradient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.graph import increment_version

from hdlif.functional.once import once_differentiable
from hdlif.kernels import devices
from hdlif.kernels.batch_norm import gpu, native
from hdlif.kernels.batch_norm.moments import Moments
from hdlif.kernels.gpu.launching import MOST_ENTRIES
from hdlif.kernels.plain import is_dense


class Rows(NamedTuple):
    """y = scale·(x - mean) + shift, [K, 1, C, 1, 1] each."""

    mean: Tensor
    scale: Tensor
    shift: Tensor


@dataclass(frozen=True)
class Norm:
    """A batch norm at the steps of a chunk.

    Attributes:
        weight, bias, running_mean, running_var: of float32, the last two [rows, C] or [C].
        steps: the row of the running statistics of each step; none is behind that of the step before.
        momenta: the share of each step's batch in them.
        of_batch: whether the batch's statistics are taken, and enter the running ones; else the running ones are.
    """

    weight: Tensor
    bias: Tensor
    eps: float
    running_mean: Tensor
    running_var: Tensor
    steps: Sequence[int]
    momenta: Sequence[float]
    of_batch: bool

    def rows(self, moments: Moments, *, slope: Tensor | None = None) -> Rows:
        """What normalises maps with these moments.

        Args:
            slope: of so many entries as a row, filled with 1/√(σ² + eps).
        """
        if self.of_batch and len(moments.totals) < len(self.steps):
            # Of one step that is run several times.
            totals, squares = (one.repeat(len(self.steps), 1) for one in (moments.totals, moments.squares))
            moments = replace(moments, totals=totals, squares=squares)
        rows = Rows(self.empty(), self.empty(), self.empty())
        fill = native.fill_rows if _are_native(self.weight) else gpu.fill_rows
        fill(
            (self.weight, self.bias, self.running_mean, self.running_var),
            self.eps,
            (self.steps, self.momenta),
            moments,
            (*rows, slope),
            of_batch=self.of_batch,
        )
        for running in (self.running_mean, self.running_var):
            # It was written to by its address, which PyTorch does not see.
            if self.of_batch and not running.is_inference():
                increment_version(running)
        return rows

    def empty(self) -> Tensor:
        """A row, to be filled."""
        return self.weight.detach().new_empty(len(self.steps), 1, self.weight.shape[0], 1, 1)

    def rows_with_graph(self, maps: Tensor, moments: Moments) -> tuple[Tensor, Rows]:
        """The maps and the rows, through which the gradient comes back to the maps, by batch statistics, and to the
        weight and bias. Nobody else may read the maps that are returned."""
        maps, *rows = _Normed.apply(maps, self.weight, self.bias, self, moments)  # type: ignore[no-untyped-call]
        return maps, Rows(*rows)


def serves(maps: Tensor) -> bool:
    """Whether maps [K, B, C, H, W] of float32, plain ones, are for these kernels: one behind the other, channels last
    or not."""
    if not is_dense(maps):
        return False
    return _are_native(maps) or maps[0].numel() < MOST_ENTRIES


def moments_of(maps: Tensor) -> Moments:
    """Those of maps that are for these kernels."""
    return (native.moments_of if _are_native(maps) else gpu.moments_of)(maps)


def _are_native(tensor: Tensor) -> bool:
    kernels = devices.kernels_for(tensor.device)
    assert kernels is not None
    return kernels == "native"


class _Normed(torch.autograd.Function):
    """With g the gradient of scale·(x - mean) + shift, S₀ = Σ g and S₁ = Σ g·(x - mean) over n values, and r the slope:
    dL/dx = scale·(g - S₀/n - (x - mean)·r²·S₁/n), of which scale·g comes in."""

    @staticmethod
    def forward(
        ctx: Any, maps: Tensor, weight: Tensor, bias: Tensor, norm: Norm, moments: Moments
    ) -> tuple[Tensor, ...]:
        assert norm.of_batch
        assert moments.are_units
        slope = norm.empty()
        rows = norm.rows(moments, slope=slope)
        ctx.count = moments.count
        ctx.save_for_backward(maps, rows.mean, rows.scale, slope)
        ctx.mark_non_differentiable(rows.mean)
        return maps.view_as(maps), *rows

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        of_maps, _, of_scale, of_shift = grads
        maps, *rows = ctx.saved_tensors
        if ctx.needs_input_grad[0]:
            # What comes in has no other reader.
            of_maps = like(of_maps, maps)
        gradients = native.gradients if _are_native(maps) else gpu.gradients
        of_weight, of_bias = gradients(
            maps,
            rows,
            ctx.count,
            (of_scale.contiguous(), of_shift.contiguous()),
            of_maps if ctx.needs_input_grad[0] else None,
        )
        return of_maps, of_weight, of_bias, None, None


def like(gradient: Tensor, maps: Tensor) -> Tensor:
    """A gradient that lies as its maps do."""
    return gradient if gradient.stride() == maps.stride() else torch.empty_like(maps).copy_(gradient)
