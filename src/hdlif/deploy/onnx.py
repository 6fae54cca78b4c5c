"""A deployed graph as an ONNX model, for the engines that read one.

Two forms. `unrolled` is the whole sequence over a static image: what is constant in time is computed once,
layers without state run once with time folded into the batch (step t of image b is row t·B + b), and neurons are
written out step by step. `streamed` is one time step, with the state as inputs and outputs.

Integer codes are float32 here, so they are rounded by Floor and Clip, and sums of them are exact below 2^24; float
sums are added in the engine's own order, so a code near a rounding boundary may differ from the runtime's.
"""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hdlif.artefact import INPUT, Graph, Node, infer_values
from hdlif.deploy.onnx_writer import Writer
from hdlif.equations import Program
from hdlif.ops import OPS
from hdlif.ops.program import program_of, row_names

Array = NDArray[Any]
Row = Callable[[str], str]
"""From the name of a node's tensor to its row for the step, or the steps, at hand."""


def unrolled(graph: Graph, *, batch: int = 1) -> Any:
    """`onnx.ModelProto` of all T steps: "input" [B, C, H, W], the same at every step, to "logits" [T, B, classes].

    Raises:
        MissingExtraError: the package onnx is not installed.
    """
    writer = Writer()
    clock = _Sequence(writer, graph.time_steps, batch)
    logits = _Translation(graph, writer, clock, writer.input(INPUT, (batch, *graph.input.shape))).run()
    classes = len(graph.labels)
    shape = writer.constant((clock.steps, batch, classes), np.int64)
    # a constant value has one step
    leading = writer.constant((-1, batch, classes), np.int64)
    result = writer.op("Expand", writer.op("Reshape", logits.joined(writer), leading), shape)
    writer.output(result, "logits", (clock.steps, batch, classes))
    return writer.model("unrolled", _metadata(graph))


def streamed(graph: Graph) -> Any:
    """`onnx.ModelProto` of one step, for any batch B.

    "input" [B, C, H, W], "t" (int64, no axes) and each neuron's "NAME.potential" [B, ...] to "logits" [B, classes],
    "t.next" and "NAME.potential.next". A sequence starts from t = 0 and potentials of zero.

    Raises:
        MissingExtraError: the package onnx is not installed.
    """
    writer = Writer()
    frame = writer.input(INPUT, ("B", *graph.input.shape))
    clock = _Stream(writer, infer_values(graph))
    logits = _Translation(graph, writer, clock, frame).run()
    writer.output(logits.joined(writer), "logits", ("B", len(graph.labels)))
    clock.write_state()
    return writer.model("streamed", _metadata(graph))


def _metadata(graph: Graph) -> dict[str, str]:
    record = {"mean": graph.input.mean, "std": graph.input.std, "labels": graph.labels, "time_steps": graph.time_steps}
    return {key: json.dumps(value) for key, value in record.items()}


@dataclass
class _Value:
    """A value of the model: joined, step by step, or both. `varies`: it has a time axis, folded into the batch."""

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


class _Clock(Protocol):
    """The steps that a model computes, and what depends on which they are."""

    steps: int

    def values_of(self, node: Node, key: str) -> Array | None:
        """The tensor's one row, where it is known and the same at every step."""

    def row(self, node: Node, key: str, step: int, shape: Sequence[int]) -> str:
        """The row of a step, in the given shape."""

    def joined_rows(self, node: Node, key: str, shape: Sequence[int]) -> str:
        """The rows of all steps along the batch axis."""

    def begins(self, step: int) -> bool:
        """Whether no step comes before this one."""

    def potential(self, node: Node, state: str) -> str:
        """The state that the first step begins with."""

    def leave(self, node: Node, value: str, state: str) -> None:
        """Take what the last step ends with."""


