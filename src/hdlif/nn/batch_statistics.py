"""Batch normalisation over a batch on one rank, or over a batch that is split across several ranks.

Ranks are processes that train one network together, each on a different part of every batch. For communication between
ranks, the caller attaches a gather function to the time steps (`carrying`).
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from hdlif.functional.once import once_differentiable

Gather = Callable[[Tensor], Tensor]
"""Function that returns the tensors [...] of all ranks in order, [ranks, ...]; all ranks must call it together."""


def normalise_by_batch(
    x: Tensor,
    running: tuple[Tensor, Tensor] | None,
    weight: Tensor,
    bias: Tensor,
    *,
    momentum: float | Tensor,
    eps: float,
    gather: Gather | None,
) -> Tensor:
    """Return weight·(x - μ)/√(σ² + eps) + bias, with μ and σ² per channel over the batch [B, C, ...] of all ranks.

    Update the mean and variance in `running` with the batch's mean and unbiased variance, weighted by `momentum`.
    """
    if gather is None:
        mean, var = running or (None, None)
        if isinstance(momentum, Tensor):
            # A traced momentum: `batch_norm` would read a number from it.
            if running is not None:
                with torch.no_grad():
                    for own, found in zip(running, batch_statistics(x, None), strict=True):
                        own.lerp_(found.to(own.dtype), momentum.to(own.dtype))
            return F.batch_norm(x, None, None, weight, bias, training=True, eps=eps)
        return F.batch_norm(x, mean, var, weight, bias, training=True, momentum=momentum, eps=eps)
    y, mean, var = _NormaliseOverRanks.apply(x, weight, bias, eps, gather)  # type: ignore[no-untyped-call]
    if running is not None:
        with torch.no_grad():
            for own, found in zip(running, (mean, var), strict=True):
                own.lerp_(found.to(own.dtype), momentum)
    normalised: Tensor = y
    return normalised


def batch_statistics(x: Tensor, gather: Gather | None) -> tuple[Tensor, Tensor]:
    """Return the mean and unbiased variance per channel over the batch [B, C, ...] of all ranks."""
    if gather is None:
        var, mean = torch.var_mean(x, _all_but_channels(x), correction=1)
        return mean, var
    mean, squares, count = _moments(x, gather)
    return mean, squares / (count - 1)


def _all_but_channels(x: Tensor) -> tuple[int, ...]:
    return (0, *range(2, x.ndim))


def _moments(x: Tensor, gather: Gather) -> tuple[Tensor, Tensor, Tensor]:
    """Return the mean, the sum of squared deviations and the number of values per channel, in float32 or wider.

    Rank r has n_r values with mean μ_r and sum of squared deviations Σ_r. Over all ranks, μ = Σ n_r·μ_r/n and Σ = Σ_r
    [Σ_r + n_r·(μ_r - μ)²], which avoids the cancellation in Σ x² - n·μ².
    """
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    var, mean = torch.var_mean(wide, _all_but_channels(x), correction=0)
    own = x.numel() // x.shape[1]
    # Gather all three in one message.
    means, squares, counts = gather(torch.stack([mean, var * own, torch.full_like(mean, own)])).unbind(1)
    count = counts.sum(0)
    mean = (means * counts).sum(0) / count
    return mean, (squares + counts * (means - mean).square()).sum(0), count


class _NormaliseOverRanks(torch.autograd.Function):
    """Normalise a batch by statistics over all ranks, and return the output, the mean and the unbiased variance.

    With x̂ = (x - μ)/√(σ² + eps), the incoming gradient g and n values per channel on all ranks, the gradient of x is:

    dx = weight/√(σ² + eps)·(g - (Σ g)/n - x̂·(Σ g·x̂)/n).

    The sums cover all ranks, so dx is the gradient of the summed loss of all ranks. The gradients of `weight` and
    `bias`, like all parameter gradients, cover only the current rank.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float, gather: Gather
    ) -> tuple[Tensor, Tensor, Tensor]:
        mean, squares, count = _moments(x, gather)
        var = squares / count
        ctx.save_for_backward(x, weight, mean, torch.rsqrt(var + eps), count)
        ctx.gather = gather
        y = F.batch_norm(x, mean, var, weight.to(mean.dtype), bias.to(mean.dtype), eps=eps)
        unbiased = squares / (count - 1)
        ctx.mark_non_differentiable(mean, unbiased)
        return y, mean, unbiased

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        x, weight, mean, slope, count = ctx.saved_tensors
        shape = (1, -1, *[1] * (x.ndim - 2))
        grad = grads[0].to(mean.dtype)
        x_hat = (x - mean.view(shape)) * slope.view(shape)
        own = torch.stack([grad.sum(_all_but_channels(x)), (grad * x_hat).sum(_all_but_channels(x))])
        of_grad, of_product = (ctx.gather(own).sum(0) / count).unbind(0)
        dx = (grad - of_grad.view(shape) - x_hat * of_product.view(shape)) * (weight * slope).view(shape)
        return dx.to(x.dtype), own[1].to(weight.dtype), own[0].to(weight.dtype), None, None
