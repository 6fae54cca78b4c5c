"""Conversion of a deployed network to fixed point: value ranges, number formats and the reference implementation."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdlif.deploy.c.fixed.values import (
    FACTOR_BITS,
    LARGEST,
    Arrays,
    IntegerArray,
    Rows,
    Scaled,
    fraction_for,
    fraction_of_factors,
    held,
    integers_of,
    rescaled,
    rows_of,
)
from hdlif.deploy.c.ops import EMITTERS
from hdlif.deploy.c.stages import evaluated
from hdlif.errors import InputError
from hdlif.graph.dataflow import feedback
from hdlif.graph.equations.program import evaluate_registers
from hdlif.graph.graph import INPUT, INPUT_KINDS, Graph, Node, Value, row_of_step
from hdlif.graph.inference import infer_values
from hdlif.graph.learning import Place
from hdlif.graph.ops import OPS
from hdlif.graph.ops.program import program_of, row_names
from hdlif.runtime import reference
from hdlif.runtime.state import potential_shapes


@dataclass(frozen=True)
class Ranges:
    """The largest magnitudes of a network's values, registers and states."""

    values: Mapping[str, float]
    registers: Mapping[tuple[str, int], float]
    states: Mapping[tuple[str, str], float]


def ranges(graph: Graph, x: NDArray[np.float32], steps: int) -> Ranges:
    """Measure the largest magnitudes on frames [T, N, C, H, W]; frames [1, N, C, H, W] are repeated at every step."""
    types = infer_values(graph)
    state = {name: np.zeros((x.shape[1], *shape), np.float32) for name, shape in potential_shapes(graph, types).items()}
    values: dict[str, float] = defaultdict(float)
    registers: dict[tuple[str, int], float] = defaultdict(float)
    states: dict[tuple[str, str], float] = defaultdict(float)
    for t in range(steps):
        before = {name: array.copy() for name, array in state.items()}
        found = reference.evaluate(graph, x[t if len(x) > 1 else 0], state, t)
        for name, array in found.items():
            values[name] = max(values[name], _largest(array))
        for node in graph.nodes:
            if node.op != "program":
                continue
            program, current = program_of(node), found[node.inputs[0]].astype(np.float32)
            held = [before[f"{node.name}.{name}"] for name in program.states]
            rows = [row_of_step(node, key, t, current.ndim) for key in row_names(program)]
            for register, array in enumerate(evaluate_registers(program, current, held, rows)):
                registers[node.name, register] = max(registers[node.name, register], _largest(array))
            for name in program.states:
                size = _largest(state[f"{node.name}.{name}"])
                states[node.name, name] = max(states[node.name, name], size)
    assert INPUT in values
    return Ranges(values, registers, states)


def _largest(array: Any) -> float:
    """Return an array's largest magnitude, or infinity if any entry is NaN."""
    largest = float(np.abs(array).max(initial=0))
    return math.inf if math.isnan(largest) else largest


LARGEST_TOTAL = 2**30
"""Largest magnitude of a layer's sums; it leaves room for rounding in 32 bits."""


