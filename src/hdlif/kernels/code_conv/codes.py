"""What is known of spikes that are codes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from typing import Any

import torch
from torch import Tensor

from hdlif import _native
from hdlif.kernels.plain import is_dense, is_plain, is_watched

READ_AHEAD = 64
"""Bytes that kernels may read behind a map of codes."""
MOST_CODE = 255
_MARK = "_hdlif_codes"


@dataclass(frozen=True)
class Codes:
    """Spikes [N, C, H, W] as codes: spikes = step·codes.

    Attributes:
        codes: uint8 [N, H, W, C], in memory with `READ_AHEAD` more bytes.
        step: the distance of two levels.
        most: the largest code there may be.
        live: 1 where a gradient of the spike goes on to what the neuron was given, laid like the codes; None: anywhere.
    """

    codes: Tensor
    step: float
    most: int
    live: Tensor | None = None


@dataclass(frozen=True)
class CodedSpikes:
    """Spikes [K, B, C, H, W] of which there are no more than the codes.

    Attributes:
        steps: K.
        way: of the spikes' shape, from which a gradient goes on as from them; None without a graph.
    """

    codes: Codes
    steps: int
    way: Tensor | None = None

    def pooled(self, window: tuple[int, int]) -> CodedSpikes | None:
        """Means over windows that lie side by side, without a graph: sums of codes, with a smaller step.

        None where they are larger than a code may be, or there is no window.
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
        """The spikes themselves, marked; channels last."""
        values = self.codes.codes.permute(0, 3, 1, 2).to(torch.float32) * self.codes.step
        spikes = values.view(self.steps, -1, *values.shape[1:])
        return marked(spikes if self.way is None else self.way + spikes, self.codes)


def codes_of(spikes: Tensor) -> Codes | None:
    """The codes that spikes are marked with; None of any other tensor, and of one that was written to since."""
    if torch.compiler.is_compiling() or type(spikes) is not Tensor:
        return None
    found: tuple[Codes, int] | None = getattr(spikes, _MARK, None)
    return found[0] if found is not None and found[1] == spikes._version else None


def marked(spikes: Tensor, codes: Codes | None) -> Tensor:
    """The same tensor, which is known to be these codes as long as nothing is written to it."""
    # Of tensors of inference mode PyTorch does not say what is written to them.
    if codes is not None and not spikes.is_inference():
        setattr(spikes, _MARK, (codes, spikes._version))
    return spikes


def can_be_quantised(surplus: Tensor) -> bool:
    """Whether the compiled kernel quantises these surpluses: maps [K, B, C, H, W] of float32 in the CPU's memory."""
    return (
        surplus.ndim == 5
        and surplus.is_cpu
        and surplus.dtype == torch.float32
        and surplus.numel() > 0
        and is_plain(surplus, surplus.device)
        and not is_watched()
    )


def quantised(surplus: Tensor, *, bits: int, step: float, offset: float, is_relu: bool) -> Tensor:
    """Graded spikes on 2^bits levels, marked; as `functional.quantize_spike` of the identity's gradient gives them.

    Args:
        surplus: [K, B, C, H, W], 0 or more, for which `can_be_quantised`.
        is_relu: whether no gradient goes on where the surplus is 0.
    """
    spikes, codes = _Quantised.apply(surplus, bits, step, offset, is_relu, False)  # type: ignore[no-untyped-call]
    return marked(spikes, codes)


def coded(surplus: Tensor, *, bits: int, step: float, offset: float, is_relu: bool) -> CodedSpikes | Tensor:
    """The codes alone, of which a gradient goes on as from `quantised`; its spikes where a surplus is no number."""
    way, codes = _Quantised.apply(surplus, bits, step, offset, is_relu, True)  # type: ignore[no-untyped-call]
    spikes: CodedSpikes | Tensor = way if codes is None else CodedSpikes(codes, len(surplus), way)
    return spikes


def pooled(means: Tensor, codes: Codes, window: tuple[int, int]) -> Codes | None:
    """What means [N, C, H', W'] over windows that lie side by side are: sums of codes, with a smaller step."""
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
        # Where nobody writes to them, they take no memory; one 0 then stands for all.
        spikes, most = torch.empty_like(surplus), 2**bits - 1
        # In the order of memory, which an `empty_like` has as well if it is dense.
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
            # No numbers, as PyTorch's operations give them.
            return torch.floor(surplus * (1 / step) + offset).clamp_(0, most) * step, None
        found = Codes(_channels_last(codes, spikes), step, most)
        if live is not None:
            found = replace(found, live=_channels_last(live, spikes))
        return surplus.new_zeros(1).expand(surplus.shape) if codes_alone else spikes, found

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor | None, ...]:
        return grads[0], None, None, None, None, None


def code_room(count: int) -> Tensor:
    """uint8 for so many codes, with what kernels may read behind them."""
    room = torch.empty(count + READ_AHEAD, dtype=torch.uint8, device="cpu")
    room[count:] = 0
    return room


def _channels_last(room: Tensor, like: Tensor) -> Tensor:
    """Bytes in the order of maps [K, B, C, H, W], as [K·B, H, W, C]."""
    return channels_last(room, tuple(like.shape), is_last=not like.is_contiguous())


def channels_last(room: Tensor, sizes: tuple[int, ...], *, is_last: bool) -> Tensor:
    """Bytes of maps [K, B, C, H, W] as [K·B, H, W, C]; `is_last`: which they lie as."""
    steps, batch, channels, height, width = sizes
    count = prod(sizes)
    shape = (steps * batch, height, width, channels)
    if is_last or channels == 1 or height * width == 1:
        return room[:count].view(shape)
    moved = code_room(count)
    moved[:count].view(shape).copy_(room[:count].view(steps * batch, channels, height, width).permute(0, 2, 3, 1))
    return moved[:count].view(shape)
