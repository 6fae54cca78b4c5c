"""The graph of a deployed network: its ops, their fields, and the shape of every value.

A graph is a list of nodes in topological order. A node has one output, which bears the node's name;
the network's input is the value `INPUT`. All values are per time step and without batch: [C, H, W] or [C].
Every op is stated once, in `OPS`; `infer_values` checks a whole graph against that table.
`docs/artefact_format.md` gives the same in bytes.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeGuard

import numpy as np
from numpy.typing import NDArray

from hdlif.equations import Program, from_attributes
from hdlif.equations.record import KEYS as PROGRAM_KEYS
from hdlif.errors import ArtefactError, EquationError, brief, did_you_mean

FORMAT_VERSION = 5
READ_VERSIONS = (4, 5)
"""Format 4 has no op "program", and an op for each neuron (`neurons_of_format_4`); the rest is the same."""
INPUT = "input"
MAX_CODE = 255
"""Largest integer code a value may carry; a value that could exceed it is a float value."""
MAX_ELEMENTS = 2**30
"""Most entries that a value or a weight may have, so that an offset into it fits an int32."""
MAX_NODES = 2**17
"""Most nodes of a graph; a ResNet-34 has 150."""
FLOAT32_MAX = float(np.finfo(np.float32).max)
LEAST_NORMAL = float(np.finfo(np.float32).tiny)
INPUT_KINDS = {"image": 255, "events": 1}
"""Kinds of input, and the raw value that is 1 to the network before mean and std."""
RESIZE_MODES = ("none", "nearest", "bilinear", "bicubic")

Encoding = Literal["float32", "ternary", "binary", "int2", "int4", "int8"]
LARGEST_WEIGHT = {"ternary": 1, "binary": 1, "int2": 1, "int4": 7, "int8": 127}
"""Of each encoding whose weights are integers; the smallest is its negative."""
Array = NDArray[Any]


@dataclass(frozen=True)
class InputRecord:
    """What the network takes at each step: [C, H, W] = `shape`, as (x / whole - mean) / std.

    `whole` is what a kind of input counts as 1 (`INPUT_KINDS`): an image's pixels go to 255; events are counted.
    """

    shape: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    kind: str = "image"
    resize: str = "bilinear"


@dataclass(frozen=True)
class Node:
    """One operation. Low-bit weights are held as int8; `encoding` names their packing."""

    op: str
    name: str
    inputs: tuple[str, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    tensors: Mapping[str, Array] = field(default_factory=dict)


@dataclass(frozen=True)
class Graph:
    """A deployed network of `time_steps` steps; `output` names the node that gives the logits [classes]."""

    nodes: tuple[Node, ...]
    output: str
    time_steps: int
    input: InputRecord
    labels: tuple[str, ...]


@dataclass(frozen=True)
class Value:
    """The type of a value: shape without time and batch, and the domain of its entries.

    `max_code` is None for float values; otherwise entries are integers in 0..max_code ("codes").
    `constant` says that the value is the same at every step when the input is.
    """

    shape: tuple[int, ...]
    max_code: int | None = None
    constant: bool = True


@dataclass(frozen=True)
class Op:
    """The statement of one op: how many inputs, which attributes and tensors, and its output value.

    `neuron` says that it emits spikes. A program checks its tensors itself, which are None here.
    """

    arity: int
    attributes: tuple[str, ...]
    tensors: tuple[str, ...] | None
    infer: Callable[[Node, tuple[Value, ...], int], Value]
    neuron: bool = False


def infer_values(graph: Graph) -> dict[str, Value]:
    """The type of every value by name; raises `ArtefactError`, naming node and field, on any breach."""
    if type(graph.time_steps) is not int or not 1 <= graph.time_steps < 2**15:
        raise ArtefactError(f"time_steps = {brief(graph.time_steps)}; it must be an integer in 1..{2**15 - 1}")
    check_node_count(len(graph.nodes))
    _check_input(graph.input)
    values = {INPUT: Value(graph.input.shape)}
    for node in graph.nodes:
        op = OPS.get(node.op)
        if op is None:
            raise ArtefactError(f"{node.name}: op = {brief(node.op)} is unknown; {did_you_mean(node.op, OPS)}")
        if node.name in values:
            raise ArtefactError(f"{node.name}: two values have this name; names are unique")
        _check_fields(node, "inputs", len(node.inputs), op.arity)
        _check_fields(node, "attributes", sorted(node.attributes), sorted(op.attributes))
        if op.tensors is not None:
            _check_fields(node, "tensors", sorted(node.tensors), sorted(op.tensors))
        for name in node.inputs:
            if name not in values:
                raise ArtefactError(
                    f"{node.name}: input {brief(name)} is no earlier value; nodes stand in topological order"
                )
        value = op.infer(node, tuple(values[name] for name in node.inputs), graph.time_steps)
        if math.prod(value.shape) > MAX_ELEMENTS:
            raise ArtefactError(f"{node.name}: shape {list(value.shape)} has more than {MAX_ELEMENTS} entries")
        values[node.name] = value
    if graph.output not in values:
        raise ArtefactError(f"output = {brief(graph.output)} is no node of the graph")
    logits = values[graph.output]
    if len(logits.shape) != 1 or logits.shape[0] != len(graph.labels):
        raise ArtefactError(
            f"output has shape {list(logits.shape)}; {len(graph.labels)} labels need [{len(graph.labels)}]"
        )
    return values


def state_names(node: Node) -> tuple[str, ...]:
    """What a node carries from step to step, by name."""
    return tuple(node.attributes["states"]) if node.op == "program" else ()


def row_names(program: Program) -> tuple[str, ...]:
    """The tensors of a program's node."""
    return tuple(f"row{i}" for i in range(len(program.rows)))


