"""What each op of a deployed network does, as additions and multiplications: the honest count, one price an op.

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
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from hdlif.accounting.activity import Activity
from hdlif.accounting.energy import FLOAT_ADD_PJ, FLOAT_MULTIPLY_PJ, INT8_MULTIPLY_PJ, INT32_ADD_PJ
from hdlif.accounting.macs import taps_on_map
from hdlif.artefact import Node
from hdlif.artefact.format import program_of
from hdlif.equations import counts

ADDING_ENCODINGS = ("ternary", "binary", "int2")
"""Weights of -1, 0 and 1 alone, which multiply nothing."""


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

    @property
    def energy_pj(self) -> float:
        of_floats = self.multiplications * FLOAT_MULTIPLY_PJ + self.additions * FLOAT_ADD_PJ
        return of_floats + self.integer_multiplications * INT8_MULTIPLY_PJ + self.integer_additions * INT32_ADD_PJ

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

SIGMOID = MAC * 10 + ADD
"""A cap; one to find the power of two, two to reduce, six for the polynomial, one for sum and quotient."""

Price = Callable[[Node, Activity], Work]
"""The operations of a node per image, over all its time steps; what is constant in time is done once."""


def _synapse(node: Node, seen: Activity) -> Work:
    return _pair(node, seen) * seen.per_image(node, seen.pairs[node.name], once=True)


def _pair(node: Node, seen: Activity) -> Work:
    """One non-zero input meeting one non-zero weight."""
    max_code, encoding = seen.types[node.inputs[0]].max_code, node.attributes["encoding"]
    adds = max_code == 1 or encoding in ADDING_ENCODINGS
    if encoding == "float32" or max_code is None:
        return ADD if adds else MAC
    return INTEGER_ADD if adds else INTEGER_MAC


def neuron_step(node: Node) -> Work:
    """The operations of one neuron of a node at one step, read off its program."""
    found = counts(program_of(node))
    return MULTIPLY * found.multiplications + ADD * (found.additions + found.comparisons)


def _neuron(node: Node, seen: Activity) -> Work:
    return neuron_step(node) * seen.entries_per_image(node)


def _affine(node: Node, seen: Activity) -> Work:
    acting = MULTIPLY * _share(node, "scale", 1, seen) + ADD * _share(node, "shift", 0, seen)
    return acting * seen.entries_per_image(node)


def _quantise(node: Node, seen: Activity) -> Work:
    acting = MULTIPLY * _share(node, "inverse_step", 1, seen) + (ADD if node.attributes["offset"] else NOTHING)
    return acting * seen.entries_per_image(node)


def _share(node: Node, role: str, neutral: float, seen: Activity) -> float:
    """The share of a tensor's entries that do something, over the rows of all steps."""
    rows, steps = node.tensors[role], seen.graph.time_steps
    acts = (rows != neutral).mean(axis=1)
    return float(sum(acts[min(t, len(rows) - 1)] for t in range(steps)) / steps)


def _seca(node: Node, seen: Activity) -> Work:
    channels, height, width = seen.types[node.name].shape
    kernel = int(node.tensors["weight"].shape[1])
    neighbours = taps_on_map(channels, channels, kernel, 1, kernel // 2)
    # each entry joins its channel's mean and meets its gate
    step = MAC * (channels * height * width) + MULTIPLY * channels + MAC * neighbours + SIGMOID * channels
    return step * (seen.entries_per_image(node) / (channels * height * width))


def _add(node: Node, seen: Activity) -> Work:
    return ADD * seen.entries_per_image(node)


def _sum_pool(node: Node, seen: Activity) -> Work:
    return _pooled(node, seen, node.attributes["kernel"], node.attributes["stride"], (0, 0))


def _max_pool(node: Node, seen: Activity) -> Work:
    return _pooled(node, seen, node.attributes["kernel"], node.attributes["stride"], node.attributes["padding"])


def _global_sum_pool(node: Node, seen: Activity) -> Work:
    return _pooled(node, seen, seen.types[node.inputs[0]].shape[1:], (1, 1), (0, 0))


def _pooled(node: Node, seen: Activity, *geometry: tuple[int, ...]) -> Work:
    """One for every entry of every window that is not on the padding."""
    value = seen.types[node.inputs[0]]
    places = seen.types[node.name].shape[1:] or (1, 1)
    axes = zip(value.shape[1:], places, *geometry, strict=True)
    terms = math.prod(taps_on_map(*axis) for axis in axes) / math.prod(places)
    return (ADD if value.max_code is None else INTEGER_ADD) * (terms * seen.entries_per_image(node))


def _moved(node: Node, seen: Activity) -> Work:
    """Nothing: the same numbers stand elsewhere."""
    return NOTHING


PRICES: Mapping[str, Price] = {
    "conv2d": _synapse,
    "linear": _synapse,
    "affine": _affine,
    "program": _neuron,
    "quantise": _quantise,
    "seca": _seca,
    "add": _add,
    "sum_pool": _sum_pool,
    "max_pool": _max_pool,
    "global_sum_pool": _global_sum_pool,
    "flatten": _moved,
    "slice": _moved,
    "concat": _moved,
}
"""By op; every op has one."""
