"""The compiled kernels of batch norm, called with tensors (`native/training/batch_norm.h`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hdlif import _native


@dataclass(frozen=True)
class Moments:
    """Sums of the channels of maps, for each step.

    Attributes:
        totals, squares: sums of the values and of their squares, [K, C] in float64.
        count: the number of values per channel.
        unit: [C] in float32, the factor from a summed value to a value of the maps; None for 1.
        are_units: whether the maps have been multiplied by it already.
    """

    totals: Tensor
    squares: Tensor
    count: int
    unit: Tensor | None = None
    are_units: bool = True

    @staticmethod
    def of_nothing(maps: Tensor) -> Moments:
        """Return empty moments, for maps that running statistics normalise."""
        nothing = maps.new_empty(0, dtype=torch.float64)
        return Moments(nothing, nothing, 0)


def moments_of(maps: Tensor) -> Moments:
    """Return the moments of dense maps [K, B, C, H, W], channels last or not."""
    steps, batch, channels, height, width = maps.shape
    totals = maps.new_empty(steps, channels, dtype=torch.float64)
    squares = torch.empty_like(totals)
    _native.batch_moments(
        maps.data_ptr(),
        **_laid(maps),
        totals=totals.data_ptr(),
        squares=squares.data_ptr(),
        threads=torch.get_num_threads(),
    )
    return Moments(totals, squares, batch * height * width)


def fill_rows(
    tensors: Sequence[Tensor],
    eps: float,
    steps: tuple[Sequence[int], Sequence[float]],
    moments: Moments,
    rows: Sequence[Tensor | None],
    *,
    of_batch: bool,
) -> None:
    """Fill mean, scale, shift and slope, and update the running statistics by the batch's, step after step.

    Args:
        tensors: weight, bias, running mean and variance.
        steps: for each step its row of the running statistics, and the weight of its batch in them.
        rows: [K, 1, C, 1, 1] each; the slope may be None.
        of_batch: normalise by the batch's statistics; else by the running ones, which do not change.
    """
    weight, bias, running_mean, running_var = tensors
    mean, scale, shift, slope = (0 if row is None else row.data_ptr() for row in rows)
    _native.batch_norm_rows(
        weight.data_ptr(),
        bias.data_ptr(),
        eps,
        running_mean.data_ptr(),
        running_var.data_ptr(),
        list(steps[0]),
        list(steps[1]),
        totals=moments.totals.data_ptr() if of_batch else 0,
        squares=moments.squares.data_ptr() if of_batch else 0,
        count=moments.count,
        unit=0 if moments.unit is None else moments.unit.data_ptr(),
        are_units=moments.are_units,
        channels=weight.shape[0],
        mean=mean,
        scale=scale,
        shift=shift,
        slope=slope,
    )


def gradients(
    maps: Tensor,
    rows: Sequence[Tensor],
    count: int,
    arriving: tuple[Tensor, Tensor],
    of_maps: Tensor | None,
    *,
    through: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Return the gradients of weight and bias, [C]; add the part through the statistics to that of the maps in place.

    Args:
        rows: mean, scale and slope.
        count: the number of values per channel.
        arriving: the gradients of scale and shift.
        of_maps: the gradient of the maps in the maps' layout; None if it is not wanted.
        through: the gradient of the normalised maps, in the same layout; `of_maps` is then overwritten with the whole
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
            **_laid(maps),
            to=of_maps.data_ptr(),
            threads=torch.get_num_threads(),
        )
    return of_weight, of_bias


def normalise(maps: Tensor, rows: Sequence[Tensor], plus: Tensor | None, y: Tensor) -> None:
    """Fill y, which may be the maps, with scale·(x - mean) + shift, plus another summand.

    Args:
        rows: mean, scale and shift.
        plus: [K or 1, B, C, H, W] in the layout of the maps.
    """
    mean, scale, shift = rows
    _native.normalise(
        maps.data_ptr(),
        mean.data_ptr(),
        scale.data_ptr(),
        shift.data_ptr(),
        0 if plus is None else plus.data_ptr(),
        1 if plus is None else plus.shape[0] * plus.shape[1],
        **_laid(maps),
        y=y.data_ptr(),
        threads=torch.get_num_threads(),
    )


def row_gradients(gradient: Tensor, maps: Tensor, mean: Tensor) -> tuple[Tensor, Tensor]:
    """Return the gradients of scale and shift, Σ g·(x - mean) and Σ g, for the gradient g of the normalised maps."""
    of_scale, of_shift = torch.empty_like(mean), torch.empty_like(mean)
    _native.sum_row_gradients(
        gradient.data_ptr(),
        maps.data_ptr(),
        mean.data_ptr(),
        **_laid(maps),
        of_scale=of_scale.data_ptr(),
        of_shift=of_shift.data_ptr(),
        threads=torch.get_num_threads(),
    )
    return of_scale, of_shift


def _laid(maps: Tensor) -> dict[str, Any]:
    """Return the sizes and layout of maps [K, B, C, H, W] as arguments of the kernels."""
    steps, batch, channels, height, width = maps.shape
    return {
        "images": steps * batch,
        "group": batch,
        "pixels": height * width,
        "channels": channels,
        "channels_last": not maps.is_contiguous(),
    }
