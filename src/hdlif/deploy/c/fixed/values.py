"""Operations on fixed-point numbers, each of which is a 16-bit integer times 2^-fraction.

Both the reference and the C export use these operations. Implementations of `Integers` either compute on arrays or
write C expressions. Intermediate results stay within 32 bits. A product of two numbers is at most 2^30, or at most 2^29
if a third number (at most 2^29) is then added. Rounding adds at most 2^29, so no result exceeds 2^30 + 2^29.

For ops that only move numbers, `moved` applies the float32 implementation to integers.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hdlif.graph.graph import Node
from hdlif.graph.ops import OPS

Integer = Any
"""An integer, as an array of int64 or as the text of an expression."""
IntegerArray = NDArray[np.int64]
LARGEST = 2**15 - 1
MOST_FRACTION = 40
"""Largest number of fraction bits of a value; factors and addends may have more."""
UNSEEN_FRACTION = 8
"""Fraction bits of a value that was always 0."""
FACTOR_BITS = 14
"""Bits of the integer factors in an affine or a quantiser."""
ADDEND_BITS = 29
"""Bits of the integers that are added to a product."""
HEADROOM = 1.5
"""Factor by which a number may exceed the largest observed number without saturation."""


class Integers(Protocol):
    """An interface for 32-bit integer arithmetic. Callers must keep operands small enough to prevent overflow."""

    def constant(self, value: int) -> Integer: ...
    def rows(self, key: str, table: NDArray[np.int64]) -> Integer:
        """Return the entry of `table` [1 or T, 1 or C] for the current step and channel."""

    def plus(self, a: Integer, b: Integer) -> Integer: ...
    def minus(self, a: Integer, b: Integer) -> Integer: ...
    def times(self, a: Integer, b: Integer) -> Integer: ...
    def shifted_down(self, a: Integer, bits: int) -> Integer:
        """Return floor(a / 2^bits)."""

    def rounded(self, a: Integer, bits: int) -> Integer:
        """Return floor(a / 2^bits + 1/2), for bits > 0."""

    def at_most(self, a: Integer, b: Integer) -> Integer: ...
    def at_least(self, a: Integer, b: Integer) -> Integer: ...
    def greater(self, a: Integer, b: Integer) -> Integer:
        """Return 1 if a > b, otherwise 0."""

    def greater_equal(self, a: Integer, b: Integer) -> Integer: ...
    def select(self, chosen: Integer, a: Integer, b: Integer) -> Integer: ...
    def saturated(self, a: Integer) -> Integer:
        """Return `a`, saturated to 16 bits."""

    def kept(self, a: Integer) -> Integer:
        """Store `a` in a variable to avoid computing the value twice."""


@dataclass(frozen=True)
class Scaled:
    """A number equal to `integer` times 2^-`fraction`; for a constant, the exact value is `constant`."""

    integer: Integer
    fraction: int
    constant: float | None = None


def fraction_for(largest: float) -> int:
    """Return the number of fraction bits for numbers up to `largest`, with some headroom."""
    if not largest > 0:
        return UNSEEN_FRACTION
    return min(math.floor(math.log2(LARGEST / (largest * HEADROOM))), MOST_FRACTION)


def fraction_of_factors(values: NDArray[Any], bits: int = FACTOR_BITS) -> int:
    """Return the maximum number of fraction bits for which all scaled values stay below 2^bits in magnitude."""
    largest = float(np.abs(values.astype(np.float64)).max(initial=0))
    return math.floor(math.log2((2**bits - 1) / largest)) if largest > 0 else 0


def integers_of(values: NDArray[Any], fraction: int) -> NDArray[np.int64]:
    """Round values * 2^fraction to the nearest integers."""
    found: NDArray[np.int64] = np.rint(values.astype(np.float64) * 2.0**fraction).astype(np.int64)
    return found


def constant(k: Integers, value: float) -> Scaled:
    fraction = fraction_of_factors(np.array([value]), 15)
    return Scaled(k.constant(round(value * 2.0**fraction)), fraction, value)


def rescaled(k: Integers, x: Scaled, fraction: int) -> Scaled:
    """Round `x` to `fraction` fraction bits, and saturate the result to 16 bits."""
    if x.constant is not None:
        whole = round(x.constant * 2.0**fraction)
        return Scaled(k.constant(min(max(whole, -LARGEST - 1), LARGEST)), fraction, x.constant)
    drop = x.fraction - fraction
    assert drop >= 0, (x.fraction, fraction)
    if drop > 30:
        return Scaled(k.times(x.integer, k.constant(0)), fraction)
    if drop == 0:
        return Scaled(k.saturated(x.integer), fraction)
    return Scaled(k.saturated(k.rounded(x.integer, drop)), fraction)


def lowered(k: Integers, x: Scaled, fraction: int) -> Scaled:
    """Round a 16-bit number to `fraction` fraction bits, which must not exceed the current number of fraction bits."""
    if x.constant is not None:
        return rescaled(k, x, fraction)
    drop = x.fraction - fraction
    if drop == 0:
        return x
    if drop > 30:
        return Scaled(k.times(x.integer, k.constant(0)), fraction)
    return Scaled(k.rounded(x.integer, drop), fraction)


def aligned(k: Integers, a: Scaled, b: Scaled) -> tuple[Integer, Integer, int]:
    """Return `a` and `b` as integers below 2^29 in a common format, and the number of fraction bits of this format."""
    if a.constant is not None and b.constant is None:
        y, x, fraction = aligned(k, b, a)
        return x, y, fraction
    if b.constant is not None:
        fraction = min(a.fraction, fraction_of_factors(np.array([b.constant]), 29)) if b.constant else a.fraction
        return lowered(k, a, fraction).integer, k.constant(round(b.constant * 2.0**fraction)), fraction
    fraction = min(max(a.fraction, b.fraction), min(a.fraction, b.fraction) + 14)
    return shifted(k, a, fraction).integer, shifted(k, b, fraction).integer, fraction


def added(k: Integers, a: Scaled, b: Scaled, most: int, *, minus: bool = False) -> Scaled:
    """Return a + b, or a - b if `minus` is set, with at most `most` fraction bits."""
    x, y, fraction = aligned(k, a, b)
    total = k.minus(x, y) if minus else k.plus(x, y)
    return rescaled(k, Scaled(total, fraction), min(most, fraction))


def multiplied(k: Integers, a: Scaled, b: Scaled, most: int) -> Scaled:
    fraction = a.fraction + b.fraction
    return rescaled(k, Scaled(k.times(a.integer, b.integer), fraction), min(most, fraction))


@dataclass(frozen=True)
class Rows:
    """The integer scales and shifts of an `affine` op.

    Attributes:
        fraction: fraction bits of the shifts, and of products of the input and a scale.
    """

    scale: IntegerArray
    shift: IntegerArray
    fraction: int


def rows_of(scale: NDArray[Any], shift: NDArray[Any], fraction: int) -> Rows:
    """Convert scales and shifts to integers, for an input with `fraction` fraction bits."""
    factors = fraction_of_factors(scale)
    # the addend must also stay below 2^29
    factors = min(factors, fraction_of_factors(shift, ADDEND_BITS) - fraction) if shift.any() else factors
    return Rows(integers_of(scale, factors), integers_of(shift, fraction + factors), fraction + factors)


def affine(k: Integers, x: Scaled, rows: Rows, most: int) -> Scaled:
    """Return x * scale + shift."""
    product = k.times(x.integer, k.rows("scale", rows.scale))
    total = k.plus(product, k.rows("shift", rows.shift))
    return rescaled(k, Scaled(total, rows.fraction), min(most, rows.fraction))


def code(k: Integers, x: Scaled, inverse_step: NDArray[Any], offset: float, largest: int) -> Integer:
    """Return min(floor(max(x, 0) * inverse_step + offset), largest)."""
    factors = min(fraction_of_factors(inverse_step), 29 - x.fraction)
    drop = x.fraction + factors
    # a common factor cancels
    while drop > 1 and not (integers_of(inverse_step, factors) % 2).any() and (offset * 2.0 ** (drop - 1)).is_integer():
        factors, drop = factors - 1, drop - 1
    positive = k.at_least(x.integer, k.constant(0))
    product = k.times(positive, k.rows("inverse_step", integers_of(inverse_step, factors)))
    if drop <= 0:
        # the number has no fraction bits, so one unit spans many codes
        few = k.times(k.at_most(product, k.constant(largest)), k.constant(1 << min(-drop, 8)))
        return k.at_most(k.plus(few, k.constant(math.floor(offset))), k.constant(largest))
    if offset == 0.5:
        return k.at_most(k.rounded(product, drop), k.constant(largest))
    total = k.plus(product, k.constant(round(offset * 2.0**drop)))
    return k.at_most(k.shifted_down(total, drop), k.constant(largest))


def held(k: Integers, x: Scaled | None, fraction: int) -> Scaled:
    """Convert a 16-bit number to `fraction` fraction bits, and saturate the result to 16 bits."""
    assert x is not None
    if x.constant is not None or x.fraction >= fraction:
        return rescaled(k, x, fraction)
    raised = k.times(x.integer, k.constant(1 << min(fraction - x.fraction, 15)))
    return Scaled(k.saturated(raised), fraction)


def shifted(k: Integers, x: Scaled, fraction: int) -> Scaled:
    """Convert `x` to `fraction` fraction bits without saturation; the result must be known to fit in 32 bits."""
    if fraction <= x.fraction:
        return lowered(k, x, fraction)
    return Scaled(k.times(x.integer, k.constant(1 << (fraction - x.fraction))), fraction)


def registers(
    k: Integers, instructions: Sequence[Any], given: Sequence[Scaled | None], most: Sequence[int]
) -> list[Scaled | None]:
    """Return the registers `given`, followed by one result per instruction, which is None for an unused instruction.

    Args:
        most: most fraction bits of each register.
    """
    found = list(given)
    for instruction in instructions:
        if instruction is None:
            found.append(None)
            continue
        value = _operation(k, instruction, [found[i] for i in instruction.operands], most[len(found)])
        found.append(value if value.constant is not None else Scaled(k.kept(value.integer), value.fraction))
    return found


def _operation(k: Integers, instruction: Any, x: Sequence[Any], most: int) -> Scaled:
    match instruction.operation:
        case "constant":
            return constant(k, instruction.value)
        case "add" | "subtract":
            return added(k, x[0], x[1], most, minus=instruction.operation == "subtract")
        case "multiply":
            return multiplied(k, x[0], x[1], most)
        case "negative":
            return Scaled(k.saturated(k.minus(k.constant(0), x[0].integer)), x[0].fraction)
        case "absolute":
            return Scaled(k.saturated(k.at_least(x[0].integer, k.minus(k.constant(0), x[0].integer))), x[0].fraction)
        case "floor":
            if x[0].fraction <= 0:
                return Scaled(x[0].integer, x[0].fraction)
            bits = min(x[0].fraction, 30)
            if bits > 15:
                # the magnitude is below 1, so the result is 0 or -1, which does not fit in 16 bits with that fraction
                return Scaled(k.minus(k.constant(0), k.greater(k.constant(0), x[0].integer)), 0)
            return Scaled(k.shifted_down(x[0].integer, bits), 0)
        case "minimum" | "maximum":
            a, b, fraction = _alike(k, x[0], x[1], most)
            return Scaled((k.at_most if instruction.operation == "minimum" else k.at_least)(a, b), fraction)
        case "greater" | "greater_equal":
            a, b, _ = aligned(k, x[0], x[1])
            return Scaled((k.greater if instruction.operation == "greater" else k.greater_equal)(a, b), 0)
        case "step":
            return Scaled(k.greater_equal(x[0].integer, k.constant(0)), 0)
        case "select":
            a, b, fraction = _alike(k, x[1], x[2], most)
            return Scaled(k.select(x[0].integer, a, b), fraction)
        case other:
            raise AssertionError(other)


def _alike(k: Integers, a: Scaled, b: Scaled, most: int) -> tuple[Integer, Integer, int]:
    """Return two operands as 16-bit integers in a common format, and the number of fraction bits of this format."""
    fractions = [x.fraction for x in (a, b) if x.constant is None]
    if len(fractions) < 2:
        fractions.append(most)
    fraction = min(fractions)
    return lowered(k, a, fraction).integer, lowered(k, b, fraction).integer, fraction


def moved(network: Any, node: Node, x: Sequence[Scaled], t: int) -> Scaled:
    """Apply an op's float32 implementation to 16-bit integers, which float32 represents exactly."""
    found = OPS[node.op].evaluate(node, 0, [x[0].integer], {})
    return Scaled(np.asarray(found).astype(np.int64), x[0].fraction)


