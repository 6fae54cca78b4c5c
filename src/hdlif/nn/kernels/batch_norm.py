"""Batch norm on a CPU as scale·(x - mean) + shift, with three rows of parameters (`native/training/batch_norm.h`).

Either the next neuron layer or a separate pass over the maps applies the rows. A separate pass can also add a summand,
such as the other branch of a residual block. A convolution of codes returns its maps together with the sums for batch
statistics. The backward pass computes the gradient through the statistics in one pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.graph import increment_version

from hdlif import _native
from hdlif.functional.once import once_differentiable
from hdlif.nn.kernels.tensors import is_plain


@dataclass(frozen=True)
class Moments:
    """Sums of the values and of their squares, per step and channel, for batch statistics.

    Attributes:
        totals, squares: sums of the values and of their squares, [K, C] in float64.
        count: the number of values per channel.
        unit: [C] in float32, the factor from a summed value to a value of the maps; None for 1.
        are_units: whether the maps are multiplied by `unit` already.
    """

    totals: Tensor
    squares: Tensor
    count: int
    unit: Tensor | None = None
    are_units: bool = True

    @staticmethod
    def of_nothing(maps: Tensor) -> Moments:
        """Return empty moments, for normalisation by running statistics."""
        nothing = maps.new_empty(0, dtype=torch.float64)
        return Moments(nothing, nothing, 0)


def moments_of(maps: Tensor) -> Moments:
    """Return the moments of dense maps [K, B, C, H, W] in contiguous or channels-last layout."""
    steps, batch, channels, height, width = maps.shape
    totals = maps.new_empty(steps, channels, dtype=torch.float64)
    squares = torch.empty_like(totals)
    _native.batch_moments(
        maps.data_ptr(),
        **_sizes(maps),
        totals=totals.data_ptr(),
        squares=squares.data_ptr(),
        threads=torch.get_num_threads(),
    )
    return Moments(totals, squares, batch * height * width)


class Rows(NamedTuple):
    """The rows of y = scale·(x - mean) + shift, each with shape [K, 1, C, 1, 1]."""

    mean: Tensor
    scale: Tensor
    shift: Tensor


@dataclass(frozen=True)
class Norm:
    """A batch norm at the steps of a chunk.

    Attributes:
        weight, bias, running_mean, running_var: float32 tensors, the last two [rows, C] or [C].
        steps: the row of the running statistics for each step, in ascending order.
        momenta: the weight of each step's batch in the running statistics.
        of_batch: normalise by the batch's statistics and update the running ones; else normalise by the running ones.
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
        """Return the rows for maps with the given moments, and update the running statistics step by step.

        Args:
            slope: filled with 1/√(σ² + eps); shaped like a row.
        """
        if self.of_batch and len(moments.totals) < len(self.steps):
            # One step runs several times.
            totals, squares = (one.repeat(len(self.steps), 1) for one in (moments.totals, moments.squares))
            moments = replace(moments, totals=totals, squares=squares)
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
            channels=self.weight.shape[0],
            mean=rows.mean.data_ptr(),
            scale=rows.scale.data_ptr(),
            shift=rows.shift.data_ptr(),
            slope=0 if slope is None else slope.data_ptr(),
        )
        for running in (self.running_mean, self.running_var):
            # The kernel writes by address, which PyTorch cannot detect.
            if self.of_batch and not running.is_inference():
                increment_version(running)
        return rows

    def empty(self) -> Tensor:
        """Return an uninitialised row."""
        return self.weight.detach().new_empty(len(self.steps), 1, self.weight.shape[0], 1, 1)

    def rows_with_graph(self, maps: Tensor, moments: Moments) -> tuple[Tensor, Rows]:
        """Return maps and rows with a graph to the maps, weight and bias.

        Only one consumer may read the returned maps.
        """
        maps, *rows = _NormRows.apply(maps, self.weight, self.bias, self, moments)  # type: ignore[no-untyped-call]
        return maps, Rows(*rows)