class _Sequence:
    """All steps from the start."""

    def __init__(self, writer: Writer, steps: int, batch: int) -> None:
        self._writer, self.steps, self.batch = writer, steps, batch

    def values_of(self, node: Node, key: str) -> Array | None:
        rows = node.tensors[key][: self.steps]
        return rows[0] if (rows == rows[0]).all() else None

    def row(self, node: Node, key: str, step: int, shape: Sequence[int]) -> str:
        rows = node.tensors[key]
        return self._writer.constant(rows[min(step, len(rows) - 1)].reshape(shape))

    def joined_rows(self, node: Node, key: str, shape: Sequence[int]) -> str:
        rows = node.tensors[key]
        if len(rows) == 1:
            return self.row(node, key, 0, shape)
        return self._writer.constant(rows[: self.steps].repeat(self.batch, axis=0).reshape(-1, *shape))

    def begins(self, step: int) -> bool:
        return step == 0

    def potential(self, node: Node, state: str) -> str:
        raise AssertionError("a sequence begins without potentials")

    def leave(self, node: Node, value: str, state: str) -> None:
        pass


class _Stream:
    """One step, whose number is an input."""

    steps = 1
    batch = None

    def __init__(self, writer: Writer, values: Any) -> None:
        self._writer, self._values = writer, values
        self._t = writer.input("t", (), np.int64)
        self._after: dict[str, tuple[str, Node]] = {}

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

    def joined_rows(self, node: Node, key: str, shape: Sequence[int]) -> str:
        return self.row(node, key, 0, shape)

    def begins(self, step: int) -> bool:
        return False

    def potential(self, node: Node, state: str) -> str:
        return self._writer.input(f"{node.name}.{state}", ("B", *self._values[node.name].shape))

    def leave(self, node: Node, value: str, state: str) -> None:
        self._after[f"{node.name}.{state}"] = value, node

    def write_state(self) -> None:
        self._writer.output(self._writer.op("Add", self._t, self._writer.constant(1, np.int64)), "t.next", (), np.int64)
        for name, (value, node) in self._after.items():
            self._writer.output(value, f"{name}.next", ("B", *self._values[node.name].shape))


