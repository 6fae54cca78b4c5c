"""Fixed-point arithmetic on arrays: the oracle of the C code."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdlif.deploy.c.fixed.scaled import LARGEST

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Arrays:
    """Integers as arrays of int64, each of which must be one of 32 bits.

    Attributes:
        t: the time step.
        ndim: axes of the values, [B, C, ...].
    """

    t: int
    ndim: int

    def constant(self, value: int) -> Integers:
        return _of_32_bits(np.array(value, np.int64))

    def rows(self, key: str, table: Integers) -> Integers:
        row = table[min(self.t, len(table) - 1)]
        return _of_32_bits(row.reshape(-1, *(1,) * (self.ndim - 2)))

    def plus(self, a: Any, b: Any) -> Integers:
        return _of_32_bits(a + b)

    def minus(self, a: Any, b: Any) -> Integers:
        return _of_32_bits(a - b)

    def times(self, a: Any, b: Any) -> Integers:
        return _of_32_bits(a * b)

    def shifted_down(self, a: Any, bits: int) -> Integers:
        return np.asarray(a >> bits)

    def at_most(self, a: Any, b: Any) -> Integers:
        return np.asarray(np.minimum(a, b))

    def at_least(self, a: Any, b: Any) -> Integers:
        return np.asarray(np.maximum(a, b))

    def greater(self, a: Any, b: Any) -> Integers:
        return np.asarray(a > b, np.int64)

    def greater_equal(self, a: Any, b: Any) -> Integers:
        return np.asarray(a >= b, np.int64)

    def select(self, chosen: Any, a: Any, b: Any) -> Integers:
        return np.asarray(np.where(chosen != 0, a, b))

    def saturated(self, a: Any) -> Integers:
        return np.asarray(np.clip(_of_32_bits(a), -LARGEST - 1, LARGEST))

    def kept(self, a: Any) -> Integers:
        return np.asarray(a)


def _of_32_bits(a: Any) -> Integers:
    found = np.asarray(a, np.int64)
    assert found.size == 0 or (found.min() >= -(2**31) and found.max() < 2**31), "more than 32 bits"
    return found
