"""Parameters per time step, stored as tensors [T] or [T, C].

With one module per time step, the modules of unused steps would break data-parallel training.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, Literal, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hdlif.errors import ShapeError, brief
from hdlif.nn.steps import are_traced, last_of


class PerStep(nn.Module):
    """A module with parameters per time step, [T, ...], or for all steps, [1, ...], which have no weight decay.

    Steps beyond T use the values of the last step.

    Args:
        time_steps: T, at least 1.
    """

    def __init__(self, time_steps: int) -> None:
        super().__init__()
        self.time_steps = _count("time_steps", time_steps)

    def held(self, values: Tensor, steps: range) -> Tensor:
        """Return the rows [K, ...] for `steps`, given values [T, ...] or [1, ...]."""
        if len(values) == 1:
            return values.expand(len(steps), *values.shape[1:])
        if are_traced(steps):
            return values[torch.stack([torch.as_tensor(last_of(t, len(values))) for t in steps])]
        if steps.stop <= len(values):
            return values[steps.start : steps.stop]
        return values[[min(t, len(values) - 1) for t in steps]]

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *others: Any) -> None:
        """Load parameters as usual, but if a tensor's shape differs, raise an error before changing anything.

        Raises:
            ShapeError: a tensor of these rows has another shape than the module's.
        """
        for name, own in (*self._parameters.items(), *self._buffers.items()):
            given = state_dict.get(prefix + name)
            if own is not None and isinstance(given, Tensor) and given.shape != own.shape:
                raise ShapeError(
                    f"{prefix}{name} has shape {list(given.shape)} in the loaded state, but {list(own.shape)} in this "
                    "network, with one row per time step or one for all; build the network like the saved one, with "
                    "the same time_steps, per_step and channels"
                )
        super()._load_from_state_dict(state_dict, prefix, *others)


def one_number(name: str, value: object) -> float:
    """Return an initial value (a Python number, a NumPy number or a tensor []) as a float.

    Raises:
        ShapeError: the value has a shape or a length.
        ValueError: the value is not a finite number.
    """
    if type(value) is not bool and isinstance(value, Real):
        number = float(value)
        if math.isfinite(number):
            return number
        raise ValueError(f"{name} = {value}; it must be a finite number")
    shape = getattr(value, "shape", None)
    if shape == () and not getattr(value, "is_meta", False):
        return one_number(name, cast(Any, value).item())
    if shape is not None or isinstance(value, list | tuple):
        seen = brief(value) if shape is None else f"a {type(value).__name__} of shape {list(shape)}"
        raise ShapeError(
            f"{name} = {seen}; a parameter starts from one number for all time steps and channels, which may then "
            "diverge (channels=C, or granularity: channel); give a number, such as 0.5, or hdlif.nn.TimeConstants "
            "for a leak"
        )
    raise ValueError(f"{name} = {brief(value)}, of type {type(value).__name__}; it must be a number, such as 0.5")


def _count(name: str, value: object, fix: str = "") -> int:
    if type(value) is bool or not isinstance(value, Integral):
        raise ValueError(f"{name} = {brief(value)}; it must be a whole number of at least 1{fix}")
    if value < 1:
        raise ValueError(f"{name} = {value}; it must be at least 1{fix}")
    return int(value)


def step_parameters(model: nn.Module) -> list[nn.Parameter]:
    """Return all per-step parameters of a network, in the network's order.

    >>> from torch import nn
    >>> from hdlif.nn import HDLIF, step_parameters
    >>> [list(p.shape) for p in step_parameters(nn.Sequential(nn.Linear(3, 3), HDLIF(time_steps=4)))]
    [[4], [4]]

    Args:
        model: any module.
    """
    owned = {id(p) for module in model.modules() if isinstance(module, PerStep) for p in module.parameters()}
    return [parameter for parameter in model.parameters() if id(parameter) in owned]


LONGEST = 2**20
"""Largest time constant: float32 numbers in (½, 1) are 2^-24 apart, so a longer time constant may be off by 3 %."""


@dataclass(frozen=True)
class TimeConstants:
    """Initial leaks λ per channel, with time constants 1/(1 - λ) that are evenly spaced on a log scale.

    τ_c = shortest·(longest/shortest)^(c/(C - 1)),   λ_c = 1 - 1/τ_c,   c = 0, ..., C - 1

    Pass a `TimeConstants` to a neuron in place of a number. The time constants are not random. A single channel has τ =
    √(shortest·longest).

    >>> from hdlif.nn import HDLIF
    >>> neuron = HDLIF(time_steps=32, channels=5, leak=TimeConstants(2, 32))
    >>> (1 / (1 - neuron.leak.values()[0])).round(decimals=3).tolist()
    [2.0, 4.0, 8.0, 16.0, 32.0]

    Args:
        shortest: τ of the first channel, in steps, more than 1.
        longest: τ of the last channel; None for the T of the neuron.
    Raises:
        ValueError: `shortest` or `longest` is not such a number, or `longest` is less than `shortest`.
    """

    shortest: float = 2.0
    longest: float | None = None

    def __post_init__(self) -> None:
        given: dict[str, object] = {"shortest": self.shortest}
        given |= {} if self.longest is None else {"longest": self.longest}
        for name, value in given.items():
            if isinstance(value, bool) or not isinstance(value, Real):
                raise ValueError(f"{name} = {brief(value)}; a time constant must be a number of steps, such as 2")
            if not 1 < float(value) <= LONGEST:
                raise ValueError(f"{name} = {value}; a time constant must be more than 1 step, and at most 2^20")
            object.__setattr__(self, name, float(value))
        if self.longest is not None and self.longest < self.shortest:
            raise ValueError(f"shortest = {self.shortest:g}, longest = {self.longest:g}; give the shorter one first")

    def leaks(self, channels: int | None, time_steps: int) -> list[float]:
        """Return the leak λ of each channel.

        Args:
            channels: C; required.
            time_steps: T, which replaces a `longest` of None.
        Raises:
            ValueError: there are no channels, or T is below `shortest`.
        """
        if channels is None:
            raise ValueError(
                "time constants are spread over channels, but there is one leak for all; give the channels "
                "(channels=C, or granularity: channel)"
            )
        longest = time_steps if self.longest is None else self.longest
        if longest < self.shortest:
            raise ValueError(
                f"time constants from {self.shortest:g} to time_steps = {time_steps}, which is smaller; give the "
                "longest"
            )
        low, width = math.log(self.shortest), math.log(longest / self.shortest)
        places = [c / (channels - 1) for c in range(channels)] if channels > 1 else [0.5]
        # Compute 1 - 1/τ without the rounding errors of log and exp in 1 - λ.
        return [-math.expm1(-(low + width * place)) for place in places]


def _starts(name: str, value: object, channels: int | None, time_steps: int) -> list[float]:
    """Return the initial value of each channel, or a single value for all channels.

    Raises:
        ShapeError, ValueError: as in `one_number` and `TimeConstants.leaks`.
    """
    if not isinstance(value, TimeConstants):
        return [one_number(name, value)]
    try:
        return value.leaks(channels, time_steps)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


Parametrization = Literal["sigmoid", "softplus"]


class _Parametrization(NamedTuple):
    """A function from an unbounded `a` to a rescaled `y`, and its inverse, which converts an initial `y` to `a`."""

    value: Callable[[Tensor], Tensor]
    start: Callable[[float], float]


_PARAMETRIZATIONS: dict[str, _Parametrization] = {
    "sigmoid": _Parametrization(torch.sigmoid, lambda above: math.log(above / (1 - above))),
    "softplus": _Parametrization(F.softplus, lambda above: above + math.log(-math.expm1(-above))),
    "free": _Parametrization(lambda a: a, lambda above: above),
}


class StepValue(PerStep):
    """A learned or fixed parameter y_t per time step, such as a leak, with a single value or one value per channel.

    A learned y is a function of an unbounded a_t (the parameter `logit`), which is initialised so that y equals
    `value`. A fixed y is stored in a buffer.

        sigmoid:   y_t = low + (high - low)·σ(a_t), in (low, high)
        softplus:  y_t = low + log(1 + exp(a_t)), in (low, ∞)
        free:      y_t = a_t

    >>> from hdlif.nn import StepValue
    >>> leak = StepValue(time_steps=3, value=0.5, learned=True, channels=2)
    >>> list(leak.logit.shape), leak(range(2, 5)).tolist()
    ([3, 2], [[0.5, 0.5], [0.5, 0.5], [0.5, 0.5]])

    Args:
        time_steps: T.
        value: initial y at every step; `TimeConstants` for a leak that starts differently in each channel.
        low: lower end of the range.
        high: upper end of the range of a sigmoid; low + 1 by default.
        learned: learn a; otherwise y is fixed, and may lie outside the range.
        channels: C for values per channel, [T, C]; None for one value per layer, [T].
        per_step: False shares one row among all steps, [1] or [1, C].
        form: the function from a to y.
        name, fix: used in errors: the name of y, and how to allow an initial value outside the range.
    Raises:
        ValueError: a learned value starts outside its range, or an argument would have no effect.
        ShapeError: `value` is not a single number.
    """

    def __init__(
        self,
        time_steps: int,
        *,
        value: float | TimeConstants,
        low: float = 0.0,
        high: float | None = None,
        learned: bool,
        channels: int | None = None,
        per_step: bool = True,
        form: Parametrization | Literal["free"] = "sigmoid",
        name: str = "value",
        fix: str = "learned: false allows any",
    ) -> None:
        super().__init__(time_steps)
        if form not in _PARAMETRIZATIONS:
            raise ValueError(f"{name}_form = {form!r}; choose one of sigmoid, softplus")
        if form != "sigmoid" and not learned:
            raise ValueError(f"{name}_form = {form!r} has no effect on a {name} that is not learned; set learned: true")
        if channels is not None:
            channels = _count("channels", channels, ", or None for one value of the layer")
        starts = _starts(name, value, channels, self.time_steps)
        self.width = 1.0 if high is None or form != "sigmoid" else high - low
        self.ends = {"sigmoid": (low, low + self.width), "softplus": (low, math.inf), "free": (-math.inf, math.inf)}[
            form
        ]
        if learned and (outside := [start for start in starts if not self.ends[0] < start < self.ends[1]]):
            raise ValueError(
                f"{name} = {outside[0]}; a learned one must lie in ({self.ends[0]}, {self.ends[1]}); {fix}"
            )
        self.low, self.learned, self.channels, self.form = (0.0 if form == "free" else low), learned, channels, form
        self.name = name
        shape = (time_steps if per_step else 1, *([] if channels is None else [channels]))
        if learned:
            # Use float64 until here: 1 - λ for a long time constant is then as exact as λ for a short one.
            logits = [_PARAMETRIZATIONS[form].start((start - self.low) / self.width) for start in starts]
            self.logit = nn.Parameter(torch.tensor(logits).expand(shape).clone())
        else:
            self.register_buffer("value", torch.tensor(starts).expand(shape).clone())

    def values(self) -> Tensor:
        """Return y for every trained step, [T] or [T, C], or one row if all steps share y."""
        if not self.learned:
            return cast(Tensor, self.value)
        value = _PARAMETRIZATIONS[self.form].value(self.logit)
        if self.width != 1:
            value = self.width * value
        return value if self.low == 0 else self.low + value

    def forward(self, steps: range) -> Tensor:
        """Return y at the steps of a chunk, [K] or [K, C]."""
        return self.held(self.values(), steps)

    def rows(self, steps: range, x: Tensor) -> Tensor:
        """Return y for each step of a chunk, in a shape that broadcasts to the input x [K, B, C, ...].

        Raises:
            ShapeError: x has a different number of channels.
        """
        return broadcast_rows(self(steps), x, self.name)

    def extra_repr(self) -> str:
        channels = "" if self.channels is None else f", channels={self.channels}"
        return f"time_steps={self.time_steps}, low={self.low}, learned={self.learned}{channels}, form={self.form!r}"


def broadcast_rows(values: Tensor, x: Tensor, name: str = "value") -> Tensor:
    """Reshape rows [K] or [K, C] to [K, 1, ..., 1] or [K, 1, C, 1, ...], broadcastable to x [K, B, C, ...].

    Args:
        name: the parameter's name in the error.
    Raises:
        ShapeError: x has a different number of channels.
    """
    if values.ndim == 1:
        return values.view(-1, *[1] * (x.ndim - 1))
    channels = values.shape[1]
    if x.ndim < 3 or x.shape[2] != channels:
        seen = x.shape[2] if x.ndim > 2 else "no"
        raise ShapeError(
            f"input has {seen} channels, its shape being {list(x.shape)}; this neuron's {name} is for {channels}: "
            f"give it [K, B, {channels}, ...], or build it with the channels of its input, or without channels for "
            f"one shared {name}"
        )
    return values.view(values.shape[0], 1, channels, *[1] * (x.ndim - 3))
