"""Channel attention with one gate per channel and time step, and summation layers for Q-K attention."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hdlif.errors import ShapeError
from hdlif.nn.per_step import PerStep
from hdlif.nn.state import State, Temporal, check_chunk, check_stateless


class SECA(PerStep, Temporal):
    """Spiking efficient channel attention (arXiv 2410.07547) on real-valued currents x [K, B, C, H, W] or [K, B, C, L].

    gate_{t,c} = σ(bias + Σ_j weight_j · a_{t,c+j-(k-1)/2}),   a_{t,c} = mean over (H, W) or L of x_{t,c},   y = x·gate,

    Here, j runs from 0 to k - 1, and a_{t,c} = 0 outside the range of channels. A gate pooled over time could not be
    computed online, so each step has its own gate. By default, all steps share one kernel, as in the published method.
    An input that is constant in time then gives an output that is constant in time. The gates depend on the input, so
    they cannot be folded into weights. `weight` [1, k] or [T, k] and `bias` [1] or [T] are initialised like a 1-D
    convolution, uniformly in ±1/√k.

    >>> import torch
    >>> from hdlif.nn import SECA
    >>> attention = SECA(channels=8)
    >>> y, state = attention(torch.randn(4, 2, 8, 5, 5), None, range(4))
    >>> list(y.shape), sum(p.numel() for p in attention.parameters())
    ([4, 2, 8, 5, 5], 6)

    Args:
        channels: C.
        kernel_size: k, odd; the published modules use k = 5 with a bias, 6 parameters each.
        bias: False omits the bias, like the original ECA.
        time_steps: None shares the kernel among all steps; T gives each step its own kernel, all equal at the start.
            Steps beyond T use the kernel of the last step.
    """

    bias: Tensor | None

    def __init__(
        self, channels: int, *, kernel_size: int = 5, bias: bool = True, time_steps: int | None = None
    ) -> None:
        super().__init__(1 if time_steps is None else time_steps)
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise ValueError(f"kernel_size = {kernel_size}; it must be odd, so that the kernel is centred on a channel")
        self.channels, self.kernel_size = channels, kernel_size
        reach = kernel_size**-0.5
        # One draw for all rows: the same seed gives the same gates, per step or shared.
        self.weight = nn.Parameter(torch.empty(1, kernel_size).uniform_(-reach, reach).repeat(self.time_steps, 1))
        self.bias = nn.Parameter(torch.empty(1).uniform_(-reach, reach).repeat(self.time_steps)) if bias else None

    def forward(self, x: Tensor, state: State | None, steps: range) -> tuple[Tensor, None]:
        check_stateless(self, state)
        gate = self.gate(x, steps)
        return x * gate.view(*gate.shape, *[1] * (x.ndim - 3)), None

    def gate(self, x: Tensor, steps: range) -> Tensor:
        """Return a chunk's gates in (0, 1) as [K, B, C], or as [1, B, C] if the input and kernel are constant in time.

        Raises:
            ShapeError: x is neither [K, B, C, H, W] nor [K, B, C, L] for the C of this module.
        """
        check_chunk(x, steps)
        if x.ndim not in (4, 5) or x.shape[2] != self.channels:
            raise ShapeError(
                f"input has shape {list(x.shape)}; this attention takes maps [K, B, {self.channels}, H, W] or "
                f"sequences [K, B, {self.channels}, L]"
            )
        margin = self.kernel_size // 2
        neighbours = F.pad(x.mean(tuple(range(3, x.ndim))), (margin, margin)).unfold(2, self.kernel_size, 1)
        logit = (neighbours * self._rows(self.weight, steps)[:, None, None]).sum(3)
        if self.bias is not None:
            logit = logit + self._rows(self.bias, steps)[:, None, None]
        return torch.sigmoid(logit).to(x.dtype)

    def _rows(self, values: Tensor, steps: range) -> Tensor:
        # Keep a shared row single, so an input constant in time stays constant.
        return values if len(values) == 1 else self.held(values, steps)

    def extra_repr(self) -> str:
        return (
            f"channels={self.channels}, kernel_size={self.kernel_size}, bias={self.bias is not None}, "
            f"time_steps={self.time_steps}"
        )


def eca_kernel_size(channels: int) -> int:
    """Return the kernel size of the original ECA (Wang et al., CVPR 2020), int(log2(C)/2 + 1/2), plus 1 if even.

    >>> [eca_kernel_size(channels) for channels in (64, 128, 256, 512, 1024, 2048)]
    [3, 5, 5, 5, 5, 7]
    """
    size = int(math.log2(channels) / 2 + 1 / 2)
    return size if size % 2 else size + 1


def eca(channels: int) -> SECA:
    """Return the original ECA layer, which has no bias and a kernel size that depends on C.

    >>> from hdlif.nn import eca
    >>> [list(p.shape) for p in eca(64).parameters()]
    [[1, 3]]

    Args:
        channels: C; the kernel size is `eca_kernel_size(channels)`.
    """
    return SECA(channels, kernel_size=eca_kernel_size(channels), bias=False)


class HeadSum(nn.Module):
    """A layer that sums the channels of each head, from [N, C, H, W] to [N, heads, H, W], for token attention.

    y_h = Σ x_c over the C/heads adjacent channels c of head h. Sums of codes are exact, so hdlif deploys this layer as
    a 1x1 convolution with weights of 1 in `heads` groups.

    >>> import torch
    >>> from hdlif.nn import HeadSum
    >>> HeadSum(2)(torch.arange(4.0).view(1, 4, 1, 1)).flatten().tolist()
    [1.0, 5.0]

    Args:
        heads: the number of heads; it divides C.
    Raises:
        ValueError: `heads` is below 1.
        ShapeError: x is not a map, or C is not a multiple of `heads`.
    """

    def __init__(self, heads: int) -> None:
        super().__init__()
        if heads < 1:
            raise ValueError(f"heads = {heads}; it must be at least 1")
        self.heads = heads

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim != 4 or x.shape[1] % self.heads:
            raise ShapeError(
                f"input has shape {list(x.shape)}; it must be [N, C, H, W] with C a multiple of the {self.heads} heads"
            )
        return x.reshape(len(x), self.heads, x.shape[1] // self.heads, *x.shape[2:]).sum(2)

    def extra_repr(self) -> str:
        return f"heads={self.heads}"


class TokenSum(nn.Module):
    """A layer that sums the pixels of each channel, from [N, C, H, W] to [N, C], for channel attention.

    >>> import torch
    >>> from hdlif.nn import TokenSum
    >>> TokenSum()(torch.ones(1, 3, 2, 2)).tolist()
    [[4.0, 4.0, 4.0]]

    Raises:
        ShapeError: x is not a map.
    """

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim != 4:
            raise ShapeError(f"input has shape {list(x.shape)}; it must be [N, C, H, W]")
        return x.sum((2, 3))
