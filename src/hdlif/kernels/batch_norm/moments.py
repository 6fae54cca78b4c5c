"""What the statistics of a batch are made of."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Moments:
    """Of each step of maps what its channels add up to.

    Attributes:
        totals, squares: sums of the values and of their squares, [K, C] in float64.
        count: how many values of a channel there are.
        unit: [C] in float32, what a value that was summed stands for; 1 where there is none.
        are_units: whether the maps themselves have been multiplied by it.
    """

    totals: Tensor
    squares: Tensor
    count: int
    unit: Tensor | None = None
    are_units: bool = True

    @staticmethod
    def of_nothing(maps: Tensor) -> Moments:
        """Where running statistics normalise maps that no convolution has summed."""
        nothing = maps.new_empty(0, dtype=torch.float64)
        return Moments(nothing, nothing, 0)
