"""Quantisers for weights and spikes, all with straight-through gradients."""

import math
from typing import Any, Literal

import torch
from torch import Tensor

StraightThrough = Literal["identity", "clip"]

TERNARY_THRESHOLD = 0.7
"""Factor in the threshold of ternary weight networks, Δ = 0.7·mean|W|."""


EXACT = 512
"""Largest number of codes that may grow in a row of weights for which the search for the scale is exact."""


class _Binarize(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor) -> Tensor:
        ctx.save_for_backward(weight)
        signs, scale = binary_codes(weight)
        return signs * scale

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (weight,) = ctx.saved_tensors
        inside: Tensor = weight.abs() <= 1
        return grads[0] * inside


class _Ternarize(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor) -> Tensor:
        ctx.save_for_backward(weight)
        codes, scale = ternary_codes(weight)
        return codes * scale

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (weight,) = ctx.saved_tensors
        # The derivative of a clip, in one pass: the gradient where -1 < W < 1, otherwise 0.
        inside: Tensor = torch.ops.aten.hardtanh_backward(grads[0], weight, -1, 1)
        return inside


class _QuantizeWeight(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor, bits: int) -> Tensor:
        codes, scale = integer_codes(weight, bits=bits)
        ctx.save_for_backward(weight.abs() <= scale * 2 ** (bits - 1))
        return codes * scale

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0] * ctx.saved_tensors[0], None


class _QuantizeSpike(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, spike: Tensor, bits: int, step: Tensor | float, offset: float, clip: bool) -> Tensor:
        codes = spike_codes(spike, bits=bits, step=step, offset=offset)
        ctx.learned = isinstance(step, Tensor) and step.requires_grad
        ctx.clip, ctx.bits = clip, bits
        if ctx.learned:
            ctx.save_for_backward(spike, codes, step)
        elif clip:
            ctx.save_for_backward(spike <= (2**bits - 1) * step)
        return codes * step

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, Tensor | None, None, None]:
        (grad,) = grads
        if not ctx.learned:
            return grad * ctx.saved_tensors[0] if ctx.clip else grad, None, None, None, None
        spike, codes, step = ctx.saved_tensors
        most = 2**ctx.bits - 1
        inside = spike <= most * step
        slope = codes - torch.where(inside, spike / step, 0)
        grad_step = (grad * slope).sum_to_size(step.shape)
        return grad * inside if ctx.clip else grad, None, grad_step, None, None


