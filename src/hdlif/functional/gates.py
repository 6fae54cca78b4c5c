"""The gate of Q-K attention, which passes spikes where a gating neuron fires."""

from typing import Any

import torch
from torch import Tensor
from torch.overrides import handle_torch_function, has_torch_function

from hdlif.errors import ShapeError

LARGEST_LEARNING = 1.5
"""Largest gating spike that receives a gradient."""


class _Gate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, a: Tensor) -> Tensor:
        is_open = a > 0
        # x is needed only for the gradient of a.
        learns = ctx.needs_input_grad[1]
        ctx.save_for_backward(is_open, *((x, a <= LARGEST_LEARNING) if learns else ()))
        ctx.of_x, ctx.of_a = x.shape, a.shape
        return torch.where(is_open, x, 0)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None]:
        (grad,), (is_open, *of_gates) = grads, ctx.saved_tensors
        to_x = torch.where(is_open, grad, 0).sum_to_size(ctx.of_x) if ctx.needs_input_grad[0] else None
        if not of_gates:
            return to_x, None
        x, learns = of_gates
        return to_x, (grad * x).sum_to_size(ctx.of_a) * learns


def gate(x: Tensor, a: Tensor) -> Tensor:
    """Return y = x·1[a > 0], which passes `x` where the gate `a` is open, with a straight-through gradient for `a`.

    `x` has C channels and `a` has G channels, where C is a multiple of G. Channel c is gated by a[floor(c·G / C)] at
    the same pixel, or at every pixel if `a` has no pixels. A NaN in `a` closes the gate, because NaN is not greater
    than 0.

        dy/dx = 1[a > 0],   dy/da = x·1[a <= 3/2], summed over the entries that share a

    The gradient dy/da is straight-through: for spikes of 1 and 0, y = x·a, whose derivative is x. The gradient is 0 for
    a > 3/2, much as a surrogate with limited support is 0 far above the threshold. If `a` is a sum of graded spikes
    over many channels or tokens, it can be far above 0, where the gate closes. Without the limit of 3/2, the gradients
    of very large sums made training diverge. LIF spikes never exceed 3/2 if the threshold is learned in the default
    form.

    >>> import torch
    >>> from hdlif.functional import gate
    >>> x, a = torch.tensor([[[1.0, 2.0, 3.0, 4.0]]]), torch.tensor([[[0.5, 0.0]]], requires_grad=True)
    >>> y = gate(x, a)
    >>> y.sum().backward()
    >>> y.tolist(), a.grad.tolist()
    ([[[1.0, 2.0, 0.0, 0.0]]], [[[3.0, 7.0]]])

    Args:
        x: [K or 1, B, C, ...].
        a: [K or 1, B, G, ...] with the axes of x after the channels, or one entry there, or [K or 1, B, G].
    Returns:
        y [K, B, C, ...].
    Raises:
        ShapeError: a does not fit x.
    Source: Zhou et al., QKFormer, NeurIPS 2024 (arXiv 2403.16552), which multiplies binary spikes.
    """
    if has_torch_function((x, a)):
        result: Tensor = handle_torch_function(gate, (x, a), x, a)
        return result
    pixels = a.shape[3:]
    if min(x.ndim, a.ndim) < 3 or x.shape[2] % a.shape[2] or (pixels != x.shape[3:] and pixels.numel() != 1):
        raise ShapeError(
            f"gate of shape {list(a.shape)} does not fit spikes of shape {list(x.shape)}; it must be [K, B, G, ...], "
            "where G divides the channels of the spikes, with the same pixels, one pixel or none"
        )
    by_group = x.reshape(*x.shape[:2], a.shape[2], x.shape[2] // a.shape[2], *x.shape[3:])
    gates = a.reshape(*a.shape[:3], 1, *(pixels if pixels == x.shape[3:] else [1] * (x.ndim - 3)))
    y: Tensor = _Gate.apply(by_group, gates)  # type: ignore[no-untyped-call]
    return y.flatten(2, 3)
