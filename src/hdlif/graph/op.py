"""What is known of an op, in one value: its fields, the shape it gives, what it computes, and what that costs.

The cost is in additions and multiplications, the honest count. What counts as an operation:

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

import importlib
import math
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from hdlif.graph.graph import Array, Graph, Node, Value


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


Infer = Callable[[Node, tuple[Value, ...], int], Value]
"""(node, types of its inputs, time steps) -> type of its output; raises `ArtefactError`, naming node and field."""
Evaluate = Callable[[Node, int, Sequence[Array], dict[str, Array]], Array]
"""(node, time step, inputs [B, ...], states by name [B, ...], which it updates in place) -> output [B, ...]."""
Price = Callable[[Node, Seen], Work]
"""The operations of a node per image, over all its time steps; what is constant in time is done once."""


@dataclass(frozen=True)
class Op:
    """The statement of one op.

    Attributes:
        arity: how many inputs it takes.
        attributes, tensors: their names; None for tensors that `infer` checks itself.
        optional: names of attributes that a node may leave out.
        evaluate: the oracle: float32, in the stated order.
        check: of its place in the whole graph, given the type of every value.
        noun: the op in words with its article, for messages, if that is not "an op NAME".
        is_elementwise: whether each entry of its value follows from one entry of each input and of its states.
        is_view: whether it moves nothing: its value has the entries of its input, in their order.
        keep: takes into its states what is known only when all nodes of a step are: (node, values of the step, states).
            A graph with such a node runs one time step after the other.
        sources: the values that `keep` takes, one for each state, which a node reads beside its inputs, of which the
            shape alone counts; its attribute "source".
        states: what a node carries from step to step, by name; each is shaped like its output, and 0 at first.
        is_neuron: whether a node emits the spikes of neurons.
        is_synapse: whether it multiplies by weights.
        emits_spikes: whether what a node gives counts as spikes, whatever it is given.
        passes_spikes: whether what it gives counts as spikes where all that it is made from does: its sources, or its
            inputs if it has none.
    """

    name: str
    arity: int
    infer: Infer
    evaluate: Evaluate
    price: Price
    attributes: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    tensors: tuple[str, ...] | None = ()
    noun: str = ""
    is_elementwise: bool = False
    is_view: bool = False
    check: Callable[[Node, Mapping[str, Value]], None] = field(default=lambda node, values: None)
    keep: Callable[[Node, Mapping[str, Array], dict[str, Array]], None] | None = None
    sources: Callable[[Node], tuple[str, ...]] = field(default=lambda node: ())
    states: Callable[[Node], tuple[str, ...]] = field(default=lambda node: ())
    is_neuron: Callable[[Node], bool] = field(default=lambda node: False)
    is_synapse: bool = False
    emits_spikes: Callable[[Node], bool] = field(default=lambda node: False)
    passes_spikes: Callable[[Node], bool] = field(default=lambda node: False)

    def made_from(self, node: Node) -> tuple[str, ...]:
        """The values that what a node gives is made from: of those of a step before its inputs say the shape alone."""
        return self.sources(node) or node.inputs


def collect(package: str, name: str) -> list[Any]:
    """Return what the files of a package state under a name, in the order of the files."""
    files = pkgutil.iter_modules(importlib.import_module(package).__path__, f"{package}.")
    modules = [importlib.import_module(file.name) for file in files]
    return [getattr(module, name) for module in modules if hasattr(module, name)]


def always(node: Node) -> bool:
    return True
