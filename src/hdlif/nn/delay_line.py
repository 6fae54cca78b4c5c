"""Delay lines: what a layer reads of earlier steps, by which a convolution runs over time."""

import torch
from torch import Tensor

from hdlif.errors import ShapeError, StateError
from hdlif.nn.state import State, Temporal, check_chunk, entries_of


class DelayLine(Temporal):
    """y_t = [x_t, x_{t-d}, …, x_{t-(K-1)d}], joined along channels; x is 0 before the first step.

    A 1x1 convolution behind it is a causal 1-D convolution over time, of kernel K and dilation d: at step t it reads
    nothing later than x_t. What is held is state; deployed, each held step is an op `delay`. A rule that cuts time
    learns the convolution's weights from held values as from an input: what these follow from is cut.

    Args:
        taps: K, at least 1.
        dilation: d, at least 1.
    State: {"held": [B, (K-1)·d, C, ...]}, the latest step first; none where K = 1.
    """

    def __init__(self, taps: int, dilation: int = 1) -> None:
        super().__init__()
        if taps < 1 or dilation < 1:
            raise ValueError(f"taps = {taps}, dilation = {dilation}; each is at least 1")
        self.taps, self.dilation = taps, dilation

    @property
    def reach(self) -> int:
        """Steps that are held."""
        return (self.taps - 1) * self.dilation

    def forward(self, x: Tensor, state: State | None, steps: range) -> tuple[Tensor, State | None]:
        check_chunk(x, steps)
        if not self.reach:
            return x, None
        count, shape = len(steps), (self.reach, *x.shape[1:])
        if state is None:
            before = x.new_zeros(shape)
        else:
            held = entries_of(state, "DelayLine").get("held")
            if not isinstance(held, Tensor):
                raise StateError("state of a delay line lacks 'held', a tensor; give the whole state, or None to start")
            # In the order of time.
            before = held.transpose(0, 1).flip(0)
            if before.shape != shape:
                raise ShapeError(
                    f"held has shape {list(held.shape)}, and the input {list(x.shape[1:])}; a new batch starts with "
                    "state=None"
                )
        whole = torch.cat([before.to(x.dtype), x.expand(count, *x.shape[1:])])
        begins = range(self.reach, -1, -self.dilation)
        joined = torch.cat([whole[begin : begin + count] for begin in begins], 2)
        return joined, {"held": whole[count:].flip(0).transpose(0, 1)}

    def extra_repr(self) -> str:
        return f"taps={self.taps}, dilation={self.dilation}"
