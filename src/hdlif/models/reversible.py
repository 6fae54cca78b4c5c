"""The reversible block: two streams of currents, each of which can be computed back from the block's output."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from hdlif.models.blocks import ConvFactory, NeuronFactory, NormFactory, Place, default_conv
from hdlif.nn import BatchNorm2d, Scope, Sequential, State, Temporal
from hdlif.nn.state import Paths

GRID = 2.0**-16


class Grid(nn.Module):
    """x rounded to multiples of `step`, in float32 or wider; the gradient passes as through the identity.

    >>> import torch
    >>> from hdlif.models import Grid
    >>> Grid(0.25)(torch.tensor([0.1, 0.3, -0.7])).tolist()
    [0.0, 0.25, -0.75]

    Args:
        step: distance of two grid points, a power of two.
    Raises:
        ValueError: `step` is no power of two, so that the multiples would not be exact.
    """

    def __init__(self, step: float) -> None:
        super().__init__()
        if step <= 0 or math.frexp(step)[0] != 0.5:
            raise ValueError(f"grid = {step}; it must be a power of two, such as 2**-16")
        self.step = step

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = _Round.apply(x.to(torch.promote_types(x.dtype, torch.float32)), self.step)  # type: ignore[no-untyped-call]
        return y

    def extra_repr(self) -> str:
        return f"step={self.step}"


class _Round(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, step: float) -> Tensor:
        return torch.round(x / step) * step

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0], None


class ReversibleBlock(Temporal):
    """Two streams of real-valued currents, the halves x1 and x2 of the channels of x [K, B, C, H, W].

    y1 = x1 + f(x2),   y2 = x2 + g(y1),   and back:   x2 = y2 - g(y1),   x1 = y1 - f(x2),

    where f and g are neuron -> 3x3 convolution -> batch norm on C/2 channels. Nothing in them may be random.

    In floating point (y1 - f) + f is not quite y1, and a neuron next to its threshold then fires in one pass and not
    in the other. So x, f and g are rounded to a grid, on which sums are exact, and so is the way back, for
    currents of up to 2^24 steps in float32: 2^8 for the step of 2^-16.

    >>> import torch
    >>> from hdlif.models import Place, ReversibleBlock, ReversibleSequential
    >>> from hdlif.nn import HDLIF
    >>> places = Place("f", 0, 0, 0, 0, 4), Place("g", 0, 0, 1, 1, 4)
    >>> blocks = [ReversibleBlock(8, neuron=lambda place: HDLIF(2), places=places) for _ in range(2)]
    >>> y, state = ReversibleSequential(*blocks)(torch.randn(2, 1, 8, 4, 4), None, range(2))
    >>> list(y.shape)
    [2, 1, 8, 4, 4]

    Args:
        channels: C of x, even.
        neuron, places, conv, norm: as in `PreActBlock`; the places are those of f and g.
        grid: step of the grid, a power of two; None does not round.
    """

    def __init__(
        self,
        channels: int,
        *,
        neuron: NeuronFactory,
        places: tuple[Place, Place],
        conv: ConvFactory = default_conv,
        norm: NormFactory = BatchNorm2d,
        grid: float | None = GRID,
    ) -> None:
        super().__init__()
        if channels % 2:
            raise ValueError(f"channels = {channels}; a reversible block splits them in halves, so they must be even")

        def rounding() -> nn.Module:
            return nn.Identity() if grid is None else Grid(grid)

        def branch(place: Place) -> Sequential:
            half = channels // 2
            layers = {"act": neuron(place), "conv": conv(half, half, 3, padding=1), "bn": norm(half)}
            return Sequential(layers, {"grid": rounding()})

        self.grid = rounding()
        self.f, self.g = branch(places[0]), branch(places[1])

    @property
    def paths(self) -> Paths:
        return [["grid"], ["grid", "f"], ["grid", "g"], ["grid", "f", "g"]]

    def forward(self, x: Tensor, state: State | None, steps: range) -> tuple[Tensor, State | None]:
        run = Scope(self, state, steps)
        x1, x2 = run("grid", x).chunk(2, 2)
        y1 = x1 + run("f", x2)
        y2 = x2 + run("g", y1)
        return torch.cat([y1, y2], 2), run.state

    def inverse(self, y: Tensor, state: State | None, steps: range) -> Tensor:
        """x (on the grid) from y, given the state before the chunk."""
        run = Scope(self, state, steps)
        y1, y2 = y.chunk(2, 2)
        x2 = y2 - run("g", y1)
        x1 = y1 - run("f", x2)
        return torch.cat([x1, x2], 2)
