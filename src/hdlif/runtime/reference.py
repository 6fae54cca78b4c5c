"""The deployed network in plain NumPy: slow, obvious, and the measure of every other runtime.

Float values are float32 and every sum has the stated order, one multiplication and one addition at a
time, from +0; so a runtime that keeps the order gives the same bits. Sums of integer codes are exact.
Values have a batch axis in front of the graph's shapes: [B, C, H, W] or [B, C].
"""

import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdlif import equations
from hdlif.artefact import INPUT, Graph, Node, infer_values
from hdlif.artefact.format import program_of, row_names
from hdlif.runtime.state import Array, State, check_frame, check_state, count_steps, potential_shapes

Floats = NDArray[np.float32]
LOG2_E = np.float32(1.44269504)
LN_2_HIGH, LN_2_LOW = np.float32(0.693359375), np.float32(-2.12194440e-4)
# of e^-r, the highest power first: 1/6!, -1/5!, ..., 1
EXPONENTIAL = tuple(np.float32((-1) ** k / math.factorial(k)) for k in range(6, -1, -1))


def run(graph: Graph, x: Floats, steps: int | None = None) -> Floats:
    """Logits [T, B, classes] of x [T, B, C, H, W], or [1, B, C, H, W] constant over `steps`."""
    steps = count_steps(x, graph.input.shape, steps, graph.time_steps)
    state: State | None = None
    logits = []
    for t in range(steps):
        step_logits, state = step(graph, x[t if len(x) > 1 else 0], state)
        logits.append(step_logits)
    return np.stack(logits)


def step(graph: Graph, x: Floats, state: State | None = None) -> tuple[Floats, State]:
    """One time step: logits [B, classes] of x [B, C, H, W], and the next state.

    Raises:
        ShapeError, StateError: `x` or `state` does not fit the network.
    """
    check_frame(x, graph.input.shape)
    shapes = potential_shapes(graph, infer_values(graph))
    t = 0
    potentials = {name: np.zeros((len(x), *shape), np.float32) for name, shape in shapes.items()}
    if state is not None:
        t = check_state(state, shapes, len(x))
        potentials = {name: state[name].copy() for name in shapes}
    values = evaluate(graph, x, potentials, t)
    return values[graph.output].astype(np.float32), {"t": np.array(t + 1, np.int64), **potentials}


def evaluate(graph: Graph, x: Floats, state: State, t: int) -> dict[str, Array]:
    """Every value of time step `t` by name, codes as uint8; updates the potentials in `state` in place."""
    types = infer_values(graph)
    values: dict[str, Array] = {INPUT: x}
    for node in graph.nodes:
        inputs = [values[name] for name in node.inputs]
        if node.op == "program":
            result = _program(node, inputs[0].astype(np.float32), state, t)
        else:
            result = _STATELESS[node.op](node, t, *inputs)
        is_code = types[node.name].max_code is not None
        values[node.name] = result.astype(np.uint8 if is_code else np.float32)
    return values


def _row(node: Node, key: str, t: int, ndim: int) -> Floats:
    """The row of step t, the last one beyond the end, with axes to meet a value of `ndim` axes."""
    rows = node.tensors[key]
    row: Floats = rows[min(t, len(rows) - 1)]
    return row.reshape(-1, *(1,) * (ndim - 2))


def _program(node: Node, x: Floats, state: State, t: int) -> Array:
    program = program_of(node)
    states = [state[f"{node.name}.{name}"] for name in program.states]
    spike, after = equations.evaluate(program, x, states, [_row(node, key, t, x.ndim) for key in row_names(program)])
    for kept, value in zip(states, after, strict=True):
        kept[...] = value
    return spike


def _conv2d(node: Node, t: int, x: Array) -> Array:
    weight = node.tensors["weight"]
    (pad_y, pad_x), strides = node.attributes["padding"], node.attributes["stride"]
    padded = np.pad(x, ((0, 0), (0, 0), (pad_y, pad_y), (pad_x, pad_x)))
    taps = list(_windows(padded, weight.shape[2:], strides))
    if x.dtype == np.uint8 and weight.dtype == np.int8:
        # float64 holds these integers exactly, and multiplies matrices fast
        exact = weight.astype(np.float64)
        parts = [
            np.tensordot(exact[:, :, ky, kx], window.astype(np.float64), axes=([1], [1])) for ky, kx, window in taps
        ]
        summed: Array = np.sum(parts, axis=0)
        return summed.swapaxes(0, 1).astype(np.float32)
    total = np.zeros((len(x), len(weight), *taps[0][2].shape[2:]), np.float32)
    for ky, kx, window in taps:
        for channel in range(x.shape[1]):
            column = weight[:, channel, ky, kx].astype(np.float32)[:, None, None]
            total += column * window[:, channel, None].astype(np.float32)
    return total