@dataclass
class FixedPoint:
    """A graph in 16-bit fixed point, as returned by `fixed_point`.

    Attributes:
        nodes: nodes that the output depends on, including those that only define shapes.
        fractions: fraction bits of every value by name; 0 for codes.
        graph: the original graph.
        seen: largest magnitudes of the graph's values on the samples.
        input_fraction: fraction bits of the input.
        values: the types of all values by name.
        trained: integers that replace a layer's weights or an affine's shifts.
    """

    graph: Graph
    nodes: tuple[Node, ...]
    seen: Ranges
    input_fraction: int
    values: dict[str, Value]
    fractions: dict[str, int] = field(default_factory=dict)
    trained: Mapping[Place, IntegerArray] = field(default_factory=dict)
    _weights: dict[str, tuple[IntegerArray, int]] = field(default_factory=dict)

    def most(self, name: str) -> int:
        """Return the maximum number of fraction bits for a value."""
        return fraction_for(self.seen.values[name])

    def state_fraction(self, node: Node, name: str) -> int:
        if feedback(node):
            return self.fractions[node.name]
        return fraction_for(self.seen.states[node.name, name])

    def weights(self, node: Node) -> tuple[IntegerArray, int]:
        """Return a layer's integer weights and their number of fraction bits.

        Raises:
            InputError: the layer's sums may exceed 32 bits.
        """
        if node.name not in self._weights:
            self._weights[node.name] = self._weights_of(node)
        whole, fraction = self._weights[node.name]
        return self.trained.get(Place(node.name, "weight"), whole), fraction

    def rows(self, node: Node, fraction: int) -> Rows:
        """Return the scales and shifts of an `affine` op as integers, for an input with `fraction` fraction bits."""
        found = rows_of(node.tensors["scale"], node.tensors["shift"], fraction)
        return replace(found, shift=self.trained.get(Place(node.name, "shift"), found.shift))

    def _weights_of(self, node: Node) -> tuple[IntegerArray, int]:
        weight, value = node.tensors["weight"], self.values[node.inputs[0]]
        largest = LARGEST + 1 if value.max_code is None else value.max_code
        axes = tuple(range(1, weight.ndim))
        if node.attributes["encoding"] != "float32":
            whole, fraction = weight.astype(np.int64), 0
        else:
            # weights of 0 have fraction bits for training
            fraction = fraction_of_factors(weight, 15) if weight.any() else FACTOR_BITS
            sums = float(np.abs(weight.astype(np.float64)).sum(axis=axes).max())
            if sums > 0:
                fraction = min(fraction, int(np.floor(np.log2(LARGEST_TOTAL / (largest * sums)))) - 1)
            whole = integers_of(weight, fraction)
        most = int(np.abs(whole).sum(axis=axes).max()) * largest
        if most > LARGEST_TOTAL:
            raise InputError(
                f"{node.name}: its sums may reach {most:,}, but fixed point allows at most {LARGEST_TOTAL:,}; "
                "export it in float"
            )
        return whole, fraction

    def check_sum(self, node: Node, terms: int) -> None:
        """Raise `InputError` if a sum of `terms` input entries may exceed 32 bits."""
        most = self.values[node.inputs[0]].max_code
        if terms * (LARGEST + 1 if most is None else most) > LARGEST_TOTAL:
            raise InputError(
                f"{node.name}: sums of {terms:,} entries may overflow 32 bits in fixed point; export it in float"
            )

    def of_total(self, k: Any, node: Node, total: Scaled) -> Scaled:
        """Convert a sum to the number format of the node's value."""
        if self.values[node.name].max_code is not None:
            return total
        return rescaled(k, total, min(self.most(node.name), total.fraction))

    def run(self, frames: IntegerArray, steps: int) -> IntegerArray:
        """Run the network on integer frames [T or 1, B, C, H, W], and return integer outputs [T, B, ...]."""
        state: dict[str, IntegerArray] = {}
        found = (self.step(frames[t if len(frames) > 1 else 0], state, t) for t in range(steps))
        return np.stack([np.asarray(values[self.graph.output].integer) for values in found])

    def frame(self, x: NDArray[np.float32]) -> IntegerArray:
        held = np.clip(x.astype(np.float64) * 2.0**self.input_fraction, -LARGEST - 1, LARGEST)
        return np.rint(held).astype(np.int64)

    def step(self, frame: IntegerArray, state: dict[str, IntegerArray], t: int) -> dict[str, Scaled]:
        """Run one step on integer frames [B, C, H, W], update `state`, and return the values of all nodes by name."""
        found: dict[str, Scaled] = {INPUT: Scaled(frame, self.input_fraction)}
        for node in self.nodes:
            found[node.name] = self._evaluate(node, found, state, len(frame), t)
            known = self.fractions.setdefault(node.name, found[node.name].fraction)
            assert known == found[node.name].fraction, node.name
        for node in self.nodes:
            for name, source in feedback(node):
                kept = held(Arrays(t, 0), found[source], self.fractions[node.name])
                state[f"{node.name}.{name}"] = np.asarray(kept.integer)
        return found

    def _evaluate(
        self, node: Node, found: dict[str, Scaled], state: dict[str, IntegerArray], batch: int, t: int
    ) -> Scaled:
        emitter, shape = EMITTERS[node.op], (batch, *self.values[node.name].shape)
        inputs = [found[name] for name in node.inputs]
        k = Arrays(t, len(shape))
        if emitter.fixed_move is not None:
            return emitter.fixed_move(self, node, inputs, t)
        if emitter.fixed_total is not None:
            return self.of_total(k, node, emitter.fixed_total(self, node, inputs, t))
        assert emitter.fixed_entry is not None
        names = OPS[node.op].states(node)
        states = {name: state.get(f"{node.name}.{name}", np.zeros(shape, np.int64)) for name in names}
        result = emitter.fixed_entry(k, self, node, inputs, states)
        for name in names:
            state[f"{node.name}.{name}"] = np.broadcast_to(states[name], shape).copy()
        return Scaled(np.broadcast_to(result.integer, shape), result.fraction)


