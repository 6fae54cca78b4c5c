"""A gain and a shift of each channel, in the place of a batch norm, without statistics."""

import torch
from torch import Tensor, nn

from hdlif.nn.state import State, Temporal, check_chunk, check_stateless


class Affine(Temporal):
    """y = weight·x + bias of [K, B, C, ...], per channel, the same at every step.

    A batch norm in train mode normalises each step by its own batch, so that what one step has in common in all samples
    (a cue that comes at the same time in each) is taken away, and given back by the running statistics in eval mode.
    Here nothing depends on the batch or the step: training sees what is run, with a batch of one as well.

    >>> import torch
    >>> from hdlif.nn import Affine
    >>> Affine(channels=2, scale=0.5)(torch.ones(1, 1, 2), None, range(1))[0].tolist()
    [[[0.5, 0.5]]]

    Args:
        channels: C.
        scale: of `weight` at the start, above 0.
    Raises:
        ValueError: `scale` is not above 0.
    """

    def __init__(self, channels: int, *, scale: float = 1.0) -> None:
        super().__init__()
        if not scale > 0:
            raise ValueError(f"scale = {scale}; it must be above 0")
        self.weight = nn.Parameter(torch.full((channels,), float(scale)))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor, state: State | None, steps: range) -> tuple[Tensor, None]:
        check_stateless(self, state)
        check_chunk(x, steps)
        weight, bias = (value.reshape(-1, *(1,) * (x.ndim - 3)) for value in (self.weight, self.bias))
        return x * weight + bias, None
