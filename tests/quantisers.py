"""Weights and spikes of few bits by kernels and by their equations: what tests of several kernels share."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from hdlif.functional import binarize_weight, quantize_spike, ternarize_weight
from hdlif.kernels.spikes import quantised
from hdlif.kernels.weights import binarized, ternarized

LATENT = [(1,), (15,), (7, 3), (33, 5, 3, 3), (1, 200)]
WEIGHTS: Mapping[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "ternary": (ternarized, ternarize_weight),
    "binary": (binarized, binarize_weight),
}
"""By kernels, and by the equation."""


def latent(*shape: int, scale: float = 0.7) -> Tensor:
    """Weights, some of which are outside of the range."""
    return (torch.randn(shape, generator=torch.Generator().manual_seed(0)) * scale).requires_grad_()


def drawn(*shape: int) -> Tensor:
    """Surpluses, some of which are above the range or 0."""
    x = 2 * torch.randn(shape, generator=torch.Generator().manual_seed(1)).abs()
    return torch.where(x < 0.5, 0.0, x)


def assert_same_weights(bits: str, weight: Tensor) -> None:
    """Gradients in every bit, and values but for the last two bits of a scale, whose sums have another order."""
    if bits == "binary" and weight.ndim == 1:
        return
    found, expected = (_with_gradient(quantise, weight) for quantise in WEIGHTS[bits])
    torch.testing.assert_close(found[0], expected[0], rtol=2.5e-7, atol=0)
    assert torch.equal(found[1], expected[1])


def assert_same_spikes(spike: Tensor, **how: Any) -> None:
    """In every bit."""
    found, expected = (_with_gradient(lambda x, one=one: one(x, **how), spike) for one in (quantised, quantize_spike))
    for its, right in zip(found, expected, strict=True):
        torch.testing.assert_close(its, right, rtol=0, atol=0, equal_nan=True)


def _with_gradient(quantise: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
    leaf = x.detach().requires_grad_()
    y = quantise(leaf)
    back = torch.randn(y.shape, generator=torch.Generator().manual_seed(2)).to(y.device)
    return y.detach(), torch.autograd.grad(y, leaf, back)[0]