@dataclass(frozen=True)
class Arrays:
    """An implementation of `Integers` on int64 arrays whose entries must fit in 32 bits.

    Attributes:
        t: the time step.
        ndim: number of axes of the values [B, C, ...].
    """

    t: int
    ndim: int

    def constant(self, value: int) -> IntegerArray:
        return _of_32_bits(np.array(value, np.int64))

    def rows(self, key: str, table: IntegerArray) -> IntegerArray:
        row = table[min(self.t, len(table) - 1)]
        return _of_32_bits(row.reshape(-1, *(1,) * (self.ndim - 2)))

    def plus(self, a: Any, b: Any) -> IntegerArray:
        return _of_32_bits(a + b)

    def minus(self, a: Any, b: Any) -> IntegerArray:
        return _of_32_bits(a - b)

    def times(self, a: Any, b: Any) -> IntegerArray:
        return _of_32_bits(a * b)

    def shifted_down(self, a: Any, bits: int) -> IntegerArray:
        return np.asarray(a >> bits)

    def rounded(self, a: Any, bits: int) -> IntegerArray:
        return self.shifted_down(self.plus(a, self.constant(1 << (bits - 1))), bits)

    def at_most(self, a: Any, b: Any) -> IntegerArray:
        return np.asarray(np.minimum(a, b))

    def at_least(self, a: Any, b: Any) -> IntegerArray:
        return np.asarray(np.maximum(a, b))

    def greater(self, a: Any, b: Any) -> IntegerArray:
        return np.asarray(a > b, np.int64)

    def greater_equal(self, a: Any, b: Any) -> IntegerArray:
        return np.asarray(a >= b, np.int64)

    def select(self, chosen: Any, a: Any, b: Any) -> IntegerArray:
        return np.asarray(np.where(chosen != 0, a, b))

    def saturated(self, a: Any) -> IntegerArray:
        return np.asarray(np.clip(_of_32_bits(a), -LARGEST - 1, LARGEST))

    def kept(self, a: Any) -> IntegerArray:
        return np.asarray(a)


def _of_32_bits(a: Any) -> IntegerArray:
    found = np.asarray(a, np.int64)
    assert found.size == 0 or (found.min() >= -(2**31) and found.max() < 2**31), "more than 32 bits"
    return found