def _windows(x: Array, kernel: Any, strides: tuple[int, int]) -> Iterator[tuple[int, int, Array]]:
    """(ky, kx, the entries of x that meet this tap, [B, C, out H, out W]) in row-major order."""
    (kernel_y, kernel_x), (stride_y, stride_x) = kernel, strides
    last_y, last_x = x.shape[2] - kernel_y, x.shape[3] - kernel_x
    for ky, kx in itertools.product(range(kernel_y), range(kernel_x)):
        yield ky, kx, x[:, :, ky : last_y + ky + 1 : stride_y, kx : last_x + kx + 1 : stride_x]


def _linear(node: Node, t: int, x: Array) -> Array:
    weight = node.tensors["weight"]
    if x.dtype == np.uint8 and weight.dtype == np.int8:
        exact: Array = x.astype(np.int64) @ weight.T.astype(np.int64)
        return exact.astype(np.float32)
    total = np.zeros((len(x), len(weight)), np.float32)
    for channel in range(x.shape[1]):
        total += weight[:, channel].astype(np.float32) * x[:, channel, None].astype(np.float32)
    return total


def _affine(node: Node, t: int, x: Array) -> Array:
    return x.astype(np.float32) * _row(node, "scale", t, x.ndim) + _row(node, "shift", t, x.ndim)


def _quantise(node: Node, t: int, x: Array) -> Array:
    inverse_step, offset = _row(node, "inverse_step", t, x.ndim), np.float32(node.attributes["offset"])
    positive = np.where(x > 0, x, 0).astype(np.float32)
    largest = np.float32(2 ** int(node.attributes["bits"]) - 1)
    code: Array = np.minimum(np.floor(positive * inverse_step + offset), largest)
    return code


def _seca(node: Node, t: int, x: Array) -> Array:
    channels, pixels = x.shape[1], x.shape[2] * x.shape[3]
    mean = _global_sum_pool(node, t, x) / np.float32(pixels)
    (weight, bias) = (node.tensors[key][min(t, len(node.tensors[key]) - 1)] for key in ("weight", "bias"))
    margin = len(weight) // 2
    neighbours = np.pad(mean, ((0, 0), (margin, margin)))
    logit = np.full(mean.shape, bias, np.float32)
    for j, factor in enumerate(weight):
        logit += factor * neighbours[:, j : j + channels]
    return x.astype(np.float32) * sigmoid(logit)[:, :, None, None]


def sigmoid(x: Floats) -> Floats:
    """σ(x), in the float32 operations that docs/artefact_format.md states; within 1e-6 of the true one."""
    one = np.float32(1)
    a = np.where(np.abs(x) < 30, np.abs(x), np.float32(30))
    n = np.floor(a * LOG2_E + np.float32(0.5))
    r = (a - n * LN_2_HIGH) - n * LN_2_LOW
    p = np.full_like(r, EXPONENTIAL[0])
    for coefficient in EXPONENTIAL[1:]:
        p = p * r + coefficient
    e = np.ldexp(p, -n.astype(np.int32))
    gate: Floats = np.where(x >= 0, one, e) / (one + e)
    return gate


def _add(node: Node, t: int, x: Array, y: Array) -> Array:
    return x.astype(np.float32) + y.astype(np.float32)


def _sum_pool(node: Node, t: int, x: Array) -> Array:
    windows = _windows(x, node.attributes["kernel"], node.attributes["stride"])
    return _ordered_sum(window for _, _, window in windows)


def _max_pool(node: Node, t: int, x: Array) -> Array:
    pad_y, pad_x = node.attributes["padding"]
    padded = np.pad(x.astype(np.float32), ((0, 0), (0, 0), (pad_y, pad_y), (pad_x, pad_x)), constant_values=-np.inf)
    largest = np.full((), -np.inf, np.float32)
    for _, _, window in _windows(padded, node.attributes["kernel"], node.attributes["stride"]):
        largest = np.where(window > largest, window, largest)
    return largest


def _global_sum_pool(node: Node, t: int, x: Array) -> Array:
    return _ordered_sum(x[:, :, i, j] for i, j in itertools.product(range(x.shape[2]), range(x.shape[3])))


def _ordered_sum(terms: Iterator[Array]) -> Array:
    total = np.zeros((), np.float32)
    for term in terms:
        total = total + term.astype(np.float32)
    return total


def _flatten(node: Node, t: int, x: Array) -> Array:
    return x.reshape(len(x), -1)


def _slice(node: Node, t: int, x: Array) -> Array:
    return x[:, node.attributes["begin"] : node.attributes["end"]]


def _concat(node: Node, t: int, x: Array, y: Array) -> Array:
    return np.concatenate([x, y], axis=1)


_STATELESS: dict[str, Callable[..., Array]] = {
    "conv2d": _conv2d,
    "linear": _linear,
    "affine": _affine,
    "quantise": _quantise,
    "seca": _seca,
    "add": _add,
    "sum_pool": _sum_pool,
    "max_pool": _max_pool,
    "global_sum_pool": _global_sum_pool,
    "flatten": _flatten,
    "slice": _slice,
    "concat": _concat,
}