def fixed_point(graph: Graph, samples: NDArray[np.float32], steps: int) -> FixedPoint:
    """Convert `graph` to fixed point, with formats chosen for the value ranges on `samples`.

    >>> import numpy as np
    >>> from hdlif.graph.artefact import Graph, InputRecord, Node
    >>> from hdlif.deploy.c import fixed_point, translate
    >>> weight = np.eye(2, dtype=np.float32)
    >>> layer = Node("linear", "logits", ("flat",), {"encoding": "float32", "role": "classifier"}, {"weight": weight})
    >>> record = InputRecord((2, 1, 1), (0.0, 0.0), (1.0, 1.0), kind="series", resize="none", frames="rows")
    >>> graph = Graph((Node("flatten", "flat", ("input",)), layer), "logits", 3, record, ("still", "moving"))
    >>> samples = np.random.default_rng(0).uniform(-1, 1, (3, 8, 2, 1, 1)).astype(np.float32)
    >>> fixed = fixed_point(graph, samples, steps=3)
    >>> translate(graph, "motion", fixed=fixed).dtype
    'int16'

    Args:
        samples: frames [T, N, C, H, W], or [1, N, C, H, W] shown at every step.
        graph: as in `translate`.
        steps: T.
    Raises:
        InputError: an op has no fixed-point form, or a layer's sums may exceed 32 bits.
    """
    nodes = evaluated(graph)
    for node in nodes:
        if not EMITTERS[node.op].has_fixed_point:
            raise InputError(f"{node.name}: {node.op} is not supported in fixed point; export it in float")
    seen = ranges(graph, samples, steps)
    for name in (INPUT, *(node.name for node in nodes)):
        if not np.isfinite(seen.values[name]):
            raise InputError(f"{name}: is not finite on the samples, which fixed point cannot represent")
    largest = seen.values[INPUT]
    if graph.input.kind == "image":
        ends = [
            abs((end / INPUT_KINDS["image"] - mean) / std)
            for mean, std in zip(graph.input.mean, graph.input.std, strict=True)
            for end in (0, INPUT_KINDS["image"])
        ]
        largest = max(largest, *ends)
    made = FixedPoint(graph, nodes, seen, fraction_for(largest), infer_values(graph))
    few = made.frame(samples[:1, :1])
    sources = {node.name: source for node in nodes for _, source in feedback(node)}
    given = {name: 0 if made.values[name].max_code is not None else made.most(sources[name]) for name in sources}
    while True:
        # a delayed value has the format of its source, which may depend on the delayed value
        made.fractions = {INPUT: made.input_fraction, **given}
        made.run(few, 1)
        after = {name: min(given[name], made.fractions[source]) for name, source in sources.items()}
        if after == given:
            break
        given = after
    return made


def reals(x: Sequence[Any] | IntegerArray, fraction: int) -> NDArray[np.float64]:
    """Convert each fixed-point integer `x` to the real number x / 2^fraction.

    >>> from hdlif.deploy.c import reals
    >>> reals([3, -1], fraction=2).tolist()
    [0.75, -0.25]

    Args:
        x: integers of any shape.
        fraction: number of fraction bits.
    """
    found: NDArray[np.float64] = np.asarray(x, np.float64) * 2.0**-fraction
    return found
