"""Batch norm by the compiled kernels, on a CPU (`native/batch_norm.h`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from hdlif import _native
from hdlif.kernels.batch_norm.moments import Moments


def moments_of(maps: Tensor) -> Moments:
    """Those of maps [K, B, C, H, W] that lie one behind the other, channels last or not."""
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
    """Fills mean, scale, shift and slope, and has the batch's statistics enter the running ones, step after step.

    Args:
        tensors: weight, bias, running mean and variance.
        steps: of each step its row of the running statistics, and the share of its batch in them.
        rows: [K, 1, C, 1, 1] each; the slope may be None.
        of_batch: whether the batch's statistics normalise; else the running ones do, and stay.
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
    """Those of weight and bias, [C]; what comes to the maps through the statistics is added to their gradient in place.

    Args:
        rows: mean, scale and slope.
        count: how many values of a channel there are.
        arriving: the gradients of scale and shift.
        of_maps: laid like the maps; None is not asked for.
        through: the gradient of what was normalised, laid so too; the maps' is then filled with all that comes to them.
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
    """Fills y, which may be the maps, with scale·(x - mean) + shift, plus others.

    Args:
        rows: mean, scale and shift.
        plus: [K or 1, B, C, H, W], laid as the maps are.
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
    """Those of scale and shift, Σ g·(x - mean) and Σ g, of the gradient g of what was normalised."""
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
    """How maps [K, B, C, H, W] lie, as the kernels take it."""
    steps, batch, channels, height, width = maps.shape
    return {
        "images": steps * batch,
        "group": batch,
        "pixels": height * width,
        "channels": channels,
        "channels_last": not maps.is_contiguous(),
    }