class _Translation:
    """Walks a graph once and writes every node."""

    def __init__(self, graph: Graph, writer: Writer, clock: _Sequence | _Stream, frame: str) -> None:
        self._graph, self._writer, self._clock = graph, writer, clock
        self._types = infer_values(graph)
        self._values = {INPUT: _Value(INPUT, varies=False, whole=frame)}
        self._readers: dict[str, list[Node]] = {name: [] for name in self._types}
        for node in graph.nodes:
            for name in node.inputs:
                self._readers[name].append(node)

    def run(self) -> _Value:
        """The logits."""
        for node in self._graph.nodes:
            if node.name not in self._values:
                self._values[node.name] = self._translate(node)
        return self._values[self._graph.output]

    def _translate(self, node: Node) -> _Value:
        if node.op == "program":
            return self._run_program(node)
        if node.op in _POINTWISE:
            return self._pointwise(node, _POINTWISE[node.op])
        if node.op in ("conv2d", "linear"):
            return self._synapse(node)
        return self._on_whole(node, lambda x: _WHOLE[node.op](self._writer, node, x, self._types[node.inputs[0]].shape))

    def _on_whole(self, node: Node, emit: Callable[[str], str]) -> _Value:
        x = self._values[node.inputs[0]]
        return _Value(node.name, x.varies, whole=emit(x.joined(self._writer)))

    def _synapse(self, node: Node) -> _Value:
        """A convolution or linear layer, and the affine behind it where it alone reads the sums and never changes."""
        weight, bias = node.tensors["weight"].astype(np.float32), None
        affine = self._constant_affine(node)
        if affine is not None:
            scale, bias = (self._clock.values_of(affine, key) for key in ("scale", "shift"))
            assert scale is not None
            weight = weight * scale.reshape(-1, *(1,) * (weight.ndim - 1))
        constants = [self._writer.constant(c) for c in (weight, bias) if c is not None]
        name = node.name if affine is None else affine.name

        def emit(x: str) -> str:
            if node.op == "linear":
                return self._writer.op("Gemm", x, *constants, name=name, transB=1)
            (pad_y, pad_x), strides = node.attributes["padding"], list(node.attributes["stride"])
            pads = [pad_y, pad_x, pad_y, pad_x]
            return self._writer.op("Conv", x, *constants, name=name, pads=pads, strides=strides)

        value = self._on_whole(node, emit)
        if affine is not None:
            self._values[affine.name] = value
        return value

    def _constant_affine(self, node: Node) -> Node | None:
        readers = self._readers[node.name]
        if node.name == self._graph.output or len(readers) != 1 or readers[0].op != "affine":
            return None
        fixed = all(self._clock.values_of(readers[0], key) is not None for key in ("scale", "shift"))
        return readers[0] if fixed else None

    def _pointwise(self, node: Node, emit: "_Pointwise") -> _Value:
        """An operation on each entry, or each image: joined where its inputs are, else step by step."""
        writer, clock = self._writer, self._clock
        inputs = [self._values[name] for name in node.inputs]
        fixed = all(clock.values_of(node, key) is not None for key in node.tensors)
        together = fixed or clock.steps == 1
        if together and not any(x.varies for x in inputs):
            names = [x.joined(writer) for x in inputs]
            return _Value(node.name, False, whole=emit(writer, node, names, self._row(node, 0)))
        # a batch of one meets the steps by broadcasting
        meets = all(x.whole is not None and (x.varies or clock.batch == 1) for x in inputs)
        if node.op == "concat":
            # which broadcasts nothing
            meets = all(x.whole is not None and x.varies for x in inputs)
        if meets and (together or node.op != "seca"):
            names = [x.joined(writer) for x in inputs]
            row = self._row(node, 0) if together else self._joined_row(node)
            return _Value(node.name, True, whole=emit(writer, node, names, row))
        steps = []
        for k in range(clock.steps):
            names = [x.at(writer, k, clock.steps) for x in inputs]
            steps.append(emit(writer, node, names, self._row(node, k)))
        return _Value(node.name, True, steps=steps)

    def _run_program(self, node: Node) -> _Value:
        clock, writer, x, program = self._clock, self._writer, self._values[node.inputs[0]], program_of(node)
        states = [writer.constant(0.0) if clock.begins(0) else clock.potential(node, state) for state in program.states]
        steps = []
        for k in range(clock.steps):
            row = self._row(node, k)
            current = x.at(writer, k, clock.steps)
            registers = [current, *states, *(row(key) for key in row_names(program))]
            for instruction in program.instructions:
                if instruction.operation == "constant":
                    registers.append(writer.constant(instruction.value))
                    continue
                operands = [registers[i] for i in instruction.operands]
                registers.append(_OPERATIONS[instruction.operation](writer, f"{node.name}@", operands))
            # what follows from rows alone has not the current's shape
            spike, *states = (self._shaped(registers[i], i, program, current) for i in (program.spike, *program.after))
            steps.append(spike)
        for state, value in zip(program.states, states, strict=True):
            clock.leave(node, value, state)
        if clock.steps == 1:
            return _Value(node.name, False, whole=steps[0])
        return _Value(node.name, True, steps=steps)

    def _shaped(self, name: str, register: int, program: Program, current: str) -> str:
        if register in program.varying or register <= len(program.states):
            return name
        nothing = self._writer.op("Mul", current, self._writer.constant(0.0))
        return self._writer.op("Add", name, nothing)

    def _row_shape(self, node: Node, key: str) -> tuple[int, ...]:
        """A row's shape beside a value [B, C, H, W] or [B, C], or as a kernel over channels and its bias."""
        columns = node.tensors[key].shape[1]
        if node.op == "seca":
            return (1, 1, columns) if key == "weight" else (columns,)
        return (columns, *(1,) * (len(self._types[node.name].shape) - 1))

    def _row(self, node: Node, step: int) -> Row:
        return lambda key: self._clock.row(node, key, step, self._row_shape(node, key))

    def _joined_row(self, node: Node) -> Row:
        return lambda key: self._clock.joined_rows(node, key, self._row_shape(node, key))


_Pointwise = Callable[[Writer, Node, Sequence[str], Row], str]


def _affine(w: Writer, node: Node, x: Sequence[str], row: Row) -> str:
    return w.op("Add", w.op("Mul", x[0], row("scale"), name=node.name), row("shift"), name=node.name)


def _quantise(w: Writer, node: Node, x: Sequence[str], row: Row) -> str:
    offset, largest = node.attributes["offset"], 2 ** int(node.attributes["bits"]) - 1
    # x <= 0 gives floor(offset), which Clip bounds
    surplus = w.argument_of("Relu", x[0])
    scaled = w.op("Add", w.op("Mul", surplus, row("inverse_step"), name=node.name), w.constant(offset), name=node.name)
    least, most = w.constant(math.floor(offset)), w.constant(largest)
    return w.op("Clip", w.op("Floor", scaled, name=node.name), least, most, name=node.name)


