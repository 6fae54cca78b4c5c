"""Convolve codes with low-bit weights on a CPU, using exact integer sums and gradients that skip zeros.

Quantised spikes are integer codes c, such as 0..15, multiplied by a step. Weights of 1 or 1.5 bits are codes w in {-1,
0, 1}, multiplied by scales. The convolution is y = step·scale·Σ c·w. The sums are integers below 2^24, so the order of
summation does not matter. Like the runtime's kernels, the compiled kernels look up the products of two channels at a
time and skip codes of 0. In the backward pass, each nonzero spike adds the output gradients around its pixel to the
weight gradient. The gradient of a spike is computed only if the gradient can reach the neuron's input.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from hdlif import _native
from hdlif.functional.once import once_differentiable
from hdlif.nn.kernels import winograd
from hdlif.nn.kernels.batch_norm import Moments
from hdlif.nn.kernels.codes import CodedSpikes, Codes
from hdlif.nn.kernels.tensors import is_plain, is_small, is_watched

EXACT = 2**24
"""Largest integer up to which float32 represents every integer."""
Pair = tuple[int, int]


@dataclass(frozen=True)
class CodeConv:
    """The geometry of a convolution.

    Attributes:
        stride, padding: in rows and columns.
        instruction_set: instruction set of the kernels; "" takes the best one of this machine.
    """

    stride: Pair
    padding: Pair
    instruction_set: str = ""


class Shares(NamedTuple):
    """Fractions of nonzero entries."""

    codes: float
    live: float


@cache
def most_spikes(instruction_set: str, channels: int, *, is_winograd: bool) -> Shares:
    """Return the largest fractions of nonzero entries for which sparse gradients are faster than dense gradients.

    Wide registers speed up dense gradients more than sparse gradients, especially with Winograd's algorithm.

    Args:
        channels: number of output channels.
        is_winograd: whether the dense gradients are Winograd's.
    """
    is_wide = (instruction_set or _native.instruction_sets()[-1]) in ("avx512", "amx")
    if not is_winograd:
        return Shares(codes=0.4, live=0.3 if is_wide else 0.4)
    if not is_wide:
        return Shares(codes=0.3, live=0.15)
    return Shares(codes=0.1 if channels <= 64 else 0.2 if channels <= 128 else 0.3, live=0.12)


def hindrance(x: Tensor, weight: Tensor, codes: Codes | None) -> str | None:
    """Return why the kernels cannot convolve `x` with low-bit weights, or None if they can."""
    taps, device = weight.shape[1:].numel(), x.device
    if not x.is_cpu or not weight.is_cpu:
        return f"they run on a CPU, not on {device}"
    if codes is None:
        return "its input does not come from quantised neurons"
    if x.dtype != torch.float32 or weight.dtype != torch.float32:
        return "they are for float32"
    if codes.codes.shape[-1] != weight.shape[1]:
        return f"it takes {weight.shape[1]} channels, but gets {codes.codes.shape[-1]}"
    if taps * codes.most > EXACT:
        return f"{taps} products of codes up to {codes.most} may exceed 2^24"
    if not is_plain(x, device) or not is_plain(weight, device) or is_watched():
        return "PyTorch follows its operations"
    return None if x.numel() and codes.codes.numel() == x.numel() else "there are no spikes"


def convolve(x: Tensor, weight: Tensor, codes: Codes, conv: CodeConv) -> Tensor:
    """Return the convolution W_q * x of coded spikes, [N, D, H', W'] in channels-last layout.

    Args:
        x: the spikes [N, C, H, W]; only the gradient reads them.
        weight: W_q [D, C, ...], with the values a, -a and 0 per output channel.
        codes: the codes of x.
    """
    y, _ = _Convolved.apply(x, weight, codes, conv, 0)  # type: ignore[no-untyped-call]
    maps: Tensor = y
    return maps


def convolve_with_moments(
    x: Tensor, weight: Tensor, codes: Codes, conv: CodeConv, steps: int
) -> tuple[Tensor, Moments | None]:
    """Return the convolution, and the moments of each of `steps` parts of the batch or None if they may be inexact."""
    found: tuple[Tensor, Moments | None] = _Convolved.apply(x, weight, codes, conv, steps)  # type: ignore[no-untyped-call]
    return found


def sum_products(spikes: CodedSpikes, weight: Tensor, conv: CodeConv) -> tuple[Tensor, Moments] | None:
    """Return the sums Σ c·w [K, B, D, H', W'] in channels-last layout and the moments of the maps, without a graph.

    The convolution's maps are the sums times step·scale, and the moments include this factor.

    Args:
        spikes: codes [K·B, H, W, C].
        weight: W_q [D, C, ...], as in `convolve`.
    Returns:
        None if the weights are not plain float32 or have other channels, the output is empty, or the sums may be
            inexact.
    """
    codes = spikes.codes
    count, height, width, channels = codes.codes.shape
    taps = weight.shape[1:].numel()
    if channels != weight.shape[1] or min(out_size_of((height, width), weight, conv)) < 1:
        return None
    if weight.dtype != torch.float32 or taps * codes.most > EXACT or not is_plain(weight, codes.codes.device):
        return None
    packed = _packed(weight, (height, width), codes.most, conv)
    if not packed.compiled.sums_squares(count // spikes.steps):
        return None
    y, moments = packed.forward(codes, None, spikes.steps)
    assert moments is not None
    return y.view(spikes.steps, -1, *y.shape[1:]), moments


def out_size_of(in_size: Pair, weight: Tensor, conv: CodeConv) -> Pair:
    """Return the height and width of a convolution's output."""
    height, width = (
        (size + 2 * pad - kernel) // stride + 1
        for size, pad, kernel, stride in zip(in_size, conv.padding, weight.shape[2:], conv.stride, strict=True)
    )
    return height, width


