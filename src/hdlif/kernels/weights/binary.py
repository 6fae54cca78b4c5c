"""Weights of 1 bit."""

from typing import Any

import torch
from torch import Tensor

from hdlif.functional import binarize_weight
from hdlif.kernels import devices
from hdlif.kernels.weights import gpu
from hdlif.kernels.weights.plain import lie_in_one_piece


def binarized(weight: Tensor) -> Tensor:
    """`functional.binarize_weight`, by Triton's kernel where it serves: float32 on a GPU.

    There its sums are in float64: a scale may differ in its last bits.
    """
    is_on_gpu = devices.kernels_for(weight.device) == "triton"
    if not is_on_gpu or weight.ndim < 2 or not lie_in_one_piece(weight):
        return binarize_weight(weight)
    weight_q: Tensor = _Binarized.apply(weight)  # type: ignore[no-untyped-call]
    return weight_q


class _Binarized(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor) -> Tensor:
        ctx.save_for_backward(weight)
        weight_q = torch.empty_like(weight)
        gpu.binarize(weight, weight_q)
        return weight_q

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (weight,) = ctx.saved_tensors
        inside: Tensor = weight.abs() <= 1
        return grads[0] * inside
