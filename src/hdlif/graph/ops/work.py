"""Prices: what an op of a deployed network does, as additions and multiplications; the honest count.

What is an operation, and what is none:

- a sum of k terms is k additions and a maximum of k terms k comparisons, from 0 or -inf on, as a multiply-accumulate's
  is; a comparison is an addition, and a division a multiplication;
- a comparison with 0 is none (a sign bit), nor are the floor and the limit 2^bits - 1 of a spike's code (bits that are
  cut off), a power of two as an exponent, a choice between two numbers, or moving numbers about;
- a pair of an input and a weight counts where neither is 0; a factor of 1 or -1 by its type (a spike of 0 or 1, a
  binary, ternary or 2-bit weight), a scale of 1 and a shift of 0 do nothing.

So a quantiser of spikes, min(floor(max(x, 0)·(1/step) + offset), 2^bits - 1), costs a multiplication and an addition an
entry: 3.7 + 0.9 pJ. With a step that is a power of two, as the default of ¼ is, fixed-point hardware would shift in
place of the multiplication. It is counted in full all the same: the runtime multiplies, and a step that a gain of
folded norms has joined is no power of two. A step of 1 multiplies nothing.
"""

import math
from dataclasses import dataclass
from typing import Protocol

from hdlif.graph.ops.graph import Graph, Node, Value


@dataclass(frozen=True)
class Work:
    """Operations by kind: of floats, and of integers (8-bit factors, sums in 32 bits)."""

    multiplications: float = 0.0
    additions: float = 0.0
    integer_multiplications: float = 0.0
    integer_additions: float = 0.0

    @property
    def count(self) -> float:
        return self.multiplications + self.additions + self.integer_multiplications + self.integer_additions

    def __add__(self, other: "Work") -> "Work":
        return Work(
            self.multiplications + other.multiplications,
            self.additions + other.additions,
            self.integer_multiplications + other.integer_multiplications,
            self.integer_additions + other.integer_additions,
        )

    def __mul__(self, times: float) -> "Work":
        return Work(
            self.multiplications * times,
            self.additions * times,
            self.integer_multiplications * times,
            self.integer_additions * times,
        )


NOTHING = Work()
ADD = Work(additions=1)
MULTIPLY = Work(multiplications=1)
MAC = MULTIPLY + ADD
INTEGER_ADD = Work(integer_additions=1)
INTEGER_MAC = INTEGER_ADD + Work(integer_multiplications=1)


class Seen(Protocol):
    """What a run of a graph has counted; `accounting.Activity` is one."""

    graph: Graph
    types: dict[str, Value]
    pairs: dict[str, float]

    def per_image(self, node: Node, count: float, *, once: bool) -> float:
        """A count per image over T steps; what was constant in time ran once, and counts `once` or T times."""

    def entries_per_image(self, node: Node) -> float:
        """The entries of a node's output that were computed, per image and over T steps."""


def moved(node: Node, seen: Seen) -> Work:
    """Nothing: the same numbers stand elsewhere."""
    return NOTHING


def acting_share(node: Node, role: str, neutral: float, seen: Seen) -> float:
    """The share of a tensor's entries that do something, over the rows of all steps."""
    rows, steps = node.tensors[role], seen.graph.time_steps
    acts = (rows != neutral).mean(axis=1)
    return float(sum(acts[min(t, len(rows) - 1)] for t in range(steps)) / steps)


def pooled(node: Node, seen: Seen, *geometry: tuple[int, ...]) -> Work:
    """One for every entry of every window that is not on the padding."""
    value = seen.types[node.inputs[0]]
    places = seen.types[node.name].shape[1:] or (1, 1)
    axes = zip(value.shape[1:], places, *geometry, strict=True)
    terms = math.prod(taps_on_map(*axis) for axis in axes) / math.prod(places)
    return (ADD if value.max_code is None else INTEGER_ADD) * (terms * seen.entries_per_image(node))


def taps_on_map(size: int, places: int, kernel: int, stride: int, padding: int, dilation: int = 1) -> int:
    """Along one axis of `size` entries, pairs of an output place and a tap of its kernel that is not on the padding."""
    taps = range(0, kernel * dilation, dilation)
    return sum(0 <= place * stride + tap - padding < size for place in range(places) for tap in taps)