class _NormRows(torch.autograd.Function):
    """Compute a batch norm's rows, with dL/dx = scale·(g - S₀/n - (x - mean)·r²·S₁/n) for the output gradient g.

    The incoming gradient of the maps is scale·g, where g is the gradient of scale·(x - mean) + shift. Here, r = 1/√(σ²
    + eps), S₀ = Σ g and S₁ = Σ g·(x - mean), with sums over n values.
    """

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
            # Nothing else reads the incoming gradient.
            of_maps = _laid_like(of_maps, maps)
        of_weight, of_bias = _gradients(
            maps,
            rows,
            ctx.count,
            (of_scale.contiguous(), of_shift.contiguous()),
            of_maps if ctx.needs_input_grad[0] else None,
        )
        return of_maps, of_weight, of_bias, None, None


def _laid_like(gradient: Tensor, maps: Tensor) -> Tensor:
    """Return a gradient in the memory layout of `maps`."""
    return gradient if gradient.stride() == maps.stride() else torch.empty_like(maps).copy_(gradient)


def apply_rows(maps: Tensor, rows: Rows, plus: Tensor | None = None, *, in_place: bool = False) -> Tensor:
    """Return scale·(x - mean) + shift, plus an optional summand, without a graph.

    Args:
        maps: dense float32 [K, B, C, H, W] in a CPU's memory.
        rows: K rows or more; the first K are applied.
        plus: the summand, [K or 1, B, C, H, W] in the layout of the maps.
        in_place: overwrite the maps.
    """
    y = maps if in_place else torch.empty_like(maps)
    _native.normalise(
        maps.data_ptr(),
        rows.mean.data_ptr(),
        rows.scale.data_ptr(),
        rows.shift.data_ptr(),
        0 if plus is None else plus.data_ptr(),
        1 if plus is None else plus.shape[0] * plus.shape[1],
        **_sizes(maps),
        y=y.data_ptr(),
        threads=torch.get_num_threads(),
    )
    return y


def apply_norm(norm: Norm, maps: Tensor, moments: Moments, plus: Tensor | None = None) -> Tensor:
    """Normalise feature maps with batch statistics, and let gradients flow through the statistics.

    Args:
        moments: the moments of the maps; if one step runs K times, its first row is applied.
    """
    y: Tensor = _NormPass.apply(maps, norm.weight, norm.bias, plus, norm, moments)  # type: ignore[no-untyped-call]
    return y


class _NormPass(torch.autograd.Function):
    """Compute and apply the rows of a batch norm, with dL/dx as in `_NormRows` for the incoming gradient g."""

    @staticmethod
    def forward(
        ctx: Any, maps: Tensor, weight: Tensor, bias: Tensor, plus: Tensor | None, norm: Norm, moments: Moments
    ) -> Tensor:
        assert norm.of_batch
        assert moments.are_units
        slope = norm.empty()
        rows = norm.rows(moments, slope=slope)
        ctx.count, ctx.eps = moments.count, norm.eps
        ctx.is_shared = plus is not None and len(plus) < len(maps)
        ctx.save_for_backward(maps, weight, *(row[: len(maps)] for row in (rows.mean, rows.scale, slope)))
        return apply_rows(maps, rows, plus)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        maps, weight, *rows = ctx.saved_tensors
        if torch.is_grad_enabled() or not is_plain(grads[0], maps.device):
            return _operations_backward(ctx, grads[0], maps, weight, rows)
        gradient = _laid_like(grads[0], maps)
        arriving = _row_gradients(gradient, maps, rows[0])
        of_maps = torch.empty_like(maps) if ctx.needs_input_grad[0] else None
        of_weight, of_bias = _gradients(maps, rows, ctx.count, arriving, of_maps, through=gradient)
        return of_maps, of_weight, of_bias, _summand_gradient(ctx, gradient), None, None


