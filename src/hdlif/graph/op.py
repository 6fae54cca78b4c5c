"""Definition of an op: its fields, output shape, computation and cost.

Energy (all operations) is based on the numbers of additions and multiplications. Counting rules:

- A sum of k terms counts as k additions, as in a multiply-accumulate that starts from 0. A maximum of k terms counts as
  k comparisons, starting from -inf. A comparison counts as an addition, and a division as a multiplication.
- Comparisons with 0 (a sign bit), choices between two numbers, powers of two (as exponents), and copies are free.
Truncations, such as the floor and the limit 2^bits - 1 of a spike's code, are free.
- A product of an input and a weight counts only if neither factor is 0. A factor that can only be 0, 1 or -1, such as a
binary spike or a binary, ternary or 2-bit weight, is free. A scale of 1 and a shift of 0 are free.

A quantiser of spikes, min(floor(max(x, 0)·(1/step) + offset), 2^bits - 1), therefore costs one multiplication and one
addition per entry, or 3.7 + 0.9 pJ. With a power-of-two step, such as the default of ¼, fixed-point hardware could
shift instead of multiplying. The multiplication still counts in full, because the runtime multiplies and a step with a
folded gain is not a power of two. A step of 1 needs no multiplication.
"""

import importlib
import math
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass, field
from typing import Any, Protocol

from hdlif.graph.graph import Array, Graph, Node, Value


@dataclass(frozen=True)
class Work:
    """Counts of operations on floats, and on integers with 8-bit factors and 32-bit sums."""

    multiplications: float = 0.0
    additions: float = 0.0
    integer_multiplications: float = 0.0
    integer_additions: float = 0.0

    @property
    def count(self) -> float:
        return self.multiplications + self.additions + self.integer_multiplications + self.integer_additions

    def __add__(self, other: "Work") -> "Work":
        return Work(*(own + more for own, more in zip(astuple(self), astuple(other), strict=True)))

    def __mul__(self, times: float) -> "Work":
        return Work(*(own * times for own in astuple(self)))


NOTHING = Work()
ADD = Work(additions=1)
MULTIPLY = Work(multiplications=1)
MAC = MULTIPLY + ADD
INTEGER_ADD = Work(integer_additions=1)
INTEGER_MAC = INTEGER_ADD + Work(integer_multiplications=1)


class Seen(Protocol):
    """An interface for counts from a run of a graph, which `accounting.Activity` implements."""

    graph: Graph
    types: dict[str, Value]
    pairs: dict[str, float]

    def per_image(self, node: Node, count: float, *, once: bool) -> float:
        """Return the count for one image over T steps, in which constant nodes count T times unless `once` is set."""

    def entries_per_image(self, node: Node) -> float:
        """Return the number of entries of a node's output that are computed per image over T steps."""


def moved(node: Node, seen: Seen) -> Work:
    """Return zero operations, because copying numbers is free."""
    return NOTHING


def acting_share(node: Node, role: str, neutral: float, seen: Seen) -> float:
    """Return the fraction of a tensor's entries that cost an operation, averaged over all steps."""
    rows, steps = node.tensors[role], seen.graph.time_steps
    acts = (rows != neutral).mean(axis=1)
    return float(sum(acts[min(t, len(rows) - 1)] for t in range(steps)) / steps)


def pooled(node: Node, seen: Seen, *geometry: tuple[int, ...]) -> Work:
    """Return the number of additions in pooling windows, excluding entries in the padding."""
    value = seen.types[node.inputs[0]]
    places = seen.types[node.name].shape[1:] or (1, 1)
    axes = zip(value.shape[1:], places, *geometry, strict=True)
    terms = math.prod(taps_on_map(*axis) for axis in axes) / math.prod(places)
    return (ADD if value.max_code is None else INTEGER_ADD) * (terms * seen.entries_per_image(node))


