"""Compand sensor values before the first layer of a network."""

from collections.abc import Sequence

import torch
from torch import Tensor

from hdlif.nn.equation import EquationNeuron, Parameter

CLIPS = tuple(4.0**power for power in range(-4, 2))
"""Limits of the parts of a companded value, in standard deviations of its channel: 1/256 to 4."""
SIZE = 0.25
"""Factor on each of the six parts, so their sum is within 1.5, like most values of a normalised channel."""


class Companded(EquationNeuron):
    """A layer that compands sensor values x on a roughly logarithmic scale in all channels with `share` = 1.

        y = x + share·(¼ Σ_b clamp(x/b, -1, 1) - x),   b = 1/256, 1/64, ..., 4

    The sum over b is an odd function of x and is linear between the limits b. From |x| to 4·|x|, the sum rises by 1 -
    |x|/4 if |x| is between 1/1024 and 4. In companded channels, y lies within ±1.5. A network can thus distinguish
    swings of 0.03 and 0.1 standard deviations in a signal with jumps of 4 standard deviations. The layer has no learned
    parameters and no state. To compand some channels of an input, use `companded`.

    >>> import torch
    >>> from hdlif.nn import Companded
    >>> y, state = Companded(time_steps=1)(torch.tensor([[[0.0, 0.25, 4.0]]]), None, range(1))
    >>> y.tolist(), state
    ([[[0.0, 1.078125, 1.5]]], None)

    Args:
        share: 1 in companded channels, 0 in unchanged ones; it is not learned.
        time_steps, learned, channels, per_step, quantizer, path: as in `EquationNeuron`.
    """

    states = ()
    accumulates = fires = False
    share = Parameter(1.0, learned=False, per_step=False)

    @staticmethod
    def step(current: Tensor, share: Tensor) -> Tensor:
        parts = torch.clamp(current * (1 / CLIPS[0]), -1, 1)
        for end in CLIPS[1:]:
            parts = parts + torch.clamp(current * (1 / end), -1, 1)
        return current + share * (SIZE * parts - current)


def companded(channels: int, which: Sequence[int]) -> Companded:
    """Return a `Companded` layer that compands only the given channels of an input.

    >>> import torch
    >>> from hdlif.nn import companded
    >>> y, _ = companded(2, [1])(torch.full((1, 1, 2, 1, 1), 4.0), None, range(1))
    >>> y.flatten().tolist()
    [4.0, 1.5]

    Args:
        channels: C of the input.
        which: the channels to compand, numbered from 0; the others stay unchanged.
    Raises:
        ValueError: a channel does not exist, or occurs twice.
    """
    numbers = list(which)
    check_channels(channels, numbers)
    made = Companded(1, learned=False, channels=channels, per_step=False)
    value = made.step_values()["share"].values()
    value.zero_()
    value[:, numbers] = 1
    return made


def check_channels(channels: int, which: Sequence[int]) -> None:
    """Raise `ValueError` unless `which` contains different channels, numbered from 0."""
    if len(set(which)) < len(which) or not all(type(n) is int and 0 <= n < channels for n in which):
        raise ValueError(
            f"companded = {list(which[:9])}; name channels of the data once each, by their numbers in 0..{channels - 1}"
        )
