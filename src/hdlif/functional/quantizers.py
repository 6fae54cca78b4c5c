"""Quantisers of weights and spikes, with straight-through gradients."""

from typing import Any, Literal

import torch
from torch import Tensor

StraightThrough = Literal["identity", "clip"]

TERNARY_THRESHOLD = 0.7
"""Δ = 0.7·mean|W|: the threshold of ternary weight networks."""


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
        inside: Tensor = weight.abs() < 1
        return grads[0] * inside


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
    """Signs in {-1, 1}, with sign(0) = 1, and the L2-optimal scale a_o = mean|W_o| per output channel.

    Args:
        weight: latent W, [out, ...].
    Returns:
        signs shaped like `weight`, and scale of shape [out, 1, ...].
    """
    signs = torch.where(weight >= 0, 1.0, -1.0).to(weight.dtype)
    return signs, weight.abs().flatten(1).mean(1).view(-1, *[1] * (weight.ndim - 1))


def ternary_codes(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Codes in {-1, 0, 1} and one scale for the whole tensor (ternary weight networks).

    With W clipped to [-1, 1] and Δ = 0.7·mean|W|:  code = sign(W)·1[|W| > Δ],  a = mean of |W| over |W| > Δ
    (0 where no weight exceeds Δ).

    Args:
        weight: latent W, any shape.
    Returns:
        codes shaped like `weight`, and scale of shape [1, ...].
    """
    clipped = weight.clamp(-1, 1)
    magnitude = clipped.abs()
    kept = (magnitude > TERNARY_THRESHOLD * magnitude.mean()).to(weight.dtype)
    scale = (magnitude * kept).sum() / kept.sum().clamp_min(1)
    return clipped.sign() * kept, scale.view([1] * weight.ndim)


def integer_codes(weight: Tensor, *, bits: int) -> tuple[Tensor, Tensor]:
    """Codes in {-(2^(bits-1) - 1), ..., 2^(bits-1) - 1} and one scale per output channel.

    a_o = 2·mean|W_o|/√q with q = 2^(bits-1) - 1 (the step LSQ starts from), code = clip(round(W/a_o), -q, q); where
    all weights of a channel are 0 its scale is 1.

    Args:
        weight: latent W, [out, ...].
        bits: 2 to 8.
    Returns:
        codes shaped like `weight`, and scale of shape [out, 1, ...].
    """
    most = 2 ** (bits - 1) - 1
    magnitude = weight.abs().flatten(1).mean(1).view(-1, *[1] * (weight.ndim - 1))
    scale = torch.where(magnitude > 0, 2 * magnitude / most**0.5, 1.0).to(weight.dtype)
    return torch.round(weight / scale).clamp_(-most, most), scale


def spike_codes(spike: Tensor, *, bits: int, step: Tensor | float, offset: float) -> Tensor:
    """The integer code of a graded spike: clip(floor(s / step + offset), 0, 2^bits - 1)."""
    return torch.floor(spike * (1 / step) + offset).clamp_(0, 2**bits - 1)


def binarize_weight(weight: Tensor) -> Tensor:
    """1-bit weights: W_q = a_o·sign(W); dL/dW = dL/dW_q·1[|W| <= 1] (the scale a_o is not differentiated)."""
    weight_q: Tensor = _Binarize.apply(weight)  # type: ignore[no-untyped-call]
    return weight_q


def ternarize_weight(weight: Tensor) -> Tensor:
    """1.5-bit weights: W_q = a·code(W), see `ternary_codes`; dL/dW = dL/dW_q·1[|W| < 1]."""
    weight_q: Tensor = _Ternarize.apply(weight)  # type: ignore[no-untyped-call]
    return weight_q


def quantize_weight(weight: Tensor, *, bits: int) -> Tensor:
    """Weights of 2 to 8 bits: W_q = a_o·code(W), see `integer_codes`; dL/dW = dL/dW_q·1[|W| <= 2^(bits-1)·a_o]."""
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
    """Graded spikes on 2^bits levels: Q(s) = step·clip(floor(s / step + offset), 0, 2^bits - 1).

    Apply it to the surplus max(m - θ, 0), never to
    m - θ, whose identity gradient would reach silent neurons; the reset uses the surplus before rounding. The paper
    names the arguments (s, n, τ) only: we read them as step, bits and rounding offset. With the defaults this is the
    release's round(4s)/4 within [0, 3.75] except at exact half steps, which round up here.

    Args:
        step: a number, or a scalar tensor that may be learned (LSQ: dQ/dstep = code - s/step within the range,
            the largest code above it).
        gradient: dQ/ds. "identity" is 1 everywhere; "clip" is 0 above the largest level.
    """
    quantized: Tensor = _QuantizeSpike.apply(spike, bits, step, offset, gradient == "clip")  # type: ignore[no-untyped-call]
    return quantized
