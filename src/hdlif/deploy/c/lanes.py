"""Fixed-point expressions for several channels at once, with the functions of kernels/lanes.c."""

import re

import numpy as np
from numpy.typing import NDArray

from hdlif.deploy.c.c_file import smallest
from hdlif.deploy.c.stage_text import Expressions

LANES = 4
"""Channels at once; without vectors it is 1."""
MOST_NARROWED = 16
"""Shifts of the vector instruction that saturates to 16 bits."""


class LaneExpressions(Expressions):
    """Expressions common to all channels are plain, others are vectors.

    The stage's `common` has the plain ones except constants, and `halves` the rounded ones with their number of bits.
    """

    def rows(self, key: str, table: NDArray[np.int64]) -> str:
        text = self.s.row(self.node, key, table)
        if text.endswith("[c]"):
            text = self.s.loaded("numbers" if smallest(table).dtype == np.int16 else "totals", text)
        else:
            self.s.common.add(text)
        return self.bounded(text, int(table.min()), int(table.max()))

    def plus(self, a: str, b: str) -> str:
        if self._is_common(a):
            a, b = b, a
        return self._with("plus", a, b, super().plus(a, b))

    def minus(self, a: str, b: str) -> str:
        return self._with("minus", a, b, super().minus(a if self._is_common(b) else self._lane(a), b))

    def times(self, a: str, b: str) -> str:
        if self._is_common(a):
            a, b = b, a
        return self._with("times", a, b, super().times(a, b))

    def _with(self, name: str, a: str, b: str, plain: str) -> str:
        """Return the plain expression, or a function of a vector and a number."""
        if self._is_common(a):
            self.s.common.add(plain)
        elif self._is_common(b) and plain != a:
            return self.bounded(f"lanes_{name}({a}, {b})", *self.bounds(plain))
        return plain

    def shifted_down(self, a: str, bits: int) -> str:
        return self._like(a, super().shifted_down(a, bits))

    def rounded(self, a: str, bits: int) -> str:
        plain = super().rounded(a, bits)
        if self._is_common(a):
            return self._like(a, plain)
        text = self.bounded(f"lanes_rounded({a}, {bits})", *self.bounds(plain))
        self.s.halves[text] = (a, bits)
        return text

    def saturated(self, a: str) -> str:
        plain = super().saturated(a)
        whole, bits = self.s.halves.get(a, ("", MOST_NARROWED + 1))
        if plain == a or bits > MOST_NARROWED:
            return plain
        return self.bounded(f"lanes_held({whole}, {bits})", *self.bounds(plain))

    def greater(self, a: str, b: str) -> str:
        return self._call("greater", 0, 1, a, b)

    def greater_equal(self, a: str, b: str) -> str:
        return self._call("greater_equal", 0, 1, a, b)

    def select(self, chosen: str, a: str, b: str) -> str:
        ends = (*self.bounds(a), *self.bounds(b))
        return self._call("select", min(ends), max(ends), chosen, a, b)

    def kept(self, a: str) -> str:
        if not self._is_common(a):
            return super().kept(a)
        local = self.local(a, "int32_t")
        self.s.common.add(local)
        return local

    def _call(self, name: str, least: int, most: int, *operands: str) -> str:
        numbers = operands[1:] if name == "at_most_bits" else ()
        vectors = map(self._lane, operands[: len(operands) - len(numbers)])
        return self.bounded(f"lanes_{name}({', '.join((*vectors, *numbers))})", least, most)

    def _is_common(self, a: str) -> bool:
        return a in self.s.common or not re.search("[a-z]", a)

    def _like(self, a: str, text: str) -> str:
        if self._is_common(a):
            self.s.common.add(text)
        return text

    def _lane(self, a: str) -> str:
        return self.bounded(f"lane({a})", *self.bounds(a)) if self._is_common(a) else a
