"""Batch norm as three rows of a channel, scale·(x - mean) + shift, applied by what runs next or in a pass of its own.

Its statistics come from sums over a batch, which a convolution of codes gives along with its maps. Where a neuron
applies the rows, the gradient of x through it is given, and the part that comes through the statistics is added to it
in one pass. The norm's own pass adds what stands behind it as well, such as the other branch of a residual block.
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

    @staticmethod
    def of_nothing() -> Moments:
        """Where running statistics normalise maps that no convolution has summed."""
        return Moments(torch.empty(0), torch.empty(0), 0)


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
        if self.of_batch and len(moments.totals) < len(self.steps):
            # Of one step that is run several times.
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

    def applied(self, maps: Tensor, moments: Moments, plus: Tensor | None = None, *, in_place: bool = False) -> Tensor:
        """The maps normalised, in one pass, plus others.

        Args:
            maps: [K, B, C, H, W] as of `moments_of`.
            moments: theirs; K or more steps: of one step that is run K times, the first row is applied.
            plus: what is added, [K or 1, B, C, H, W], laid as the maps are.
            in_place: whether the result may take their place, where no graph is made.
        """
        if torch.is_grad_enabled():
            y: Tensor = _Applied.apply(maps, self.weight, self.bias, plus, self, moments)  # type: ignore[no-untyped-call]
            return y
        return applied(maps, self.rows(moments), plus, in_place=in_place)

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
        **_laid(maps),
        totals=totals.data_ptr(),
        squares=squares.data_ptr(),
        threads=torch.get_num_threads(),
    )
    return Moments(totals, squares, batch * height * width)


def applied(maps: Tensor, rows: Rows, plus: Tensor | None = None, *, in_place: bool = False) -> Tensor:
    """scale·(x - mean) + shift of maps as of `moments_of`, plus others, without a graph."""
    y = maps if in_place else torch.empty_like(maps)
    _native.normalise(
        maps.data_ptr(),
        rows.mean.data_ptr(),
        rows.scale.data_ptr(),
        rows.shift.data_ptr(),
        0 if plus is None else plus.data_ptr(),
        1 if plus is None else plus.shape[0] * plus.shape[1],
        **_laid(maps),
        y=y.data_ptr(),
        threads=torch.get_num_threads(),
    )
    return y


def _laid(maps: Tensor) -> dict[str, Any]:
    """How maps [K, B, C, H, W] lie, as the kernels take it."""
    steps, batch, channels, height, width = maps.shape
    return {
        "images": steps * batch,
        "group": batch,
        "pixels": height * width,
        "channels": channels,
        "channels_last": not maps.is_contiguous(),
    }


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
        of_weight, of_bias, constant, by_distance = _through_statistics(
            Rows(mean, scale, mean), slope, ctx.count, of_scale.contiguous(), of_shift.contiguous()
        )
        if ctx.needs_input_grad[0]:
            # What comes in has no other reader.
            of_maps = _like(of_maps, maps)
            _give_gradient(of_maps, maps, None, constant, by_distance, to=of_maps)
        return of_maps, of_weight, of_bias, None, None


class _Applied(torch.autograd.Function):
    """As `_Normed`, by the pass that applies the rows, so that scale·g is its own."""

    @staticmethod
    def forward(
        ctx: Any, maps: Tensor, weight: Tensor, bias: Tensor, plus: Tensor | None, norm: Norm, moments: Moments
    ) -> Tensor:
        assert norm.of_batch
        assert moments.are_units
        slope = norm.empty()
        rows = norm.rows(moments, slope=slope)
        ctx.count = moments.count
        ctx.is_shared = plus is not None and len(plus) < len(maps)
        ctx.save_for_backward(maps, *(row[: len(maps)] for row in (rows.mean, rows.scale, slope)))
        return applied(maps, rows, plus)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        maps, mean, scale, slope = ctx.saved_tensors
        gradient = _like(grads[0], maps)
        of_scale, of_shift = torch.empty_like(scale), torch.empty_like(scale)
        _native.sum_row_gradients(
            gradient.data_ptr(),
            maps.data_ptr(),
            mean.data_ptr(),
            **_laid(maps),
            of_scale=of_scale.data_ptr(),
            of_shift=of_shift.data_ptr(),
            threads=torch.get_num_threads(),
        )
        of_weight, of_bias, constant, by_distance = _through_statistics(
            Rows(mean, scale, mean), slope, ctx.count, of_scale, of_shift
        )
        of_maps = None
        if ctx.needs_input_grad[0]:
            of_maps = torch.empty_like(maps)
            _give_gradient(gradient, maps, scale, constant, by_distance, to=of_maps)
        of_plus = None
        if ctx.needs_input_grad[3]:
            of_plus = gradient.sum(0, keepdim=True) if ctx.is_shared else gradient
        return of_maps, of_weight, of_bias, of_plus, None, None


def _like(gradient: Tensor, maps: Tensor) -> Tensor:
    """A gradient that lies as its maps do."""
    # What `expand` and autograd's zeros give has strides of 0.
    return gradient if gradient.stride() == maps.stride() else torch.empty_like(maps).copy_(gradient)


def _through_statistics(
    rows: Rows, slope: Tensor, count: int, of_scale: Tensor, of_shift: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """From the gradients of scale and shift those of weight and bias, and a shift and a scale of x, which the gradient
    of x through the statistics is."""
    steps, _, channels = rows.mean.shape[:3]
    of_weight = torch.empty(channels, dtype=torch.float32, device=_CPU)
    of_bias, constant, by_distance = torch.empty_like(of_weight), torch.empty_like(slope), torch.empty_like(slope)
    _native.batch_norm_gradients(
        rows.mean.data_ptr(),
        rows.scale.data_ptr(),
        slope.data_ptr(),
        count,
        steps,
        channels,
        of_scale.data_ptr(),
        of_shift.data_ptr(),
        of_weight.data_ptr(),
        of_bias.data_ptr(),
        constant.data_ptr(),
        by_distance.data_ptr(),
    )
    return of_weight, of_bias, constant, by_distance


def _give_gradient(
    gradient: Tensor, maps: Tensor, scale: Tensor | None, shift: Tensor, slope: Tensor, *, to: Tensor
) -> None:
    """(scale·)gradient + shift + slope·x, which may take the place of the gradient."""
    _native.maps_gradient(
        gradient.data_ptr(),
        maps.data_ptr(),
        0 if scale is None else scale.data_ptr(),
        shift.data_ptr(),
        slope.data_ptr(),
        **_laid(maps),
        to=to.data_ptr(),
        threads=torch.get_num_threads(),
    )