def taps_on_map(size: int, places: int, kernel: int, stride: int, padding: int, dilation: int = 1) -> int:
    """Count the pairs of output position and kernel tap that fall on the map, along one axis of `size` entries."""
    taps = range(0, kernel * dilation, dilation)
    return sum(0 <= place * stride + tap - padding < size for place in range(places) for tap in taps)


@dataclass(frozen=True)
class Passed:
    """The values of a node in a forward step, as needed by the backward pass.

    Attributes:
        t: the step.
        inputs: the inputs, [B, ...].
        states: the states before the step, by name, [B, ...].
    """

    t: int
    inputs: Sequence[Array]
    states: Mapping[str, Array]


Infer = Callable[[Node, tuple[Value, ...], int], Value]
"""Function (node, types of its inputs, time steps) -> type of its output. It raises `ArtefactError` with node and
field."""
Evaluate = Callable[[Node, int, Sequence[Array], dict[str, Array]], Array]
"""Function (node, time step, inputs [B, ...], states by name [B, ...], updated in place) -> output [B, ...]."""
Backward = Callable[[Node, Passed, Array], tuple[Sequence[Array | None], Mapping[str, Array]]]
"""Function (node, its forward step, gradient of its output [B, ...]) -> gradients of its inputs and tensors. Gradients
of inputs are [B, ...] or None. Gradients of tensors, by role and per sample, are [B, *tensor] for weights and
[B, 1 or C] for the row of the step."""
Price = Callable[[Node, Seen], Work]
"""Function that counts a node's operations per image over all time steps; constant values are computed once."""


@dataclass(frozen=True)
class Op:
    """Definition of one op.

    Attributes:
        arity: number of inputs.
        attributes, tensors: the names of attributes and tensors; None for tensors that `infer` checks itself.
        optional: names of attributes that a node may omit.
        evaluate: the reference computation, in float32 and in the defined order.
        backward: the reference gradients within one step, in float32 and in the defined order; states before the step
            are constants. None for an op without gradients.
        check: checks the node's position in the graph, given the type of every value.
        noun: name of the op with its article, for messages; default "an op NAME".
        is_elementwise: whether each output entry depends on one entry of each input and state.
        is_view: whether the output has the entries of the input in the same order.
        keep: updates the states once all nodes of a step are computed: (node, values of the step, states). A graph with
            such a node runs one time step after another.
        sources: the values that `keep` reads, one per state, in addition to the node's inputs, which then define only
            the shape; its attribute "source".
        states: values that a node carries from step to step, by name; each has the output's shape and starts at 0.
        is_neuron: whether a node emits the spikes of neurons.
        is_synapse: whether a node multiplies by weights.
        emits_spikes: whether the output counts as spikes for any input.
        passes_spikes: whether the output counts as spikes if all operands do (`made_from`).
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
    backward: Backward | None = None
    keep: Callable[[Node, Mapping[str, Array], dict[str, Array]], None] | None = None
    sources: Callable[[Node], tuple[str, ...]] = field(default=lambda node: ())
    states: Callable[[Node], tuple[str, ...]] = field(default=lambda node: ())
    is_neuron: Callable[[Node], bool] = field(default=lambda node: False)
    is_synapse: bool = False
    emits_spikes: Callable[[Node], bool] = field(default=lambda node: False)
    passes_spikes: Callable[[Node], bool] = field(default=lambda node: False)

    def made_from(self, node: Node) -> tuple[str, ...]:
        """Return a node's operands, which are the sources if there are any and otherwise the inputs."""
        return self.sources(node) or node.inputs


def collect(package: str, name: str) -> list[Any]:
    """Return the attribute `name` of all modules in a package that define this attribute, in file order."""
    files = pkgutil.iter_modules(importlib.import_module(package).__path__, f"{package}.")
    modules = [importlib.import_module(file.name) for file in files]
    return [getattr(module, name) for module in modules if hasattr(module, name)]


def always(node: Node) -> bool:
    return True
