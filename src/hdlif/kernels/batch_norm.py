"""Batch norm as three rows of a channel, scale·(x - mean) + shift, which whatever runs next may apply.

Its statistics come from sums over a batch, which a convolution of codes gives along with its maps. Back, the gradient
of x through what applied the rows is given; the part that comes through the statistics is added to it in one pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.graph import increment_version

from hdlif import _native
from hdlif.functional.once import once_differentiable

_CPU = torch.device("cpu")


@dataclass(frozen=True)
class Moments:
    """Of each step of maps what its channels add up to.

    Attributes:
        totals, squares: sums of the values and of their squares, [K, C] in float64.
        count: how many values of a channel there are.
        unit: [C] in float32, what a value that was summed stands for; 1 where there is none.
        are_units: whether the maps themselves have been multiplied by it.
    """

    totals: Tensor
    squares: Tensor
    count: int
    unit: Tensor | None = None
    are_units: bool = True


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
        steps: the row of the running statistics of each step.
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
        channels = self.weight.shape[0]
        rows = Rows(self.empty(), self.empty(), self.empty())
        _native.batch_norm_rows(
            self.weight.data_ptr(),
            self.bias.data_ptr(),
            self.eps,
            self.running_mean.data_ptr(),
            self.running_var.data_ptr(),
            list(self.steps),
            list(self.momenta),
            totals=moments.totals.data_ptr() if self.of_batch else 0,
            squares=moments.squares.data_ptr() if self.of_batch else 0,
            count=moments.count,
            unit=0 if moments.unit is None else moments.unit.data_ptr(),
            are_units=moments.are_units,
            channels=channels,
            mean=rows.mean.data_ptr(),
            scale=rows.scale.data_ptr(),
            shift=rows.shift.data_ptr(),
            slope=0 if slope is None else slope.data_ptr(),
        )
        for running in (self.running_mean, self.running_var):
            # It was written to by its address, which PyTorch does not see.
            if self.of_batch and not running.is_inference():
                increment_version(running)
        return rows

    def empty(self) -> Tensor:
        """A row, to be filled."""
        return torch.empty(len(self.steps), 1, self.weight.shape[0], 1, 1, dtype=torch.float32, device=_CPU)

    def rows_with_graph(self, maps: Tensor, moments: Moments) -> tuple[Tensor, Rows]:
        """The maps and the rows, through which the gradient comes back to the maps, by batch statistics, and to the
        weight and bias. Nobody else may read the maps that are returned."""
        maps, *rows = _Normed.apply(maps, self.weight, self.bias, self, moments)  # type: ignore[no-untyped-call]
        return maps, Rows(*rows)


def moments_of(maps: Tensor) -> Moments:
    """Those of maps [K, B, C, H, W] of float32 that lie one behind the other, channels last or not."""
    steps, batch, channels, height, width = maps.shape
    totals = torch.empty(steps, channels, dtype=torch.float64, device=_CPU)
    squares = torch.empty_like(totals)
    _native.batch_moments(
        maps.data_ptr(),
        steps * batch,
        batch,
        height * width,
        channels,
        not maps.is_contiguous(),
        totals.data_ptr(),
        squares.data_ptr(),
        threads=torch.get_num_threads(),
    )
    return Moments(totals, squares, batch * height * width)


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
        maps, mean, scale, slope = ctx.saved_tensors
        steps, batch, channels, height, width = maps.shape
        of_scale, of_shift = of_scale.contiguous(), of_shift.contiguous()
        of_weight = torch.empty(channels, dtype=torch.float32, device=_CPU)
        of_bias, constant, by_distance = torch.empty_like(of_weight), torch.empty_like(mean), torch.empty_like(mean)
        _native.batch_norm_gradients(
            mean.data_ptr(),
            scale.data_ptr(),
            slope.data_ptr(),
            ctx.count,
            steps,
            channels,
            of_scale.data_ptr(),
            of_shift.data_ptr(),
            of_weight.data_ptr(),
            of_bias.data_ptr(),
            constant.data_ptr(),
            by_distance.data_ptr(),
        )
        if ctx.needs_input_grad[0]:
            # What comes in has no other reader.
            if of_maps.stride() != maps.stride():
                of_maps = torch.empty_like(maps).copy_(of_maps)
            _native.add_statistics_gradient(
                maps.data_ptr(),
                constant.data_ptr(),
                by_distance.data_ptr(),
                steps * batch,
                batch,
                height * width,
                channels,
                not maps.is_contiguous(),
                of_maps.data_ptr(),
                threads=torch.get_num_threads(),
            )
        return of_maps, of_weight, of_bias, None, None
