"""Synapses: convolution and linear layers whose weights may be quantised."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hdlif.functional import (
    binarize_weight,
    binary_codes,
    integer_codes,
    quantize_weight,
    ternarize_weight,
    ternary_codes,
)


class WeightQuantizer(Protocol):
    """Maps latent weights to the few values that run, and names them for accounting and export."""

    @property
    def bits(self) -> float:
        """Bits a weight, as the field names the format (1, 1.5)."""

    def __call__(self, weight: Tensor) -> Tensor:
        """W_q, with a straight-through gradient to `weight`."""

    def codes(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Integer codes and scale with W_q = codes·scale."""


@dataclass(frozen=True)
class Binary:
    """1-bit weights: `functional.binarize_weight`."""

    bits: ClassVar[float] = 1

    def __call__(self, weight: Tensor) -> Tensor:
        return binarize_weight(weight)

    def codes(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        return binary_codes(weight)


@dataclass(frozen=True)
class Ternary:
    """1.5-bit weights: `functional.ternarize_weight`."""

    bits: ClassVar[float] = 1.5

    def __call__(self, weight: Tensor) -> Tensor:
        return ternarize_weight(weight)

    def codes(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        return ternary_codes(weight)


@dataclass(frozen=True)
class Integer:
    """Weights of 2 to 8 bits, symmetric, with a scale per output channel: `functional.quantize_weight`."""

    bits: int = 4

    def __post_init__(self) -> None:
        if self.bits not in range(2, 9):
            raise ValueError(f"bits = {self.bits}; weights have 2 to 8 (1 and 1.5 are kinds of their own)")

    def __call__(self, weight: Tensor) -> Tensor:
        return quantize_weight(weight, bits=self.bits)

    def codes(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        return integer_codes(weight, bits=self.bits)


class _Gather(torch.autograd.Function):
    """Identity from `weight_q`; its backward adds what `leaf` has gathered, so that W_q's own backward runs once."""

    @staticmethod
    def forward(ctx: Any, weight_q: Tensor, leaf: Tensor) -> Tensor:
        ctx.leaf = leaf
        return weight_q.view_as(weight_q)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        gathered = ctx.leaf.grad
        return grads[0] if gathered is None else grads[0] + gathered, None


class _Quantizable:
    """What the quantisable layers share: latent weight, quantiser, and W_q held for one update."""

    weight: Tensor
    quantizer: WeightQuantizer | None
    _held: Tensor | None = None

    def weight_q(self) -> Tensor:
        """The weights that run: W_q, or the latent ones where there is no quantiser."""
        if self._held is not None:
            return self._held
        return self.weight if self.quantizer is None else self.quantizer(self.weight)


class QuantConv2d(_Quantizable, nn.Conv2d):
    """A 2-D convolution whose weights may be quantised; without bias, since a batch norm follows.

    It is counted as a body layer: its synaptic operations enter the SOPs. `quantizer=None` keeps fp32 weights.
    The latent weights start symmetric (Kaiming normal), not all positive as in the paper's release.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        stride: int = 1,
        padding: int = 0,
        dilation: int = 1,
        groups: int = 1,
        quantizer: WeightQuantizer | None = None,
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride=stride,
            padding=padding,
            dilation=dilation,
            groups=groups,
            bias=False,
        )
        self.quantizer = quantizer
        nn.init.kaiming_normal_(self.weight, mode="fan_out")

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight_q().to(x.dtype)
        return F.conv2d(x, weight, None, self.stride, self.padding, self.dilation, self.groups)


class QuantConv1d(_Quantizable, nn.Conv1d):
    """A convolution of sequences [B, C, L] whose weights may be quantised; in all else as `QuantConv2d`."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        stride: int = 1,
        padding: int = 0,
        dilation: int = 1,
        groups: int = 1,
        quantizer: WeightQuantizer | None = None,
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride=stride,
            padding=padding,
            dilation=dilation,
            groups=groups,
            bias=False,
        )
        self.quantizer = quantizer
        nn.init.kaiming_normal_(self.weight, mode="fan_out")

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight_q().to(x.dtype)
        return F.conv1d(x, weight, None, self.stride, self.padding, self.dilation, self.groups)


class QuantLinear(_Quantizable, nn.Linear):
    """A linear layer whose weights may be quantised; counted as a body layer, like `QuantConv2d`."""

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        bias: bool = True,
        quantizer: WeightQuantizer | None = None,
    ) -> None:
        super().__init__(in_features, out_features, bias=bias)
        self.quantizer = quantizer

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight_q().to(x.dtype), self.bias)


class HeldWeights:
    """Quantised weights computed once for an update of several backward passes; see `hold_weights`."""

    def __init__(self, model: nn.Module) -> None:
        self._layers = [m for m in model.modules() if isinstance(m, _Quantizable) and m.quantizer is not None]
        self._quantized: list[Tensor] = [layer.weight_q() for layer in self._layers]
        self._leaves = [w.detach().requires_grad_() for w in self._quantized]
        for layer, leaf in zip(self._layers, self._leaves, strict=True):
            layer._held = leaf

    def last(self) -> None:
        """Say that the next backward pass is the update's last: it carries what was gathered to the latent weights."""
        for layer, weight_q, leaf in zip(self._layers, self._quantized, self._leaves, strict=True):
            layer._held = _Gather.apply(weight_q, leaf)  # type: ignore[no-untyped-call]

    def release(self) -> None:
        """Let the layers compute their weights again."""
        for layer in self._layers:
            layer._held = None


@contextmanager
def hold_weights(model: nn.Module) -> Iterator[HeldWeights]:
    """Compute every quantised weight of `model` once, for all steps of an update.

    Backward passes gather in a detached leaf; after `held.last()` the next one runs the straight-through backward,
    once, and so fires a data-parallel hook once, inside the last, synchronised backward.
    """
    held = HeldWeights(model)
    try:
        yield held
    finally:
        held.release()
