"""Quantise spikes to integer codes, pool the codes, and attach the codes to tensors of spikes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from typing import Any

import torch
from torch import Tensor

from hdlif import _native
from hdlif.nn.kernels.tensors import is_dense, is_plain, is_watched

READ_AHEAD = 64
"""Number of bytes that kernels may read beyond the end of a map of codes."""
MOST_CODE = 255
_MARK = "_hdlif_codes"


@dataclass(frozen=True)
class Codes:
    """Spikes [N, C, H, W], stored as codes such that spikes = step·codes.

    Attributes:
        codes: uint8 [N, H, W, C], followed in memory by `READ_AHEAD` readable bytes.
        step: the distance between two levels.
        most: the largest possible code.
        live: 1 where the gradient of the spike reaches the input of the neuron, in the layout of the codes; None if it
            does everywhere.
    """

    codes: Tensor
    step: float
    most: int
    live: Tensor | None = None


@dataclass(frozen=True)
class CodedSpikes:
    """Spikes [K, B, C, H, W], stored only as codes.

    Attributes:
        steps: K.
        way: a tensor of the spikes' shape that takes their gradient; None without a graph.
    """

    codes: Codes
    steps: int
    way: Tensor | None = None

    def pool(self, window: tuple[int, int]) -> CodedSpikes | None:
        """Return the means over adjacent windows as sums of codes with a smaller step. Autograd records no graph.

        Return None if a sum may exceed `MOST_CODE`, if the output is empty, or if the spikes have a graph.
        """
        images, height, width, channels = self.codes.codes.shape
        size = window[0] * window[1]
        shape = (images, height // window[0], width // window[1], channels)
        count, most = prod(shape), self.codes.most * size
        if self.way is not None or most > MOST_CODE or count == 0:
            return None
        room = code_room(count)
        _native.pool_codes(
            self.codes.codes.data_ptr(),
            images,
            (height, width),
            channels,
            window,
            room.data_ptr(),
            threads=torch.get_num_threads(),
        )
        return CodedSpikes(Codes(room[:count].view(shape), self.codes.step / size, most), self.steps)

    def spikes(self) -> Tensor:
        """Return the spikes as a marked tensor in channels-last layout."""
        values = self.codes.codes.permute(0, 3, 1, 2).to(torch.float32) * self.codes.step
        spikes = values.view(self.steps, -1, *values.shape[1:])
        return mark(spikes if self.way is None else self.way + spikes, self.codes)


def codes_of(spikes: Tensor) -> Codes | None:
    """Return the codes of a marked tensor, or None if the tensor has no mark or has since been written to."""
    if torch.compiler.is_compiling() or type(spikes) is not Tensor:
        return None
    found: tuple[Codes, int] | None = getattr(spikes, _MARK, None)
    return found[0] if found is not None and found[1] == spikes._version else None


def mark(spikes: Tensor, codes: Codes | None) -> Tensor:
    """Mark a tensor of spikes with its codes, which stay valid until the next write, and return the same tensor."""
    # PyTorch does not count writes to tensors of inference mode.
    if codes is not None and not spikes.is_inference():
        setattr(spikes, _MARK, (codes, spikes._version))
    return spikes


def can_be_quantised(surplus: Tensor) -> bool:
    """Return whether the kernel can quantise the surpluses, which must be float32 maps [K, B, C, H, W] on a CPU."""
    return (
        surplus.ndim == 5
        and surplus.is_cpu
        and surplus.dtype == torch.float32
        and surplus.numel() > 0
        and is_plain(surplus, surplus.device)
        and not is_watched()
    )


def quantise(surplus: Tensor, *, bits: int, step: float, offset: float, is_relu: bool) -> Tensor:
    """Return spikes with 2^bits levels, marked with their codes, and with the values of `functional.quantize_spike`.

    The gradient passes through unchanged.

    Args:
        surplus: [K, B, C, H, W], 0 or more; `can_be_quantised` must hold.
        is_relu: whether the gradient stops where the surplus is 0.
    """
    spikes, codes = _Quantised.apply(surplus, bits, step, offset, is_relu, False)  # type: ignore[no-untyped-call]
    return mark(spikes, codes)


def quantise_to_codes(surplus: Tensor, *, bits: int, step: float, offset: float, is_relu: bool) -> CodedSpikes | Tensor:
    """Return spikes as codes only, or as ordinary spikes if a surplus is NaN; the gradient is as in `quantise`."""
    way, codes = _Quantised.apply(surplus, bits, step, offset, is_relu, True)  # type: ignore[no-untyped-call]
    spikes: CodedSpikes | Tensor = way if codes is None else CodedSpikes(codes, len(surplus), way)
    return spikes


def pool_codes(means: Tensor, codes: Codes, window: tuple[int, int]) -> Codes | None:
    """Return the codes of means [N, C, H', W'] over adjacent windows, as sums of codes with a smaller step."""
    size = window[0] * window[1]
    count, channels, height, width = means.shape
    most = codes.most * size
    if most > MOST_CODE or not is_dense(means[None]) or is_watched() or not is_plain(means, means.device):
        return None
    room, step = code_room(means.numel()), codes.step / size
    values = means.detach()
    _native.quantise_surpluses(
        values.data_ptr(),
        means.numel(),
        inverse_step=1 / step,
        offset=0.5,
        largest=most,
        step=step,
        codes=room.data_ptr(),
        spikes=0,
        live=0,
        threads=torch.get_num_threads(),
    )
    live = None
    if codes.live is not None:
        tiles = codes.live[:, : height * window[0], : width * window[1]]
        live = code_room(means.numel())[: means.numel()].view(count, height, width, channels)
        by_window = tiles.reshape(count, height, window[0], width, window[1], channels)
        torch.amax(by_window, (2, 4), out=live)
    return Codes(_channels_last(room, means[None]), step, most, live)


class _Quantised(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, surplus: Tensor, bits: int, step: float, offset: float, is_relu: bool, codes_alone: bool
    ) -> tuple[Tensor, Codes | None]:
        # Without spikes, the tensor is never written and takes no memory.
        spikes, most = torch.empty_like(surplus), 2**bits - 1
        # `empty_like` keeps the memory order of dense tensors only.
        if spikes.stride() != surplus.stride() or not is_dense(surplus):
            surplus = surplus.contiguous()
            spikes = torch.empty_like(surplus)
        count = surplus.numel()
        codes = code_room(count)
        live = code_room(count) if is_relu and ctx.needs_input_grad[0] else None
        is_sound = _native.quantise_surpluses(
            surplus.data_ptr(),
            count,
            inverse_step=1 / step,
            offset=offset,
            largest=most,
            step=step,
            codes=codes.data_ptr(),
            spikes=0 if codes_alone else spikes.data_ptr(),
            live=0 if live is None else live.data_ptr(),
            threads=torch.get_num_threads(),
        )
        if not is_sound:
            # NaN, like PyTorch's operations.
            return torch.floor(surplus * (1 / step) + offset).clamp_(0, most) * step, None
        found = Codes(_channels_last(codes, spikes), step, most)
        if live is not None:
            found = replace(found, live=_channels_last(live, spikes))
        return surplus.new_zeros(1).expand(surplus.shape) if codes_alone else spikes, found

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor | None, ...]:
        return grads[0], None, None, None, None, None


def code_room(count: int) -> Tensor:
    """Return a uint8 buffer for `count` codes, with `READ_AHEAD` zero bytes after the codes."""
    room = torch.empty(count + READ_AHEAD, dtype=torch.uint8, device="cpu")
    room[count:] = 0
    return room


def _channels_last(room: Tensor, like: Tensor) -> Tensor:
    """Return codes, stored in the memory order of maps [K, B, C, H, W], as [K·B, H, W, C]."""
    return channels_last(room, tuple(like.shape), is_last=not like.is_contiguous())


def channels_last(room: Tensor, sizes: tuple[int, ...], *, is_last: bool) -> Tensor:
    """Return codes of maps [K, B, C, H, W] as [K·B, H, W, C], without a copy if `is_last` is set."""
    steps, batch, channels, height, width = sizes
    count = prod(sizes)
    shape = (steps * batch, height, width, channels)
    if is_last or channels == 1 or height * width == 1:
        return room[:count].view(shape)
    moved = code_room(count)
    moved[:count].view(shape).copy_(room[:count].view(steps * batch, channels, height, width).permute(0, 2, 3, 1))
    return moved[:count].view(shape)
