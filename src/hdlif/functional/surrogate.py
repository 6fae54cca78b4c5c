"""Surrogate derivatives of the unit step H; see the table in `docs/reference/lif.md`.

A surrogate f replaces dH/dx in the backward pass. Any function x -> f(x) can be a surrogate, and `heaviside(x, f)` uses
it as the derivative. The surrogates of this module are immutable and have unit area. A spike is s = theta * H(m -
theta), so ds/dm = theta * f(m - theta).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.overrides import handle_torch_function, has_torch_function_unary

from hdlif.errors import ArgumentError

Surrogate = Callable[[Tensor], Tensor]
_COUNTERPARTS = {
    "atan": "hdlif.functional.ATan(alpha)",
    "sigmoid": "hdlif.functional.Sigmoid(slope)",
    "fast_sigmoid": "hdlif.deploy.interop.snntorch.FastSigmoid(slope)",
}
"""Counterparts of the surrogates of snnTorch and SpikingJelly, by name in lower case."""


def checked_surrogate(surrogate: Surrogate) -> Surrogate:
    """Return a surrogate, or raise `ArgumentError` if it cannot be a function x -> f(x).

    Functions from snnTorch and SpikingJelly are rejected, because they return spikes, not the derivative.
    """
    if not callable(surrogate):
        raise ArgumentError(f"surrogate = {surrogate!r} is not a function; use hdlif.functional.ATan() or another f(x)")
    name = getattr(surrogate, "__qualname__", type(surrogate).__name__).partition(".")[0]
    library, _, module = str(getattr(surrogate, "__module__", "")).partition(".")
    if library in ("snntorch", "spikingjelly") and module.endswith("surrogate"):
        ours = _COUNTERPARTS.get(name.lower(), "a function x -> f(x), such as hdlif.functional.ATan()")
        raise ArgumentError(f"surrogate = {name} of {library} returns spikes, not their derivative; use {ours}")
    if isinstance(surrogate, type):
        raise ArgumentError(f"surrogate = {name} is a class; use an object, such as {name}()")
    return surrogate


@dataclass(frozen=True)
class Triangle:
    """The default surrogate, a triangle of area 1: f(x) = max(width - |x|, 0) / width².

    >>> import torch
    >>> from hdlif.functional import Triangle
    >>> Triangle()(torch.tensor([-1.0, -0.5, 0.0, 0.5])).tolist()
    [0.0, 0.5, 1.0, 0.5]

    Attributes:
        width: half the width of the support, above 0; the gradient is 0 where |m - θ| >= width.
    """

    width: float = 1.0

    def __call__(self, x: Tensor) -> Tensor:
        return (self.width - x.abs()).clamp_min(0) / self.width**2


@dataclass(frozen=True)
class Rectangle:
    """A rectangular surrogate: f(x) = 1[|x| < width / 2] / width.

    Attributes:
        width: the width of the support, above 0.
    """

    width: float = 1.0

    def __call__(self, x: Tensor) -> Tensor:
        return (x.abs() < self.width / 2).to(x.dtype) / self.width


@dataclass(frozen=True)
class Sigmoid:
    """The derivative of a sigmoid as a surrogate: f(x) = slope · σ(slope · x) · (1 - σ(slope · x)).

    Attributes:
        slope: the slope of the sigmoid, above 0; f(0) = slope / 4.
    """

    slope: float = 4.0

    def __call__(self, x: Tensor) -> Tensor:
        y = torch.sigmoid(self.slope * x)
        return self.slope * y * (1 - y)


@dataclass(frozen=True)
class ATan:
    """The derivative of an arctangent as a surrogate: f(x) = (slope / 2) / (1 + (π · slope · x / 2)²).

    Attributes:
        slope: above 0; f(0) = slope / 2. The default is the same as for SpikingJelly's ATan and snnTorch's atan.
    """

    slope: float = 2.0

    def __call__(self, x: Tensor) -> Tensor:
        return (self.slope / 2) / (1 + (math.pi * self.slope / 2 * x) ** 2)


def dspike(x: Tensor, temperature: Tensor) -> Tensor:
    """Return the Dspike surrogate, b·sech²(b·(y - ½)) / (2·tanh(b/2)) with y = x + ½, or 0 for y outside [0, 1].

    Dspike (Li et al. 2021) is the derivative of the smooth step (tanh(b(y - ½)) + tanh(b/2)) / (2·tanh(b/2)), which
    rises from 0 to 1 on [0, 1]. Dspike is largest at the threshold. A small b gives a rectangle of width 1, and a large
    b gives a narrow peak.

    >>> import torch
    >>> from hdlif.functional import dspike
    >>> [round(f.item(), 3) for f in dspike(torch.tensor([0.0, 0.6]), torch.tensor(3.0))]
    [1.657, 0.0]

    Args:
        x: m - θ.
        temperature: b > 0, a scalar.
    """
    slope = temperature / torch.cosh(temperature * x).square() / (2 * torch.tanh(temperature / 2))
    return torch.where(x.abs() <= 0.5, slope, 0)


class _Heaviside(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, surrogate: Surrogate) -> Tensor:
        ctx.save_for_backward(x)
        ctx.surrogate = surrogate
        return (x >= 0).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        return grads[0] * ctx.surrogate(x), None


def heaviside(x: Tensor, surrogate: Surrogate) -> Tensor:
    """Return H(x) = 1[x >= 0], where H(0) = 1, with surrogate(x) as dH/dx in the backward pass.

    >>> import torch
    >>> from hdlif.functional import Triangle, heaviside
    >>> x = torch.tensor([-0.25, 0.0, 2.0], requires_grad=True)
    >>> fired = heaviside(x, Triangle())
    >>> fired.sum().backward()
    >>> fired.tolist(), x.grad.tolist()
    ([0.0, 1.0, 1.0], [0.75, 1.0, 0.0])

    Args:
        x: m - θ, any shape.
        surrogate: f, such as `Triangle()`: maps x to f(x) of the same shape.
    """
    if has_torch_function_unary(x):  # a symbol of a traced equation
        traced: Tensor = handle_torch_function(heaviside, (x,), x, surrogate)
        return traced
    step: Tensor = _Heaviside.apply(x, surrogate)  # type: ignore[no-untyped-call]
    return step
