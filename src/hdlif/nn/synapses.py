"""Synapses: convolutions and linear layers with optional weight quantisation."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from hdlif.functional import binarize_weight, binary_codes, integer_codes, quantize_weight, ternary_codes
from hdlif.nn.kernels import code_conv, winograd
from hdlif.nn.kernels.code_conv import CodeConv
from hdlif.nn.kernels.codes import Codes
from hdlif.nn.kernels.tensors import is_small
from hdlif.nn.kernels.ternary import ternarize
from hdlif.nn.layout import contiguous, is_product, must_stay_contiguous, product


class WeightQuantizer(Protocol):
    """The protocol of weight quantisers, which map latent weights to a small set of values for the forward pass.

    `Binary`, `Ternary` and `Integer` implement `WeightQuantizer`. Accounting and export use the attribute `bits` and
    the method `codes`.
    """

    @property
    def bits(self) -> float:
        """Return the nominal number of bits per weight, such as 1 for binary or 1.5 for ternary weights."""

    def __call__(self, weight: Tensor) -> Tensor:
        """Return the quantised weights W_q, with a straight-through gradient to `weight`."""

    def codes(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Return integer codes and a scale such that W_q = codes·scale."""


@dataclass(frozen=True)
class Binary:
    """1-bit weights: `functional.binarize_weight`.

    >>> import torch
    >>> from hdlif.nn import Binary
    >>> Binary()(torch.tensor([[-0.5, 0.25]])).tolist()
    [[-0.375, 0.375]]
    """

    bits: ClassVar[float] = 1

    def __call__(self, weight: Tensor) -> Tensor:
        return binarize_weight(weight)

    def codes(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        return binary_codes(weight)


@dataclass(frozen=True)
class Ternary:
    """1.5-bit weights: `functional.ternarize_weight`.

    >>> import torch
    >>> from hdlif.nn import Ternary
    >>> Ternary()(torch.tensor([[-0.5, 0.125]])).tolist()
    [[-0.5, 0.0]]
    """

    bits: ClassVar[float] = 1.5

    def __call__(self, weight: Tensor) -> Tensor:
        return ternarize(weight)

    def codes(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        return ternary_codes(weight)


@dataclass(frozen=True)
class Integer:
    """Symmetric weights of 2 to 8 bits with one scale per output channel; see `functional.quantize_weight`.

    >>> import torch
    >>> from hdlif.nn import Integer
    >>> codes, scale = Integer(bits=3).codes(torch.tensor([[0.75, -0.25, 0.5]]))
    >>> codes.tolist(), scale.tolist()
    ([[3.0, -1.0, 2.0]], [[0.25]])

    Attributes:
        bits: 2 to 8.
    Raises:
        ValueError: `bits` is outside this range.
    """

    bits: int = 4

    def __post_init__(self) -> None:
        if self.bits not in range(2, 9):
            raise ValueError(f"bits = {self.bits}; weights have 2 to 8 (1 and 1.5 are kinds of their own)")

    def __call__(self, weight: Tensor) -> Tensor:
        return quantize_weight(weight, bits=self.bits)

    def codes(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        return integer_codes(weight, bits=self.bits)


class _Gather(torch.autograd.Function):
    """The identity on `weight_q`, with a backward pass that adds the accumulated gradient of `leaf`.

    Because all gradients are added first, the quantiser runs backward only once.
    """

    @staticmethod
    def forward(ctx: Any, weight_q: Tensor, leaf: Tensor) -> Tensor:
        ctx.leaf = leaf
        return weight_q.view_as(weight_q)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        gathered = ctx.leaf.grad
        return grads[0] if gathered is None else grads[0] + gathered, None


class _Quantizable:
    """Base class for layers with latent weights and an optional weight quantiser.

    The forward pass computes W_q, unless `HeldWeights` provides W_q.
    """

    weight: Tensor
    quantizer: WeightQuantizer | None

    def weight_q(self) -> Tensor:
        """Return the quantised weights W_q, or the latent weights if there is no quantiser."""
        return self.weight if self.quantizer is None else self.quantizer(self.weight)


Size = int | tuple[int, ...]
"""One number for all axes, or one number per axis."""


class _QuantConv(_Quantizable, _ConvNd):
    """Base class for convolutions with optional weight quantisation."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        *,
        stride: Size = 1,
        padding: Size | str = 0,
        dilation: Size = 1,
        groups: int = 1,
        bias: bool = False,
        quantizer: WeightQuantizer | None = None,
    ) -> None:
        # PyTorch's convolution class turns the numbers into tuples.
        super().__init__(  # type: ignore[call-arg]
            in_channels,
            out_channels,
            kernel_size,  # type: ignore[arg-type]
            stride=stride,  # type: ignore[arg-type]
            padding=padding,  # type: ignore[arg-type]
            dilation=dilation,  # type: ignore[arg-type]
            groups=groups,
            bias=bias,
        )
        self.quantizer = quantizer
        nn.init.kaiming_normal_(self.weight, mode="fan_out")


class QuantConv2d(_QuantConv, nn.Conv2d):
    """A 2-D convolution with optional weight quantisation, by default without bias.

    `QuantConv2d` counts as a body layer, so its operations count as SOPs. The initial latent weights are distributed
    symmetrically around 0 (Kaiming normal). In the paper's released code, they are all positive.

    >>> import torch
    >>> from hdlif.nn import QuantConv2d, Ternary
    >>> conv = QuantConv2d(3, 8, 3, padding=1, quantizer=Ternary())
    >>> list(conv(torch.rand(2, 3, 5, 5)).shape), len(conv.weight_q().unique())
    ([2, 8, 5, 5], 3)

    Args:
        in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias: as in `torch.nn.Conv2d`.
        quantizer: the weight quantiser: `Binary()`, `Ternary()`, `Integer(bits)` or your own; None keeps fp32 weights.
    """

    def forward(self, x: Tensor, weight_q: Tensor | None = None, codes: Codes | None = None) -> Tensor:
        """Return the convolution of x [N, C, H, W].

        Args:
            weight_q: replaces `weight_q()`.
            codes: the codes of x, if known.
        """
        weight = (self.weight_q() if weight_q is None else weight_q).to(x.dtype)
        if is_product(self, x):
            return product(x, weight, self.bias)
        if codes is not None and self.hindrance(x, weight, codes) is None:
            return code_conv.convolve(x, weight, codes, self._code_conv())
        if self.takes_winograd(x, weight):
            return winograd.convolve(x, weight)
        if must_stay_contiguous(self) or (self.training and x.is_cpu and x.ndim == 4 and is_small(x)):
            x = contiguous(x)
        return F.conv2d(x, weight, self.bias, self.stride, self.padding, self.dilation, self.groups)

    def takes_winograd(self, x: Tensor, weight: Tensor) -> bool:
        """Return whether to convolve x with `hdlif.nn.kernels.winograd`, which is used only in train mode."""
        return (
            self.training
            and self.kernel_size == (3, 3)
            and self.stride == self.padding == self.dilation == (1, 1)
            and self.groups == 1
            and self.bias is None
            and self.padding_mode == "zeros"
            and winograd.can_convolve(x, weight)
        )

    def _code_conv(self) -> CodeConv:
        assert not isinstance(self.padding, str)
        (stride_y, stride_x), (pad_y, pad_x) = self.stride, self.padding
        return CodeConv((stride_y, stride_x), (pad_y, pad_x))

    def as_code_conv(self) -> CodeConv | None:
        """Return the convolution's geometry for the code kernels, or None if the kernels do not support the layer."""
        is_ours = type(self).forward is QuantConv2d.forward
        return self._code_conv() if is_ours and self._own_hindrance() is None else None

    def hindrance(self, x: Tensor, weight: Tensor, codes: Codes | None) -> str | None:
        """Return why this layer cannot run on the code kernels (`nn.kernels.code_conv`), or None if it can."""
        own = self._own_hindrance()
        return code_conv.hindrance(x, weight, codes) if own is None else own

    def _own_hindrance(self) -> str | None:
        if not isinstance(self.quantizer, Binary | Ternary):
            return "weights have more than 1.5 bits"
        if self.bias is not None or self.groups != 1 or self.dilation != (1, 1):
            return "a layer of theirs has no bias, groups or dilation"
        if isinstance(self.padding, str) or self.padding_mode != "zeros":
            return "padding is a number of zeros"
        if any(pad >= kernel for pad, kernel in zip(self.padding, self.kernel_size, strict=True)):
            return "padding is below the kernel"
        return None


class QuantConv1d(_QuantConv, nn.Conv1d):
    """A convolution of sequences [B, C, L] with optional weight quantisation.

    The arguments (in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, quantizer) are the
    same as for `QuantConv2d`, except that each size is one number instead of a height and a width.

    >>> import torch
    >>> from hdlif.nn import Binary, QuantConv1d
    >>> list(QuantConv1d(3, 8, 5, padding=2, quantizer=Binary())(torch.rand(2, 3, 16)).shape)
    [2, 8, 16]
    """

    def forward(self, x: Tensor, weight_q: Tensor | None = None) -> Tensor:
        weight = (self.weight_q() if weight_q is None else weight_q).to(x.dtype)
        return F.conv1d(x, weight, self.bias, self.stride, self.padding, self.dilation, self.groups)


class QuantLinear(_Quantizable, nn.Linear):
    """A linear layer with optional weight quantisation, which counts as a body layer.

    >>> import torch
    >>> from hdlif.nn import QuantLinear, Ternary
    >>> list(QuantLinear(16, 4, quantizer=Ternary())(torch.rand(2, 16)).shape)
    [2, 4]

    Args:
        in_features, out_features, bias: as in `torch.nn.Linear`.
        quantizer: as in `QuantConv2d`.
    """

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

    def forward(self, x: Tensor, weight_q: Tensor | None = None) -> Tensor:
        weight_q = self.weight_q() if weight_q is None else weight_q
        return F.linear(x, weight_q.to(x.dtype), self.bias)


QuantLayer = QuantConv1d | QuantConv2d | QuantLinear
"""Any layer whose weights may be quantised. Counts, traces, export and measures find such layers by this type."""


def quant_like(
    layer: nn.Conv1d | nn.Conv2d | nn.Linear, quantizer: WeightQuantizer | None = None
) -> QuantConv1d | QuantConv2d | QuantLinear:
    """Return a layer of the same shape with optional weight quantisation and newly initialised weights.

    Raises:
        ValueError: a convolution pads with values other than zeros.
    """
    bias = layer.bias is not None
    if isinstance(layer, nn.Linear):
        return QuantLinear(layer.in_features, layer.out_features, bias=bias, quantizer=quantizer)
    if layer.padding_mode != "zeros":
        raise ValueError(f"pads by {layer.padding_mode!r}; a quantised layer pads with zeros")
    make = QuantConv1d if isinstance(layer, nn.Conv1d) else QuantConv2d
    return make(
        layer.in_channels,
        layer.out_channels,
        layer.kernel_size,
        stride=layer.stride,
        padding=layer.padding,
        dilation=layer.dilation,
        groups=layer.groups,
        bias=bias,
        quantizer=quantizer,
    )


def _takes_weights(layer: nn.Module) -> bool:
    """Return whether a layer uses hdlif's own `forward`, which accepts weights as an argument."""
    return any(type(layer).forward is kind.forward for kind in get_args(QuantLayer))


class HeldWeights:
    """The quantised weights of `model`, computed only once per update, even if the update has several backward passes.

    Pass `weights` to each forward pass of the update with `carrying(steps, weights=held.weights)`. Backward passes
    accumulate gradients in detached leaves. After a call to `last`, the next backward pass propagates the gradient
    through the quantiser to the latent weights. Data-parallel hooks thus run once per update, in the last backward
    pass.

    >>> import torch
    >>> from hdlif.nn import HDLIF, HeldWeights, QuantLinear, Sequential, Ternary, carrying
    >>> network = Sequential(QuantLinear(4, 3, quantizer=Ternary()), HDLIF(time_steps=2))
    >>> held = HeldWeights(network)
    >>> for t in range(2):
    ...     if t == 1:
    ...         held.last()
    ...     y, _ = network(torch.rand(1, 5, 4), None, steps=carrying(range(t, t + 1), weights=held.weights))
    ...     y.sum().backward()
    >>> network[0].weight.grad is not None
    True

    Args:
        model: any module; weights of its `QuantConv1d`, `QuantConv2d` and `QuantLinear` layers with a quantiser are
            held.
    Attributes:
        weights: the weights for the next pass, by layer.
    """

    def __init__(self, model: nn.Module) -> None:
        self._quantized: dict[nn.Module, Tensor] = {
            layer: layer.weight_q()
            for layer in model.modules()
            if isinstance(layer, QuantLayer) and layer.quantizer is not None and _takes_weights(layer)
        }
        self._leaves = [w.detach().requires_grad_() for w in self._quantized.values()]
        self.weights: Mapping[nn.Module, Tensor] = dict(zip(self._quantized, self._leaves, strict=True))

    def last(self) -> None:
        """Prepare the last backward pass, which transfers the accumulated gradient to the latent weights."""
        gathering = {}
        for (layer, weight_q), leaf in zip(self._quantized.items(), self._leaves, strict=True):
            gathering[layer] = _Gather.apply(weight_q, leaf)  # type: ignore[no-untyped-call]
            code_conv.keep_packed(leaf, gathering[layer])
        self.weights = gathering