def _seca(w: Writer, node: Node, x: Sequence[str], row: Row) -> str:
    margin = node.tensors["weight"].shape[1] // 2
    mean = w.op("GlobalAveragePool", x[0], name=node.name)
    channels = w.op("Reshape", mean, w.constant((0, 1, -1), np.int64), name=node.name)
    logit = w.op("Conv", channels, row("weight"), row("bias"), name=node.name, pads=[margin, margin])
    gate = w.op("Reshape", w.op("Sigmoid", logit, name=node.name), w.constant((0, -1, 1, 1), np.int64), name=node.name)
    return w.op("Mul", x[0], gate, name=node.name)


def _add(w: Writer, node: Node, x: Sequence[str], row: Row) -> str:
    return w.op("Add", x[0], x[1], name=node.name)


def _concat(w: Writer, node: Node, x: Sequence[str], row: Row) -> str:
    return w.op("Concat", *x, name=node.name, axis=1)


def _slice(w: Writer, node: Node, x: str, shape: Sequence[int]) -> str:
    bounds = [w.constant((node.attributes[key],), np.int64) for key in ("begin", "end")]
    return w.op("Slice", x, *bounds, w.constant((1,), np.int64), name=node.name)


def _sum_pool(w: Writer, node: Node, x: str, shape: Sequence[int]) -> str:
    kernel, stride = list(node.attributes["kernel"]), list(node.attributes["stride"])
    mean = w.op("AveragePool", x, name=node.name, kernel_shape=kernel, strides=stride)
    return w.op("Mul", mean, w.constant(math.prod(kernel)), name=node.name)


def _max_pool(w: Writer, node: Node, x: str, shape: Sequence[int]) -> str:
    kernel, stride = list(node.attributes["kernel"]), list(node.attributes["stride"])
    pads = list(node.attributes["padding"]) * 2
    return w.op("MaxPool", x, name=node.name, kernel_shape=kernel, strides=stride, pads=pads)


def _global_sum_pool(w: Writer, node: Node, x: str, shape: Sequence[int]) -> str:
    return w.op("ReduceSum", x, w.constant((2, 3), np.int64), name=node.name, keepdims=0)


def _flatten(w: Writer, node: Node, x: str, shape: Sequence[int]) -> str:
    return w.op("Flatten", x, name=node.name, axis=1)


def _operation(kind: str) -> Callable[[Writer, str, Sequence[str]], str]:
    return lambda w, name, x: w.op(kind, *x, name=name)


def _comparison(kind: str) -> Callable[[Writer, str, Sequence[str]], str]:
    return lambda w, name, x: w.op("Cast", w.op(kind, *x, name=name), name=name, to=1)


def _step(w: Writer, name: str, x: Sequence[str]) -> str:
    return w.op("Cast", w.op("GreaterOrEqual", x[0], w.constant(0.0), name=name), name=name, to=1)


def _select(w: Writer, name: str, x: Sequence[str]) -> str:
    return w.op("Where", w.op("Cast", x[0], name=name, to=9), *x[1:], name=name)


_OPERATIONS: dict[str, Callable[[Writer, str, Sequence[str]], str]] = {
    "add": _operation("Add"),
    "subtract": _operation("Sub"),
    "multiply": _operation("Mul"),
    "negative": _operation("Neg"),
    "absolute": _operation("Abs"),
    "floor": _operation("Floor"),
    "minimum": _operation("Min"),
    "maximum": _operation("Max"),
    "greater": _comparison("Greater"),
    "greater_equal": _comparison("GreaterOrEqual"),
    "step": _step,
    "select": _select,
}
"""Of programs."""
_POINTWISE: dict[str, _Pointwise] = {
    "affine": _affine,
    "quantise": _quantise,
    "seca": _seca,
    "add": _add,
    "concat": _concat,
}
_WHOLE: dict[str, Callable[[Writer, Node, str, Sequence[int]], str]] = {
    "sum_pool": _sum_pool,
    "max_pool": _max_pool,
    "global_sum_pool": _global_sum_pool,
    "flatten": _flatten,
    "slice": _slice,
}
assert set(OPS) == {*_POINTWISE, *_WHOLE, "conv2d", "linear", "program"}