def named_rows(node: Node) -> dict[str, Array]:
    """The tensors of a program's node by the names of its rows."""
    program = program_of(node)
    return {name: node.tensors[key] for key, name in zip(row_names(program), program.rows, strict=True)}


def program_of(node: Node) -> Program:
    """The program of a node. Raises `ArtefactError`."""
    try:
        return from_attributes(node.attributes)
    except EquationError as error:
        raise ArtefactError(f"{node.name}: {error}") from error


def check_node_count(count: int) -> None:
    if count > MAX_NODES:
        raise ArtefactError(f"the graph has {count} nodes; it may have at most {MAX_NODES}")


def _check_input(record: InputRecord) -> None:
    shape = record.shape
    if len(shape) != 3 or any(type(n) is not int or n < 1 for n in shape) or math.prod(shape) > MAX_ELEMENTS:
        raise ArtefactError(f"input.shape = {brief(list(shape))}; it must be [C, H, W], integers of at least 1")
    for key, numbers in (("mean", record.mean), ("std", record.std)):
        valid = all(is_float32(v) and (key == "mean" or v > 0) for v in numbers)
        if len(numbers) != shape[0] or not valid:
            above = ", above 0" if key == "std" else ""
            raise ArtefactError(f"input.{key} = {brief(list(numbers))}; it must be {shape[0]} finite numbers{above}")
    if record.kind not in INPUT_KINDS:
        raise ArtefactError(f"input.kind = {brief(record.kind)} is unknown; {did_you_mean(record.kind, INPUT_KINDS)}")
    if record.resize not in RESIZE_MODES:
        raise ArtefactError(
            f"input.resize = {brief(record.resize)} is unknown; {did_you_mean(record.resize, RESIZE_MODES)}"
        )


def _check_fields(node: Node, what: str, seen: object, accepted: object) -> None:
    if seen != accepted:
        raise ArtefactError(f"{node.name}: {what} of {node.op} are {seen}; they must be {accepted}")


