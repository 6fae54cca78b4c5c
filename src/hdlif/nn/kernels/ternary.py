"""Ternarise weights with a compiled kernel, which reads the latent weights twice and then writes the result."""

from typing import Any

import torch
from torch import Tensor

from hdlif import _native
from hdlif.functional import ternarize_weight
from hdlif.nn.kernels.tensors import is_plain, is_watched

MAX_WEIGHTS = 2**30
"""Largest number of weights of a layer; the kernel counts them with 32 bits."""


def ternarize(weight: Tensor) -> Tensor:
    """Compute `functional.ternarize_weight`, using the compiled kernel for dense float32 weights on a CPU.

    The kernel sums in float64 and in a different order, so the scale may differ from PyTorch's in the last bit.
    """
    if not _is_dense(weight):
        return ternarize_weight(weight)
    weight_q: Tensor = _Ternarized.apply(weight)  # type: ignore[no-untyped-call]
    return weight_q


def _is_dense(weight: Tensor) -> bool:
    """Return whether the kernel can read the weights, which must be plain float32 in CPU memory without gaps."""
    return (
        weight.is_cpu
        and weight.dtype == torch.float32
        and 0 < weight.numel() < MAX_WEIGHTS
        and not is_watched()
        and is_plain(weight, weight.device)
        and (weight.is_contiguous() or (weight.ndim == 4 and weight.is_contiguous(memory_format=torch.channels_last)))
    )


class _Ternarized(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor) -> Tensor:
        weight_q = torch.empty_like(weight)
        are_inside = _native.ternarize(
            weight.data_ptr(), weight.numel(), weight_q.data_ptr(), threads=torch.get_num_threads()
        )
        ctx.save_for_backward(None if are_inside else weight)
        return weight_q

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (weight,) = ctx.saved_tensors
        if weight is None:
            return grads[0]
        # The derivative of a clip: pass the gradient where -1 < W < 1.
        inside: Tensor = torch.ops.aten.hardtanh_backward(grads[0], weight, -1, 1)
        return inside
