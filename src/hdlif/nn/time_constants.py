"""Where leaks start for long time: spread over channels."""

import math
from dataclasses import dataclass
from numbers import Real

from hdlif.errors import brief

MOST = 2**20
"""Largest time constant: float32 has 2^24 numbers in (½, 1), and a leak for a longer one is off by 3 %."""


@dataclass(frozen=True)
class TimeConstants:
    """Start of a leak that is another in each channel: time constants 1/(1 - λ), evenly spaced on the log axis.

    τ_c = shortest·(longest/shortest)^(c/(C - 1)),   λ_c = 1 - 1/τ_c,   c = 0, ..., C - 1

    It replaces a number in a neuron's arguments; nothing is random. A single channel has τ = √(shortest·longest).

    >>> from hdlif.nn import HDLIF
    >>> neuron = HDLIF(time_steps=32, channels=5, leak=TimeConstants(2, 32))
    >>> (1 / (1 - neuron.leak.values()[0])).round(decimals=3).tolist()
    [2.0, 4.0, 8.0, 16.0, 32.0]

    Args:
        shortest: τ of the first channel, in steps, more than 1.
        longest: τ of the last; None for the T of the neuron.
    Raises:
        ValueError: it is no such number, or `longest` is less than `shortest`.
    """

    shortest: float = 2.0
    longest: float | None = None

    def __post_init__(self) -> None:
        given: dict[str, object] = {"shortest": self.shortest}
        given |= {} if self.longest is None else {"longest": self.longest}
        for name, value in given.items():
            if isinstance(value, bool) or not isinstance(value, Real):
                raise ValueError(f"{name} = {brief(value)}; a time constant is a number of steps, such as 2")
            if not 1 < float(value) <= MOST:
                raise ValueError(f"{name} = {value}; a time constant is more than 1 step, and at most 2^20")
            object.__setattr__(self, name, float(value))
        if self.longest is not None and self.longest < self.shortest:
            raise ValueError(f"shortest = {self.shortest:g}, longest = {self.longest:g}; give the shorter one first")

    def leaks(self, channels: int | None, time_steps: int) -> list[float]:
        """λ of each channel.

        Args:
            channels: C, which must be given.
            time_steps: T, for `longest` where that is None.
        Raises:
            ValueError: there are no channels, or T is below `shortest`.
        """
        if channels is None:
            raise ValueError(
                "time constants are spread over channels, and there is one leak for all; "
                "give the channels (channels=C, or granularity: channel)"
            )
        longest = time_steps if self.longest is None else self.longest
        if longest < self.shortest:
            raise ValueError(
                f"time constants from {self.shortest:g} to time_steps = {time_steps}, which is less; give the longest"
            )
        low, width = math.log(self.shortest), math.log(longest / self.shortest)
        places = [c / (channels - 1) for c in range(channels)] if channels > 1 else [0.5]
        # 1 - 1/τ without what log and exp round off 1 - λ.
        return [-math.expm1(-(low + width * place)) for place in places]