def is_float32(value: Any) -> TypeGuard[float]:
    """Whether `value` is a number in float32's range; the runtime computes with the nearest float32."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and -FLOAT32_MAX <= value <= FLOAT32_MAX


def _number(node: Node, key: str, accepts: Callable[[float], bool], accepted: str) -> float:
    value = node.attributes[key]
    if not is_float32(value) or not accepts(value):
        raise ArtefactError(f"{node.name}: {key} = {brief(value)}; it must be {accepted}")
    return value


def _pair(node: Node, key: str, least: int) -> tuple[int, int]:
    value = node.attributes[key]
    valid = (
        isinstance(value, Sequence) and len(value) == 2 and all(type(v) is int and least <= v < 2**15 for v in value)
    )
    if not valid:
        raise ArtefactError(f"{node.name}: {key} = {brief(value)}; it must be two integers of at least {least}")
    return value[0], value[1]


def _map_shape(node: Node, value: Value) -> tuple[int, int, int]:
    if len(value.shape) != 3:
        raise ArtefactError(f"{node.name}: input of {node.op} has shape {list(value.shape)}; it must be [C, H, W]")
    return value.shape[0], value.shape[1], value.shape[2]


def _weight(node: Node, in_shape: tuple[int, ...]) -> Array:
    weight = node.tensors["weight"]
    encoding = node.attributes["encoding"]
    dtypes: dict[str, type[np.generic]] = {"float32": np.float32, **dict.fromkeys(LARGEST_WEIGHT, np.int8)}
    if not isinstance(encoding, str) or encoding not in dtypes:
        raise ArtefactError(
            f"{node.name}: encoding = {brief(encoding)} is unknown; {did_you_mean(brief(encoding), dtypes)}"
        )
    if weight.dtype != dtypes[encoding]:
        raise ArtefactError(
            f"{node.name}.weight: dtype is {weight.dtype}; {encoding} weights are {dtypes[encoding].__name__}"
        )
    if node.attributes["role"] not in ("stem", "body", "classifier"):
        raise ArtefactError(
            f"{node.name}: role = {brief(node.attributes['role'])}; choose one of body, classifier, stem"
        )
    if weight.shape[1 : 1 + len(in_shape)] != in_shape or not 0 < weight.size <= MAX_ELEMENTS:
        raise ArtefactError(f"{node.name}.weight: shape {list(weight.shape)} does not fit {in_shape[0]} input channels")
    if encoding == "float32" and not np.isfinite(weight).all():
        raise ArtefactError(f"{node.name}.weight: holds a value that is not finite")
    most = LARGEST_WEIGHT.get(encoding, 0)
    outside = encoding in LARGEST_WEIGHT and (weight.min() < -most or weight.max() > most)
    if outside or (encoding == "binary" and 0 in weight):
        raise ArtefactError(f"{node.name}.weight: holds a value that is not {encoding}")
    return weight


def _check_sum(node: Node, value: Value) -> None:
    """Sums of codes times weights over a receptive field are held in an int32."""
    terms = math.prod(node.tensors["weight"].shape[1:])
    largest = LARGEST_WEIGHT.get(node.attributes["encoding"], 1)
    if value.max_code is not None and terms * value.max_code * largest >= 2**31:
        raise ArtefactError(
            f"{node.name}: {terms} codes of up to {value.max_code}, times weights of up to {largest}, may pass 2^31; "
            "split the layer"
        )


def _conv2d(node: Node, inputs: tuple[Value, ...], time_steps: int) -> Value:
    channels, height, width = _map_shape(node, inputs[0])
    weight = node.tensors["weight"]
    if weight.ndim != 4:
        raise ArtefactError(f"{node.name}.weight: shape {list(weight.shape)}; it must be [out, in, kh, kw]")
    weight = _weight(node, (channels,))
    _check_sum(node, inputs[0])
    stride, padding = _pair(node, "stride", 1), _pair(node, "padding", 0)
    out = tuple(
        (size + 2 * p - kernel) // s + 1
        for size, kernel, s, p in zip((height, width), weight.shape[2:], stride, padding, strict=True)
    )
    if min(out) < 1 or any(p >= k for p, k in zip(padding, weight.shape[2:], strict=True)):
        raise ArtefactError(
            f"{node.name}: kernel {list(weight.shape[2:])}, padding {list(padding)} do not fit a {height}x{width} map"
        )
    return Value((weight.shape[0], *out), constant=inputs[0].constant)


def _linear(node: Node, inputs: tuple[Value, ...], time_steps: int) -> Value:
    if len(inputs[0].shape) != 1 or node.tensors["weight"].ndim != 2:
        raise ArtefactError(f"{node.name}: linear takes a [C] input and an [out, in] weight")
    weight = _weight(node, inputs[0].shape)
    _check_sum(node, inputs[0])
    return Value((weight.shape[0],), constant=inputs[0].constant)


def _rows(node: Node, key: str, value: Value, time_steps: int, per_channel_only: bool = False) -> Array:
    """A tensor of one row, or a row per step and perhaps more, and one entry, or an entry per channel.

    At step t the row min(t, rows - 1) is used: rows beyond `time_steps` say what holds beyond the trained steps.
    """
    channels = (value.shape[0],) if per_channel_only else (1, value.shape[0])
    return _rows_of(node, key, time_steps, lambda n: n in channels, " or ".join(map(str, channels)))


def _rows_of(node: Node, key: str, time_steps: int, accepts: Callable[[int], bool], accepted: str) -> Array:
    """A tensor of rows with a number of columns that `accepts`."""
    rows = node.tensors[key]
    fits = rows.dtype == np.float32 and rows.ndim == 2 and accepts(rows.shape[1])
    if not fits or not (rows.shape[0] == 1 or rows.shape[0] >= time_steps):
        raise ArtefactError(
            f"{node.name}.{key}: {rows.dtype} {list(rows.shape)}; it must be float32 "
            f"[1 or at least {time_steps}, {accepted}]"
        )
    if not np.isfinite(rows).all():
        raise ArtefactError(f"{node.name}.{key}: holds a value that is not finite")
    return rows


def _affine(node: Node, inputs: tuple[Value, ...], time_steps: int) -> Value:
    rows = [_rows(node, key, inputs[0], time_steps, per_channel_only=True) for key in ("scale", "shift")]
    return Value(inputs[0].shape, constant=inputs[0].constant and all(len(r) == 1 for r in rows))


def _program(node: Node, inputs: tuple[Value, ...], time_steps: int) -> Value:
    program, kind = program_of(node), node.attributes["kind"]
    if not isinstance(kind, str) or not kind.isprintable() or not 0 < len(kind) <= 200:
        raise ArtefactError(f"{node.name}: kind = {brief(kind)}; it must be a printable name")
    _check_fields(node, "tensors", sorted(node.tensors), sorted(row_names(program)))
    rows = [_rows(node, name, inputs[0], time_steps) for name in row_names(program)]
    constant = inputs[0].constant and not program.states and all(len(row) == 1 for row in rows)
    return Value(inputs[0].shape, 1 if program.is_binary(program.spike) else None, constant)


def _quantise(node: Node, inputs: tuple[Value, ...], time_steps: int) -> Value:
    bits = int(_number(node, "bits", lambda v: v in range(1, 9), "an integer in 1..8"))
    _number(node, "offset", lambda v: 0 <= v <= 1, "a number in 0..1")
    inverse_step = _rows(node, "inverse_step", inputs[0], time_steps)
    if (inverse_step < LEAST_NORMAL).any():
        raise ArtefactError(f"{node.name}.inverse_step: holds {inverse_step.min()}; it must be above 0, in float32")
    return Value(inputs[0].shape, 2**bits - 1, inputs[0].constant and len(inverse_step) == 1)


def _seca(node: Node, inputs: tuple[Value, ...], time_steps: int) -> Value:
    shape = _map_shape(node, inputs[0])
    weight = _rows_of(node, "weight", time_steps, lambda n: n % 2 == 1 and n < 2**15, "an odd number")
    bias = _rows_of(node, "bias", time_steps, lambda n: n == 1, "1")
    return Value(shape, constant=inputs[0].constant and len(weight) == len(bias) == 1)


def _add(node: Node, inputs: tuple[Value, ...], time_steps: int) -> Value:
    if inputs[0].shape != inputs[1].shape:
        raise ArtefactError(
            f"{node.name}: add takes equal shapes; got {list(inputs[0].shape)} and {list(inputs[1].shape)}"
        )
    return Value(inputs[0].shape, constant=inputs[0].constant and inputs[1].constant)


def _summed_code(value: Value, terms: int) -> int | None:
    """The largest code of a sum of `terms` codes, or None where it leaves the code range."""
    largest = None if value.max_code is None else value.max_code * terms
    return None if largest is None or largest > MAX_CODE else largest


def _pooled(node: Node, value: Value, padding: tuple[int, int]) -> tuple[int, int, int]:
    channels, height, width = _map_shape(node, value)
    kernel, stride = _pair(node, "kernel", 1), _pair(node, "stride", 1)
    out_h = (height + 2 * padding[0] - kernel[0]) // stride[0] + 1
    out_w = (width + 2 * padding[1] - kernel[1]) // stride[1] + 1
    if min(out_h, out_w) < 1 or padding[0] >= kernel[0] or padding[1] >= kernel[1]:
        raise ArtefactError(
            f"{node.name}: kernel {list(kernel)}, padding {list(padding)} do not fit a {height}x{width} map"
        )
    return channels, out_h, out_w


def _sum_pool(node: Node, inputs: tuple[Value, ...], time_steps: int) -> Value:
    shape = _pooled(node, inputs[0], (0, 0))
    return Value(shape, _summed_code(inputs[0], math.prod(node.attributes["kernel"])), inputs[0].constant)


def _max_pool(node: Node, inputs: tuple[Value, ...], time_steps: int) -> Value:
    shape = _pooled(node, inputs[0], _pair(node, "padding", 0))
    return Value(shape, inputs[0].max_code, inputs[0].constant)


def _global_sum_pool(node: Node, inputs: tuple[Value, ...], time_steps: int) -> Value:
    channels, height, width = _map_shape(node, inputs[0])
    return Value((channels,), _summed_code(inputs[0], height * width), inputs[0].constant)


def _flatten(node: Node, inputs: tuple[Value, ...], time_steps: int) -> Value:
    return Value((math.prod(inputs[0].shape),), inputs[0].max_code, inputs[0].constant)


def _slice(node: Node, inputs: tuple[Value, ...], time_steps: int) -> Value:
    channels, *rest = inputs[0].shape
    begin, end = node.attributes["begin"], node.attributes["end"]
    if type(begin) is not int or type(end) is not int or not 0 <= begin < end <= channels:
        raise ArtefactError(
            f"{node.name}: begin = {brief(begin)}, end = {brief(end)}; they must be integers with 0 <= begin < end <= "
            f"{channels}, the channels of its input"
        )
    return replace(inputs[0], shape=(end - begin, *rest))


def _concat(node: Node, inputs: tuple[Value, ...], time_steps: int) -> Value:
    first, second = inputs
    if len(first.shape) != len(second.shape) or first.shape[1:] != second.shape[1:]:
        raise ArtefactError(
            f"{node.name}: concat takes shapes that differ in channels alone; got {list(first.shape)} and "
            f"{list(second.shape)}"
        )
    codes = None
    if first.max_code is not None and second.max_code is not None:
        codes = max(first.max_code, second.max_code)
    channels = first.shape[0] + second.shape[0]
    return Value((channels, *first.shape[1:]), codes, first.constant and second.constant)


OPS: Mapping[str, Op] = {
    # y = sum over (ky, kx, ci), in this order, of weight * x, in float32 from +0; zero padding;
    # of codes and integer weights: the integer sum (exact, in any order), rounded to float32 once
    "conv2d": Op(1, ("encoding", "padding", "role", "stride"), ("weight",), _conv2d),
    # y = sum over ci, ascending, of weight * x, as conv2d
    "linear": Op(1, ("encoding", "role"), ("weight",), _linear),
    # y = x * scale[t, c] + shift[t, c]
    "affine": Op(1, (), ("scale", "shift"), _affine),
    # a neuron's equation: elementwise operations on registers (`hdlif.equations.program`). Register 0 is x, then
    # come the states before the step, 0 at first, row0[t, c], row1[t, c], ..., and one register for each operation;
    # y = register `spike`, a code where that is 1 or 0 by its operation, and the states after = registers `after`
    "program": Op(1, ("kind", *PROGRAM_KEYS), None, _program, neuron=True),
    # y = min(floor(max(x, 0) * inverse_step[t, c] + offset), 2^bits - 1), an integer code
    "quantise": Op(1, ("bits", "offset"), ("inverse_step",), _quantise),
    # a = mean of x over (row, column); y = x * sigmoid(bias[t] + sum over j of weight[t, j] * a[c + j - (k - 1) / 2]),
    # a = 0 beyond the channels; docs/artefact_format.md states the sigmoid
    "seca": Op(1, (), ("weight", "bias"), _seca),
    "add": Op(2, (), (), _add),
    # y = sum over (ky, kx), in this order, of x; no padding, rest rows and columns dropped
    "sum_pool": Op(1, ("kernel", "stride"), (), _sum_pool),
    # y = max over (ky, kx) of x; padding never wins
    "max_pool": Op(1, ("kernel", "padding", "stride"), (), _max_pool),
    # y = sum over (row, column), in this order, of x
    "global_sum_pool": Op(1, (), (), _global_sum_pool),
    # [C, H, W] -> [C * H * W], channel-major
    "flatten": Op(1, (), (), _flatten),
    # the channels begin..end - 1 of x
    "slice": Op(1, ("begin", "end"), (), _slice),
    # the channels of x0, then those of x1
    "concat": Op(2, (), (), _concat),
}