def binary_codes(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Return signs in {-1, 1}, where sign(0) = 1, and the L2-optimal scale a_o = mean|W_o| per output channel.

    >>> import torch
    >>> from hdlif.functional import binary_codes
    >>> signs, scale = binary_codes(torch.tensor([[0.5, -0.25], [0.0, 1.0]]))
    >>> signs.tolist(), scale.tolist()
    ([[1.0, -1.0], [1.0, 1.0]], [[0.375], [0.5]])

    Args:
        weight: latent W, [out, ...].
    Returns:
        signs shaped like `weight`, and scale of shape [out, 1, ...].
    """
    signs = torch.where(weight >= 0, 1.0, -1.0).to(weight.dtype)
    return signs, weight.abs().flatten(1).mean(1).view(-1, *[1] * (weight.ndim - 1))


def ternary_codes(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Return codes in {-1, 0, 1} and a single scale for the entire tensor, as in ternary weight networks.

    With W clipped to [-1, 1] and Δ = 0.7·mean|W|, the code is sign(W)·1[|W| > Δ]. The scale is the mean of |W| over all
    weights with |W| > Δ, or 0 if no weight exceeds Δ.

    >>> import torch
    >>> from hdlif.functional import ternary_codes
    >>> codes, scale = ternary_codes(torch.tensor([[-0.5, 0.25], [0.0, 1.0]]))
    >>> codes.tolist(), scale.tolist()
    ([[-1.0, 0.0], [0.0, 1.0]], [[0.75]])

    Args:
        weight: latent W, any shape.
    Returns:
        codes shaped like `weight`, and scale of shape [1, ...].
    """
    magnitude = weight.abs().clamp_(max=1)
    # In float64, the order of summation makes no difference that matters.
    mean = magnitude.mean(dtype=torch.float64).to(weight.dtype)
    kept = (magnitude > TERNARY_THRESHOLD * mean).to(weight.dtype)
    total = magnitude.mul_(kept).sum(dtype=torch.float64)
    scale = (total / kept.sum(dtype=torch.float64).clamp_min(1)).to(weight.dtype)
    return kept.copysign_(weight), scale.view([1] * weight.ndim)


def integer_codes(weight: Tensor, *, bits: int) -> tuple[Tensor, Tensor]:
    """Return codes in {-q, ..., q}, where q = 2^(bits-1) - 1, and one scale per output channel.

    The code is clip(round(W/a_o), -q, q), where a_o minimises the squared error Σ (W_o - a_o·code)² (see
    `best_scales`). If all weights of a channel are 0, the scale is 1.

    >>> import torch
    >>> from hdlif.functional import integer_codes
    >>> codes, scale = integer_codes(torch.tensor([[0.75, -0.25, 0.5]]), bits=3)
    >>> codes.tolist(), scale.tolist()
    ([[3.0, -1.0, 2.0]], [[0.25]])

    Args:
        weight: latent W, [out, ...].
        bits: 2 to 8.
    Returns:
        codes shaped like `weight`, and scale of shape [out, 1, ...].
    """
    most = 2 ** (bits - 1) - 1
    scale = best_scales(weight.detach().flatten(1), most).to(weight.dtype).view(-1, *[1] * (weight.ndim - 1))
    # In float16, a scale below 6e-8 becomes 0.
    scale = scale.clamp(min=torch.finfo(scale.dtype).tiny)
    return torch.round(weight / scale).clamp_(-most, most), scale


def best_scales(weight: Tensor, most: int) -> Tensor:
    """Return the scale of each row, [out], that minimises the squared error of codes from -most to most.

    For given codes, the best scale is a = <|W|, code>/<code, code>, with error |W|² - <|W|, code>²/<code, code>. For a
    given scale, rounding gives the best codes. For rows of at most `EXACT`/most weights, the result is exact. As the
    scale falls, the codes grow one at a time, and each change updates both inner products. For longer rows, the search
    tries a grid of scales, fits the best scale to the codes of each grid point, and refines the best result. With a
    thousand nonzero weights, the error exceeds the minimum by at most 2 %. With n < 1000 nonzero weights, the error
    exceeds the minimum by at most a fraction of 3/√n. The search makes 13 to 18 passes over the weights, or up to 128
    passes for short rows.

    Args:
        weight: [out, n].
        most: the largest code, 1 to 127.
    """
    magnitude = weight.abs().to(torch.promote_types(weight.dtype, torch.float32))
    rows = max(1, _block(magnitude) // max(1, magnitude.shape[1]))
    find = _swept if magnitude.shape[1] * most <= EXACT else _searched
    scales = []
    for first in range(0, len(magnitude), rows):
        block = magnitude[first : first + rows]
        largest = block.amax(1, keepdim=True)
        scales.append((find(block / largest, most) * largest).squeeze(1))
    scale = torch.cat(scales)
    return torch.where((scale > 0) & scale.isfinite(), scale, 1.0)


def _block(like: Tensor) -> int:
    """Return the number of values to process at a time, enough to fill a core's cache or keep an accelerator busy."""
    return 2**16 if like.device.type == "cpu" else 2**23


def _swept(share: Tensor, most: int) -> Tensor:
    """Return the exact best scale [rows, 1] for relative weights |W|/max|W|."""
    code = torch.arange(1, most + 1, dtype=share.dtype, device=share.device)
    # Each weight's code grows to 1, 2, ..., most as a falls to |W|/(code - ½); <code, code> then grows by 2·code - 1.
    order = (share[:, :, None] / (code - 0.5)).flatten(1).argsort(1, descending=True)
    product = share.double().gather(1, order // most).cumsum(1)
    square = (2 * (order % most) + 1).double().cumsum(1)
    best = (product.square() / square).argmax(1, keepdim=True)
    return (product.gather(1, best) / square.gather(1, best)).to(share.dtype)


def _searched(share: Tensor, most: int) -> Tensor:
    """Return a scale [rows, 1] that is close to the best scale for relative weights |W|/max|W|."""
    n = share.shape[1]
    # If one weight were above a·q and all others were rounded as if at random, with error a²/12, the best a·q would be
    # 1/(1 + n/12q²). With few weights, chance puts some optima below it. Above q/(q - ½), the code q is not used.
    low, high = max(0.3, 1 - 1.5 / n**0.5) / (1 + n / (12 * most**2)), most / (most - 0.5)
    wanted = min(12, max(7, math.ceil(math.log(high / low) / math.log(1.2))))
    count = max(wanted, min(128, 4096 // n))
    step = (high / low) ** (1 / (count - 1))
    powers = torch.arange(count, dtype=share.dtype, device=share.device).view(-1, 1, 1)
    scale = _fitted(share, low / most * step**powers, most)
    sides = torch.tensor([-1.0, 0.0, 1.0], dtype=share.dtype, device=share.device).view(-1, 1, 1)
    for reach in (0.5, 0.2):
        scale = _fitted(share, scale * step ** (reach * sides), most)
    return scale


def _fitted(share: Tensor, tried: Tensor, most: int) -> Tensor:
    """Fit a scale to the codes of each tried scale [k, rows or 1, 1], and return the best fit [rows, 1]."""
    errors, scales = [], []
    at_once = max(1, min(len(tried), _block(share) // max(1, share.numel())))
    # Reusing the same three buffers gives most of the speed.
    room = share.new_empty(3, at_once, *share.shape)
    for first in range(0, len(tried), at_once):
        part = tried[first : first + at_once]
        code, rest, product = room[:, : len(part)]
        torch.mul(share, 1 / part, out=code).round_().clamp_(max=most)
        torch.addcmul(share, code, part, value=-1, out=rest)
        # Computed from the remainder, since the error of the best scale is small compared with the weights.
        along, square = torch.mul(rest, code, out=product).sum(2), code.square_().sum(2).clamp_min_(1)
        errors.append(rest.square_().sum(2) - along.square() / square)
        scales.append(part.squeeze(2) + along / square)
    best = torch.cat(errors).argmin(0, keepdim=True)
    return torch.cat(scales).gather(0, best).view(-1, 1)


def spike_codes(spike: Tensor, *, bits: int, step: Tensor | float, offset: float) -> Tensor:
    """Return the integer codes of graded spikes, clip(floor(s / step + offset), 0, 2^bits - 1).

    >>> import torch
    >>> from hdlif.functional import spike_codes
    >>> spike_codes(torch.tensor([0.0, 0.3, 0.75, 9.0]), bits=4, step=0.25, offset=0.5).tolist()
    [0.0, 1.0, 3.0, 15.0]

    Args:
        spike: s, any shape.
        bits: 1 to 8.
        step: distance between two levels, above 0.
        offset: rounding offset, 0 to 1; ½ rounds to nearest.
    Returns:
        the codes, whole numbers in the dtype of `spike`, shaped like it.
    """
    return torch.floor(spike * (1 / step) + offset).clamp_(0, 2**bits - 1)


def binarize_weight(weight: Tensor) -> Tensor:
    """Return 1-bit weights W_q = a_o·sign(W), with dL/dW = dL/dW_q·1[|W| <= 1] and no gradient through the scale a_o.

    >>> import torch
    >>> from hdlif.functional import binarize_weight
    >>> binarize_weight(torch.tensor([[0.5, -0.25], [0.0, 1.0]])).tolist()
    [[0.375, -0.375], [0.5, 0.5]]

    Args:
        weight: latent W, [out, ...].
    Returns:
        W_q, shaped like `weight`, with the signs and scales of `binary_codes`.
    """
    weight_q: Tensor = _Binarize.apply(weight)  # type: ignore[no-untyped-call]
    return weight_q


def ternarize_weight(weight: Tensor) -> Tensor:
    """Return 1.5-bit weights W_q = a·code(W) (see `ternary_codes`), with dL/dW = dL/dW_q·1[|W| < 1].

    >>> import torch
    >>> from hdlif.functional import ternarize_weight
    >>> ternarize_weight(torch.tensor([[-0.5, 0.25], [0.0, 1.0]])).tolist()
    [[-0.75, 0.0], [0.0, 0.75]]

    Args:
        weight: latent W, any shape.
    Returns:
        W_q, shaped like `weight`.
    """
    weight_q: Tensor = _Ternarize.apply(weight)  # type: ignore[no-untyped-call]
    return weight_q


def quantize_weight(weight: Tensor, *, bits: int) -> Tensor:
    """Return weights of 2 to 8 bits, W_q = a_o·code(W), with dL/dW = dL/dW_q·1[|W| <= 2^(bits-1)·a_o].

    >>> import torch
    >>> from hdlif.functional import quantize_weight
    >>> quantize_weight(torch.tensor([[0.75, -0.25, 0.5]]), bits=3).tolist()
    [[0.75, -0.25, 0.5]]

    Args:
        weight: latent W, [out, ...].
        bits: 2 to 8.
    Returns:
        W_q, shaped like `weight`, with the codes and scales of `integer_codes`.
    """
    weight_q: Tensor = _QuantizeWeight.apply(weight, bits)  # type: ignore[no-untyped-call]
    return weight_q


def quantize_spike(
    spike: Tensor,
    *,
    bits: int = 4,
    step: Tensor | float = 0.25,
    offset: float = 0.5,
    gradient: StraightThrough = "identity",
) -> Tensor:
    """Round graded spikes to 2^bits levels: Q(s) = step·clip(floor(s / step + offset), 0, 2^bits - 1).

    Pass the surplus max(m - θ, 0), because m - θ would let the identity gradient reach silent neurons. The reset uses
    the surplus before rounding. The paper does not define its arguments s, n and τ, which hdlif interprets as the step,
    the bits and the rounding offset. With the defaults, results within [0, 3.75] equal round(4s)/4 as in the released
    code, except that half steps round up here.

    >>> import torch
    >>> from hdlif.functional import quantize_spike
    >>> quantize_spike(torch.tensor([0.0, 0.3, 0.75, 9.0])).tolist()
    [0.0, 0.25, 0.75, 3.75]

    Args:
        spike: the surplus s >= 0, any shape.
        bits: 1 to 8.
        step: distance between two levels, above 0: a number, or a scalar tensor that may be learned (LSQ: dQ/dstep is
            code - s/step within the range, and the largest code above it).
        offset: rounding offset, 0 to 1; ½ rounds to nearest.
        gradient: dQ/ds. "identity" is 1 everywhere; "clip" is 0 above the largest level.
    Returns:
        Q(s), shaped like `spike`.
    """
    quantized: Tensor = _QuantizeSpike.apply(spike, bits, step, offset, gradient == "clip")  # type: ignore[no-untyped-call]
    return quantized
