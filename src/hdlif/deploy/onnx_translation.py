"""Translation of a graph to an ONNX model, and types for the ONNX implementations of ops.

A value of the ONNX model is stored as one joined tensor, as one tensor per step, or as both. In a joined tensor, time
is folded into the batch: step t of image b is row t·B + b.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdlif.deploy.onnx_writer import Writer
from hdlif.graph.dataflow import reads
from hdlif.graph.graph import INPUT, Graph, Node
from hdlif.graph.inference import infer_values

Array = NDArray[Any]
Row = Callable[[str], str]
"""Function that maps the name of a node's tensor to its row for the current step or steps."""
Emit = Callable[[Writer, Node, Sequence[str], Row], str]
"""Function (writer, node, names of its inputs, rows) -> name of its output; it writes an operation."""
OnnxForm = Callable[["Translation", Node], "Value"]
RowShape = Callable[[Node, str], tuple[int, ...]]


@dataclass
class Value:
    """A value of the ONNX model, stored as one joined tensor, as one tensor per step, or as both.

    If `varies` is set, the value changes over time, and time is folded into the batch axis of the joined tensor.
    """

    name: str
    varies: bool
    whole: str | None = None
    steps: list[str] | None = None

    def joined(self, writer: Writer) -> str:
        if self.whole is None:
            assert self.steps is not None
            self.whole = writer.op("Concat", *self.steps, name=self.name, axis=0)
        return self.whole

    def at(self, writer: Writer, step: int, steps: int) -> str:
        if not self.varies:
            return self.joined(writer)
        if self.steps is None:
            self.steps = list(writer.split("Split", [self.joined(writer)], steps, f"{self.name}@", {"axis": 0}))
        return self.steps[step]


class Unrolled:
    """A provider of rows and states for the steps t, ..., t + steps - 1 of a sequence."""

    def __init__(self, writer: Writer, steps: int, batch: int = 1) -> None:
        self._writer, self.t, self.steps, self.batch = writer, 0, steps, batch
        self._kept: dict[str, str] = {}

    def values_of(self, node: Node, key: str) -> Array | None:
        """Return a tensor's row if all steps use the same known row; otherwise return None."""
        rows = node.tensors[key]
        rows = rows[min(self.t, len(rows) - 1) :][: self.steps]
        return rows[0] if (rows == rows[0]).all() else None

    def row(self, node: Node, key: str, step: int, shape: Sequence[int]) -> str:
        """Return a tensor's row for one step, in the given shape."""
        rows = node.tensors[key]
        return self._writer.constant(rows[min(self.t + step, len(rows) - 1)].reshape(shape))

    def joined_rows(self, node: Node, key: str, shape: Sequence[int]) -> str:
        """Return a tensor's rows for all steps, joined along the batch axis."""
        rows = node.tensors[key]
        if len(rows) == 1:
            return self.row(node, key, 0, shape)
        return self._writer.constant(rows[: self.steps].repeat(self.batch, axis=0).reshape(-1, *shape))

    def state(self, node: Node, name: str) -> str:
        """Return a node's state before the first of the steps."""
        return self._kept.get(f"{node.name}.{name}") or self._writer.constant(0.0)

    def leave(self, node: Node, name: str, value: str) -> None:
        """Store a node's state after the last of the steps."""
        self._kept[f"{node.name}.{name}"] = value


class Streamed(Unrolled):
    """A provider of rows and states for a single step, with the step number as an input of the model."""

    def __init__(self, writer: Writer, values: Mapping[str, Any]) -> None:
        super().__init__(writer, 1)
        self._values = values
        self._t = writer.input("t", (), np.int64)
        self._shapes: dict[str, tuple[int | str, ...]] = {}

    def values_of(self, node: Node, key: str) -> Array | None:
        rows = node.tensors[key]
        return rows[0] if (rows == rows[0]).all() else None

    def row(self, node: Node, key: str, step: int, shape: Sequence[int]) -> str:
        rows = node.tensors[key]
        if len(rows) == 1:
            return self._writer.constant(rows[0].reshape(shape))
        op, constant = self._writer.op, self._writer.constant
        index = op("Min", self._t, constant(len(rows) - 1, np.int64))
        return op("Gather", constant(rows.reshape(-1, *shape)), index, axis=0)

    def state(self, node: Node, name: str) -> str:
        own = f"{node.name}.{name}"
        self._shapes[own] = ("B", *self._values[node.name].shape)
        return self._writer.input(own, self._shapes[own])

    def write_state(self) -> None:
        self._writer.output(self._writer.op("Add", self._t, self._writer.constant(1, np.int64)), "t.next", (), np.int64)
        for name, value in self._kept.items():
            self._writer.output(value, f"{name}.next", self._shapes[name])