class Packed:
    """Low-bit weights in the packed format of the kernels.

    Attributes:
        scale: the scale of each output channel, [D].
    """

    def __init__(self, weight: Tensor, in_size: Pair, most: int, conv: CodeConv) -> None:
        self.key = in_size, most, conv
        self.out_size = out_size_of(in_size, weight, conv)
        weight = weight.contiguous()
        self.scale = torch.empty(weight.shape[0], dtype=torch.float32, device=weight.device)
        self.compiled = _native.LowBitConv(
            weight.data_ptr(),
            self.scale.data_ptr(),
            in_size=in_size,
            out_size=self.out_size,
            channels=(weight.shape[1], weight.shape[0]),
            kernel=(weight.shape[2], weight.shape[3]),
            stride=conv.stride,
            padding=conv.padding,
            max_code=most,
            threads=torch.get_num_threads(),
            instruction_set=conv.instruction_set,
        )

    def forward(self, codes: Codes, scale: Tensor | None, steps: int) -> tuple[Tensor, Moments | None]:
        """Return the sums of products times an optional scale [D], as [N, D, H', W'] in channels-last layout.

        Args:
            steps: the number of parts of the batch whose moments to return; 0 for none.
        """
        count = codes.codes.shape[0]
        channels, threads = self.scale.shape[0], torch.get_num_threads()
        shape, device = (count, channels, *self.out_size), self.scale.device
        y = torch.empty(shape, dtype=torch.float32, device=device, memory_format=torch.channels_last)
        has_moments = steps > 0 and self.compiled.sums_squares(count // steps)
        rows = steps if has_moments else 0
        totals, squares = torch.empty(2, rows, channels, dtype=torch.float64, device=device)
        self.compiled.forward(
            codes.codes.data_ptr(),
            count,
            0 if scale is None else scale.data_ptr(),
            y.data_ptr(),
            group=count // max(steps, 1),
            totals=totals.data_ptr() if has_moments else 0,
            squares=squares.data_ptr() if has_moments else 0,
            threads=threads,
        )
        if not has_moments:
            return y, None
        values = y.shape[0] // steps * self.out_size[0] * self.out_size[1]
        return y, Moments(totals, squares, values, self.scale * codes.step, are_units=scale is not None)


_PACKED = "_hdlif_packed"


def keep_packed(weight: Tensor, other: Tensor) -> None:
    """Let `other`, a tensor with the same values as `weight`, use the packed form of `weight`."""
    known: tuple[Packed, int] | None = getattr(weight, _PACKED, None)
    if known is not None and not other.is_inference():
        setattr(other, _PACKED, (known[0], other._version))


def _packed(weight: Tensor, in_size: Pair, most: int, conv: CodeConv) -> Packed:
    """Return the packed weights, packing them at first use and after each write."""
    version = 0 if weight.is_inference() else weight._version
    known: tuple[Packed, int] | None = getattr(weight, _PACKED, None)
    if known is None or known[0].key != (in_size, most, conv) or known[1] != version:
        known = Packed(weight.detach(), in_size, most, conv), version
        setattr(weight, _PACKED, known)
    return known[0]


class _Convolved(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, codes: Codes, conv: CodeConv, steps: int
    ) -> tuple[Tensor, Moments | None]:
        _, _, height, width = x.shape
        packed = _packed(weight, (height, width), codes.most, conv)
        y, moments = packed.forward(codes, packed.scale * codes.step, steps)
        if any(ctx.needs_input_grad):
            # Save tensors, so that counts of saved bytes include them and the graph frees them.
            ctx.packed, ctx.conv, ctx.step, ctx.most = packed, conv, codes.step, codes.most
            ctx.is_bfloat16 = _is_autocast_to_bfloat16() and packed.compiled.multiplies_bfloat16()
            ctx.save_for_backward(weight, codes.codes, codes.live)
        return y, moments

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor, _: None) -> tuple[Tensor | None, Tensor | None, None, None, None]:
        weight, of_codes, live = ctx.saved_tensors
        codes = Codes(of_codes, ctx.step, ctx.most, live)
        if ctx.is_bfloat16:
            dx, dw = _compiled_gradients(ctx, dy, weight, codes, ctx.needs_input_grad[:2], is_bfloat16=True)
            return dx, dw, None, None, None
        is_winograd = _takes_winograd(ctx.conv, codes, weight)
        dx, dw = _sparse_gradients(ctx, dy, weight, codes, is_winograd=is_winograd)
        missing = [ctx.needs_input_grad[0] and dx is None, ctx.needs_input_grad[1] and dw is None]
        if any(missing):
            of_input, of_weight = _dense_gradients(ctx, dy, weight, codes, missing, is_winograd=is_winograd)
            dx, dw = (of_input if missing[0] else dx), (of_weight if missing[1] else dw)
        return dx, dw, None, None, None