def _operations_backward(
    ctx: Any, gradient: Tensor, maps: Tensor, weight: Tensor, rows: Sequence[Tensor]
) -> tuple[Tensor | None, ...]:
    """Run the backward pass with PyTorch operations, which support second derivatives and batched gradients."""
    mean, _, slope = (row.flatten(1) for row in rows)
    of_steps = [
        torch.ops.aten.native_batch_norm_backward(
            back, step.contiguous(), weight, None, None, of_mean, of_slope, True, ctx.eps, [True, True, True]
        )
        for back, step, of_mean, of_slope in zip(gradient.unbind(), maps.unbind(), mean, slope, strict=True)
    ]
    of_maps, of_weight, of_bias = (torch.stack(of) for of in zip(*of_steps, strict=True))
    return of_maps, of_weight.sum(0), of_bias.sum(0), _summand_gradient(ctx, gradient), None, None


def _summand_gradient(ctx: Any, gradient: Tensor) -> Tensor | None:
    """Return the gradient of the summand, summed over time if all steps share one summand."""
    if not ctx.needs_input_grad[3]:
        return None
    return gradient.sum(0, keepdim=True) if ctx.is_shared else gradient


def _gradients(
    maps: Tensor,
    rows: Sequence[Tensor],
    count: int,
    arriving: tuple[Tensor, Tensor],
    of_maps: Tensor | None,
    *,
    through: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Return the gradients [C] of weight and bias, and add the gradient through the statistics to `of_maps` in place.

    Args:
        rows: mean, scale and slope.
        count: the number of values per channel.
        arriving: the gradients of scale and shift.
        of_maps: the gradient of the maps in the maps' layout; None if not required.
        through: the gradient of the normalised maps, in the same layout; `of_maps` is then overwritten with the full
            gradient.
    """
    mean, scale, slope = rows
    steps, _, channels = maps.shape[:3]
    of_weight, of_bias = mean.new_empty(channels), mean.new_empty(channels)
    constant, by_distance = torch.empty_like(mean), torch.empty_like(mean)
    _native.batch_norm_gradients(
        mean.data_ptr(),
        scale.data_ptr(),
        slope.data_ptr(),
        count,
        steps,
        channels,
        arriving[0].data_ptr(),
        arriving[1].data_ptr(),
        of_weight.data_ptr(),
        of_bias.data_ptr(),
        constant.data_ptr(),
        by_distance.data_ptr(),
    )
    if of_maps is not None:
        _native.maps_gradient(
            (of_maps if through is None else through).data_ptr(),
            maps.data_ptr(),
            0 if through is None else scale.data_ptr(),
            constant.data_ptr(),
            by_distance.data_ptr(),
            **_sizes(maps),
            to=of_maps.data_ptr(),
            threads=torch.get_num_threads(),
        )
    return of_weight, of_bias


def _row_gradients(gradient: Tensor, maps: Tensor, mean: Tensor) -> tuple[Tensor, Tensor]:
    """Return the gradients of scale and shift, Σ g·(x - mean) and Σ g, given the gradient g of the normalised maps."""
    of_scale, of_shift = torch.empty_like(mean), torch.empty_like(mean)
    _native.sum_row_gradients(
        gradient.data_ptr(),
        maps.data_ptr(),
        mean.data_ptr(),
        **_sizes(maps),
        of_scale=of_scale.data_ptr(),
        of_shift=of_shift.data_ptr(),
        threads=torch.get_num_threads(),
    )
    return of_scale, of_shift


def _sizes(maps: Tensor) -> dict[str, Any]:
    """Return the sizes and layout of maps [K, B, C, H, W] as arguments for the kernels."""
    steps, batch, channels, height, width = maps.shape
    return {
        "images": steps * batch,
        "group": batch,
        "pixels": height * width,
        "channels": channels,
        "channels_last": not maps.is_contiguous(),
    }
