"""A batch norm in a pass of its own, which adds what stands behind it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from hdlif.kernels.batch_norm import native
from hdlif.kernels.batch_norm.moments import Moments
from hdlif.kernels.batch_norm.norm import Norm, Rows, like
from hdlif.kernels.plain import is_plain


def applied(maps: Tensor, rows: Rows, plus: Tensor | None = None, *, in_place: bool = False) -> Tensor:
    """scale·(x - mean) + shift, plus others, without a graph.

    Args:
        maps: [K, B, C, H, W] in a CPU's memory, for which `serves` holds.
        rows: K of them, or more, of which the first are applied.
        plus: what is added, [K or 1, B, C, H, W], laid as the maps are.
        in_place: whether the result takes their place.
    """
    y = maps if in_place else torch.empty_like(maps)
    native.normalise(maps, rows, plus, y)
    return y


def applied_with_graph(norm: Norm, maps: Tensor, moments: Moments, plus: Tensor | None = None) -> Tensor:
    """As `applied`, by the statistics of the batch, through which the gradient comes back as well.

    Args:
        moments: those of the maps; of one step that is run K times, the first row is applied.
    """
    y: Tensor = _Applied.apply(maps, norm.weight, norm.bias, plus, norm, moments)  # type: ignore[no-untyped-call]
    return y


class _Applied(torch.autograd.Function):
    """As `norm._Normed`, by the pass that applies the rows, so that scale·g is its own."""

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
        return applied(maps, rows, plus)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        maps, weight, *rows = ctx.saved_tensors
        if torch.is_grad_enabled() or not is_plain(grads[0], maps.device):
            return _by_operations(ctx, grads[0], maps, weight, rows)
        gradient = like(grads[0], maps)
        arriving = native.row_gradients(gradient, maps, rows[0])
        of_maps = torch.empty_like(maps) if ctx.needs_input_grad[0] else None
        of_weight, of_bias = native.gradients(maps, rows, ctx.count, arriving, of_maps, through=gradient)
        return of_maps, of_weight, of_bias, _of_plus(ctx, gradient), None, None


def _by_operations(
    ctx: Any, gradient: Tensor, maps: Tensor, weight: Tensor, rows: Sequence[Tensor]
) -> tuple[Tensor | None, ...]:
    """The backward pass by PyTorch's operations, which are differentiated again and take several gradients at once."""
    mean, _, slope = (row.flatten(1) for row in rows)
    of_steps = [
        torch.ops.aten.native_batch_norm_backward(
            back, step.contiguous(), weight, None, None, of_mean, of_slope, True, ctx.eps, [True, True, True]
        )
        for back, step, of_mean, of_slope in zip(gradient.unbind(), maps.unbind(), mean, slope, strict=True)
    ]
    of_maps, of_weight, of_bias = (torch.stack(of) for of in zip(*of_steps, strict=True))
    return of_maps, of_weight.sum(0), of_bias.sum(0), _of_plus(ctx, gradient), None, None


def _of_plus(ctx: Any, gradient: Tensor) -> Tensor | None:
    """What comes to the value that was added, which one step may have been for all."""
    if not ctx.needs_input_grad[3]:
        return None
    return gradient.sum(0, keepdim=True) if ctx.is_shared else gradient