def _sparse_gradients(
    ctx: Any, dy: Tensor, weight: Tensor, codes: Codes, *, is_winograd: bool
) -> tuple[Tensor | None, Tensor | None]:
    """Return the required gradients of spikes and weights, with None for those that are faster to compute densely."""
    most = most_spikes(ctx.conv.instruction_set, weight.shape[0], is_winograd=is_winograd)
    of_input = ctx.needs_input_grad[0] and codes.live is not None and _share(codes.live) <= most.live
    of_weight = ctx.needs_input_grad[1] and _share(codes.codes) <= most.codes
    return _compiled_gradients(ctx, dy, weight, codes, (of_input, of_weight), is_bfloat16=False)


def _compiled_gradients(
    ctx: Any, dy: Tensor, weight: Tensor, codes: Codes, which: tuple[bool, bool], *, is_bfloat16: bool
) -> tuple[Tensor | None, Tensor | None]:
    """Compute the required gradients of spikes and weights with the compiled kernels; return None for the others."""
    count, height, width, channels = codes.codes.shape
    dx = dw = None
    if which[0]:
        shape = (count, channels, height, width)
        dx = torch.empty(shape, dtype=dy.dtype, device=dy.device, memory_format=torch.channels_last)
    if which[1]:
        dw = torch.empty(weight.shape, dtype=weight.dtype, device=weight.device)
    if dx is not None or dw is not None:
        dy = dy.resolve_neg().contiguous(memory_format=torch.channels_last)
        compiled = ctx.packed.compiled
        (compiled.backward_in_bfloat16 if is_bfloat16 else compiled.backward)(
            dy.data_ptr(),
            count,
            codes=codes.codes.data_ptr(),
            step=codes.step,
            weight_gradient=0 if dw is None else dw.data_ptr(),
            live=0 if codes.live is None else codes.live.data_ptr(),
            scale=ctx.packed.scale.data_ptr(),
            input_gradient=0 if dx is None else dx.data_ptr(),
            threads=torch.get_num_threads(),
        )
    return dx, dw


def _is_autocast_to_bfloat16() -> bool:
    return torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") == torch.bfloat16


def _takes_winograd(conv: CodeConv, codes: Codes, weight: Tensor) -> bool:
    """Return whether to compute the dense gradients with `kernels.winograd`."""
    count, height, width, _ = codes.codes.shape
    return conv.stride == conv.padding == (1, 1) and winograd.can_convolve_sizes((count, height, width), weight)


def _share(codes: Tensor) -> float:
    """Return the fraction of nonzero codes."""
    return _native.count_events(codes.data_ptr(), codes.numel(), threads=torch.get_num_threads()) / codes.numel()


def _dense_gradients(
    ctx: Any, dy: Tensor, weight: Tensor, codes: Codes, which: list[bool], *, is_winograd: bool
) -> tuple[Tensor | None, Tensor | None]:
    x = codes.codes.permute(0, 3, 1, 2)
    # The gradient of the input needs only its shape.
    x = x * torch.tensor(codes.step, dtype=dy.dtype) if which[1] else torch.empty_like(x, dtype=dy.dtype)
    if is_winograd:
        return winograd.gradients(x, weight, dy, (which[0], which[1]))
    if weight.shape[2:].numel() == 1 or is_small(dy):
        # With 1×1 kernels, oneDNN may write beyond a buffer in channels last (`nn.layout`).
        x, dy = x.contiguous(), dy.contiguous()
    dx, dw, _ = torch.ops.aten.convolution_backward(
        dy, x, weight, None, ctx.conv.stride, ctx.conv.padding, (1, 1), False, (0, 0), 1, [*which, False]
    )
    return dx, dw