WEIGHTS = ("float32", "int8", "int4")
"""Storage formats of low-bit weights: float32, or integers with scales."""


class Translation:
    """A translator that writes all nodes of a graph in one pass.

    Args:
        forms: the ops' ONNX forms by name.
        weights: one of `WEIGHTS`.
    """

    def __init__(
        self,
        graph: Graph,
        writer: Writer,
        clock: Unrolled,
        frame: str,
        forms: Mapping[str, OnnxForm],
        weights: str = "float32",
    ) -> None:
        self._weights = weights
        self._graph, self.writer, self.clock, self._forms = graph, writer, clock, forms
        self.types = infer_values(graph)
        self.values = {INPUT: Value(INPUT, varies=False, whole=frame)}
        self.at_the_end: list[Callable[[], None]] = []
        """Functions to call once all values are known."""
        self._readers: dict[str, list[Node]] = {name: [] for name in self.types}
        for node in graph.nodes:
            for name in reads(node):
                self._readers[name].append(node)

    def run(self) -> Value:
        """Write all nodes, and return the value of the logits."""
        for node in self._graph.nodes:
            if node.name not in self.values:
                self.values[node.name] = self._forms[node.op](self, node)
        for leave in self.at_the_end:
            leave()
        return self.values[self._graph.output]

    def bits_of(self, node: Node) -> int:
        """Return the bits per weight if the layer's weights are stored as integers; otherwise return 0."""
        encoding = node.attributes["encoding"]
        if encoding == "float32" or self._weights == "float32":
            return 0
        return 4 if self._weights == "int4" and encoding != "int8" else 8

    def only_reader(self, node: Node) -> Node | None:
        """Return the only reader of a node, or None if there are several readers or the node is the output."""
        readers = self._readers[node.name]
        return readers[0] if node.name != self._graph.output and len(readers) == 1 else None

    def on_whole(self, node: Node, emit: Callable[[str], str]) -> Value:
        """Apply an operation to the joined input, which contains all steps."""
        x = self.values[node.inputs[0]]
        return Value(node.name, x.varies, whole=emit(x.joined(self.writer)))

    def pointwise(
        self, node: Node, emit: Emit, *, broadcasts: bool = True, joins_rows: bool = True, shape: RowShape | None = None
    ) -> Value:
        """Apply an elementwise or per-image operation, if possible to all steps at once and otherwise step by step.

        Args:
            broadcasts: whether an input with one step may be combined with one that has all steps.
            joins_rows: whether the rows of all steps may be joined along the batch axis.
            shape: the function that returns a row's shape from its node and key; by default one entry per channel.
        """
        writer, clock = self.writer, self.clock
        inputs = [self.values[name] for name in node.inputs]
        fixed = all(clock.values_of(node, key) is not None for key in node.tensors)
        together = fixed or clock.steps == 1
        if together and not any(x.varies for x in inputs):
            names = [x.joined(writer) for x in inputs]
            return Value(node.name, False, whole=emit(writer, node, names, self.row(node, 0, shape)))
        # a constant input with a batch of one broadcasts to all steps
        meets = all(x.whole is not None and (x.varies or (broadcasts and clock.batch == 1)) for x in inputs)
        if meets and (together or joins_rows):
            names = [x.joined(writer) for x in inputs]
            row = self.row(node, 0, shape) if together else self._joined_row(node)
            return Value(node.name, True, whole=emit(writer, node, names, row))
        steps = []
        for k in range(clock.steps):
            names = [x.at(writer, k, clock.steps) for x in inputs]
            steps.append(emit(writer, node, names, self.row(node, k, shape)))
        return Value(node.name, True, steps=steps)

    def row(self, node: Node, step: int, shape: RowShape | None = None) -> Row:
        """Return a function that maps a tensor's name to the tensor's row for one step."""
        return lambda key: self.clock.row(node, key, step, (shape or self._row_shape)(node, key))

    def _joined_row(self, node: Node) -> Row:
        return lambda key: self.clock.joined_rows(node, key, self._row_shape(node, key))

    def _row_shape(self, node: Node, key: str) -> tuple[int, ...]:
        """Return the row shape that broadcasts to a value [B, C, H, W] or [B, C]."""
        return (node.tensors[key].shape[1], *(1,) * (len(self.types[node.name].shape) - 1))
