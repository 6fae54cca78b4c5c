"""Weights of 1.5 bits, in two passes over the latent ones and one more that writes."""

from typing import Any

import torch
from torch import Tensor

from hdlif import _native
from hdlif.functional import ternarize_weight
from hdlif.kernels import devices
from hdlif.kernels.weights import gpu
from hdlif.kernels.weights.plain import lie_in_one_piece


def ternarized(weight: Tensor) -> Tensor:
    """`functional.ternarize_weight`, by kernels where they serve: float32 on a CPU, or on a GPU with Triton.

    There its sums, in float64, have an order of their own: the scale may differ in its last bit.
    """
    if not lie_in_one_piece(weight):
        return ternarize_weight(weight)
    weight_q: Tensor = _Ternarized.apply(weight)  # type: ignore[no-untyped-call]
    return weight_q


class _Ternarized(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor) -> Tensor:
        weight_q = torch.empty_like(weight)
        are_inside = False
        if devices.kernels_for(weight.device) == "native":
            are_inside = _native.ternarize(
                weight.data_ptr(), weight.numel(), weight_q.data_ptr(), threads=torch.get_num_threads()
            )
        else:
            gpu.ternarize(weight, weight_q)
        ctx.save_for_backward(None if are_inside else weight)
        return weight_q

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (weight,) = ctx.saved_tensors
        if weight is None:
            return grads[0]
        # The derivative of a clip: the gradient where -1 < W < 1.
        inside: Tensor = torch.ops.aten.hardtanh_backward(grads[0], weight, -1, 1)
        return inside
