"""Delay lines, which provide earlier steps to a layer and enable convolutions over time."""

from typing import Any

import torch
from torch import Tensor

from hdlif.errors import ShapeError, StateError
from hdlif.functional.once import once_differentiable
from hdlif.nn.state import State, Temporal, check_chunk, entries_of
from hdlif.nn.steps import carried


class DelayLine(Temporal):
    """A delay line with K taps: y_t = [x_t, x_{t-d}, …, x_{t-(K-1)d}] along channels, with x = 0 before the first step.

    A delay line and a 1x1 convolution form a causal 1-D convolution over time with kernel size K and dilation d. The
    delay line holds past inputs in its state, and each held step is deployed as a `delay` operation. A learning rule
    that cuts the temporal gradient treats held values as constant inputs.

    >>> import torch
    >>> from hdlif.nn import DelayLine
    >>> x = torch.tensor([1.0, 2.0, 3.0, 4.0]).view(4, 1, 1)
    >>> y, state = DelayLine(taps=2, dilation=2)(x, None, range(4))
    >>> y[:, 0].tolist()
    [[1.0, 0.0], [2.0, 0.0], [3.0, 1.0], [4.0, 2.0]]
    >>> state["held"].flatten().tolist()
    [4.0, 3.0]

    Args:
        taps: K, at least 1.
        dilation: d, at least 1.
    State: {"held": [B, (K-1)·d, C, ...]}, the latest step first; none if K = 1.
    """

    def __init__(self, taps: int, dilation: int = 1) -> None:
        super().__init__()
        if taps < 1 or dilation < 1:
            raise ValueError(f"taps = {taps}, dilation = {dilation}; each must be at least 1")
        self.taps, self.dilation = taps, dilation

    @property
    def reach(self) -> int:
        """Return the number of held steps."""
        return (self.taps - 1) * self.dilation

    def forward(self, x: Tensor, state: State | None, steps: range) -> tuple[Tensor, State | None]:
        check_chunk(x, steps)
        if not self.reach:
            return x, None
        count, shape = len(steps), (x.shape[1], self.reach, *x.shape[2:])
        held = x.new_zeros(shape) if state is None else self._held(state, x)
        if count == 1:
            # Latest first, in the stored order.
            whole = torch.cat([x.transpose(0, 1), held], 1)
            return whole[:, :: self.dilation].flatten(1, 2)[None], {"held": whole[:, :-1]}
        # In the order of time.
        whole = torch.cat([held.transpose(0, 1).flip(0), x.expand(count, *x.shape[1:])])
        if carried(steps).cut:
            past = _Joined.apply(whole.detach(), self.taps, self.dilation)  # type: ignore[no-untyped-call]
            joined = torch.cat([x.expand(count, *x.shape[1:]), past[:, :, x.shape[2] :]], 2)
        else:
            joined = _Joined.apply(whole, self.taps, self.dilation)  # type: ignore[no-untyped-call]
        return joined, {"held": whole[count:].flip(0).transpose(0, 1)}

    def cuts(self) -> bool:
        return True

    def _held(self, state: State, x: Tensor) -> Tensor:
        """Return the held steps in the input's dtype."""
        held = entries_of(state, "DelayLine").get("held")
        if not isinstance(held, Tensor):
            raise StateError("state of a delay line lacks 'held', a tensor; give the whole state, or None to start")
        if held.shape != (x.shape[1], self.reach, *x.shape[2:]):
            raise ShapeError(
                f"held has shape {list(held.shape)}, but the input {list(x.shape[1:])}; a new batch starts with "
                "state=None"
            )
        return held.to(x.dtype)

    def extra_repr(self) -> str:
        return f"taps={self.taps}, dilation={self.dilation}"


class Changes(DelayLine):
    """A layer that appends changes: y_t = [x_t, x_t - x_{t-1}] along channels, with x = 0 before the first step.

    `Changes` computes small changes in large values exactly. A layer that learns to subtract the previous step is only
    approximate. `Changes` is deployed as a delay line with two taps and a 1x1 convolution with weights of 0, 1 and -1.

    >>> import torch
    >>> from hdlif.nn import Changes
    >>> y, state = Changes()(torch.tensor([1.0, 3.0, 3.0]).view(3, 1, 1), None, range(3))
    >>> y[:, 0].tolist()
    [[1.0, 1.0], [3.0, 2.0], [3.0, 0.0]]

    State: {"held": [B, 1, C, ...]}, the previous step.
    """

    def __init__(self) -> None:
        super().__init__(taps=2)

    def forward(self, x: Tensor, state: State | None, steps: range) -> tuple[Tensor, State | None]:
        joined, after = super().forward(x, state, steps)
        now, before = joined.chunk(2, 2)
        return torch.cat([now, now - before], 2), after

    def extra_repr(self) -> str:
        return ""


class _Joined(torch.autograd.Function):
    """Concatenate each of the last n steps with the inputs d, 2·d, …, (K-1)·d steps earlier.

    The input contains (K-1)·d + n steps. With plain slices, the backward pass would sum K zero-padded tensors of full
    length.
    """

    @staticmethod
    def forward(ctx: Any, whole: Tensor, taps: int, dilation: int) -> Tensor:
        ctx.taps, ctx.dilation, ctx.shape = taps, dilation, whole.shape
        count = len(whole) - (taps - 1) * dilation
        return torch.cat([whole[begin : begin + count] for begin in _begins(taps, dilation)], 2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (grad,) = grads
        whole = grad.new_zeros(ctx.shape)
        for begin, part in zip(_begins(ctx.taps, ctx.dilation), grad.chunk(ctx.taps, 2), strict=True):
            whole[begin : begin + len(grad)] += part
        return whole, None, None


def _begins(taps: int, dilation: int) -> range:
    """Return the index of each tap's first step, from the latest tap to the earliest."""
    return range((taps - 1) * dilation, -1, -dilation)
