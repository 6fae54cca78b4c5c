"""Every op of a deployed network on single numbers: each operation that it does is counted where it is done.

A product with a weight or a code of 0 is left out, as SOPs are counted; one with 1 or -1 by its type is none, nor is a
product with a parameter of 1 or a sum with one of 0. A sum begins at 0 and a maximum at -inf, so that k terms take k
operations. A comparison is an addition, but one with 0, which is a sign bit, and the floor and the limit of a code,
which are bits that are cut off.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from hdlif.graph.artefact import Node, Value
from hdlif.graph.ops.program import program_of, row_names
from hdlif.report.accounting.operations import FLOAT_ADD_PJ, FLOAT_MULTIPLY_PJ, INT8_MULTIPLY_PJ, INT32_ADD_PJ

F = np.float32


@dataclass
class Tally:
    """Operations so far."""

    float_multiply: int = 0
    float_add: int = 0
    integer_multiply: int = 0
    integer_add: int = 0

    @property
    def energy_pj(self) -> float:
        of_floats = self.float_multiply * FLOAT_MULTIPLY_PJ + self.float_add * FLOAT_ADD_PJ
        return of_floats + self.integer_multiply * INT8_MULTIPLY_PJ + self.integer_add * INT32_ADD_PJ

    def times(self, a: Any, b: Any) -> Any:
        self.float_multiply += 1
        return F(a) * F(b)

    def plus(self, a: Any, b: Any) -> Any:
        self.float_add += 1
        return F(a) + F(b)

    def minus(self, a: Any, b: Any) -> Any:
        return self.plus(a, -F(b))

    def larger(self, a: Any, b: Any) -> Any:
        self.float_add += 1
        return a if a > b else b


Array = Any
Scalar = Callable[[Tally, Node, int, list[Array], Array | None, list[Value]], Array]


def _row(node: Node, key: str, t: int, channel: int) -> Any:
    rows = node.tensors[key]
    row = rows[min(t, len(rows) - 1)]
    return row[channel if len(row) > 1 else 0]


def _places(shape: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    return product(*map(range, shape))


def _synapse(count: Tally, node: Node, t: int, inputs: list[Array], state: Array | None, types: list[Value]) -> Array:
    weight, (x,) = node.tensors["weight"], inputs
    if node.op == "linear":
        weight, x, stride, padding = weight[:, :, None, None], x[:, None, None], (1, 1), (0, 0)
        dilation, groups = (1, 1), 1
    else:
        stride, padding = node.attributes["stride"], node.attributes["padding"]
        dilation, groups = node.attributes.get("dilation", (1, 1)), node.attributes.get("groups", 1)
    out, channels, height, width = weight.shape
    reach = [(size - 1) * d + 1 for size, d in zip((height, width), dilation, strict=True)]
    sizes = [(x.shape[1 + i] + 2 * padding[i] - reach[i]) // stride[i] + 1 for i in (0, 1)]
    low_bit = node.attributes["encoding"] in ("ternary", "binary", "int2")
    integers = node.attributes["encoding"] != "float32" and types[0].max_code is not None
    y = np.zeros((out, *sizes), F)
    for o, row, column in _places(y.shape):
        total: Any = 0 if integers else F(0)
        for ky, kx, c in _places((height, width, channels)):
            at = row * stride[0] + ky * dilation[0] - padding[0], column * stride[1] + kx * dilation[1] - padding[1]
            if not (0 <= at[0] < x.shape[1] and 0 <= at[1] < x.shape[2]):
                continue
            w, value = weight[o, c, ky, kx], x[o // (out // groups) * channels + c, at[0], at[1]]
            if w == 0 or value == 0:
                continue
            if not low_bit and types[0].max_code != 1:
                count.integer_multiply += integers
                count.float_multiply += not integers
            count.integer_add += integers
            count.float_add += not integers
            total = total + (int(w) * int(value) if integers else F(w) * F(value))
        # with fp32 weights a spike of 1 only chooses what is added
        y[o, row, column] = total
    return y[:, 0, 0] if node.op == "linear" else y


def _affine(count: Tally, node: Node, t: int, inputs: list[Array], state: Array | None, types: list[Value]) -> Array:
    y = np.array(inputs[0], F)
    for at in _places(y.shape):
        scale, shift = _row(node, "scale", t, at[0]), _row(node, "shift", t, at[0])
        value = y[at] if scale == 1 else count.times(y[at], scale)
        y[at] = value if shift == 0 else count.plus(value, shift)
    return y


_RESULTS: dict[str, Callable[..., Any]] = {
    "add": lambda a, b: a + b,
    "subtract": lambda a, b: a - b,
    "multiply": lambda a, b: a * b,
    "negative": lambda a: -a,
    "absolute": abs,
    "floor": np.floor,
    "minimum": lambda a, b: b if b < a else a,
    "maximum": lambda a, b: b if b > a else a,
    "greater": lambda a, b: a > b,
    "greater_equal": lambda a, b: a >= b,
    "step": lambda a: a >= 0,
    "select": lambda condition, a, b: a if condition != 0 else b,
}
_COMPARING = ("subtract", "minimum", "maximum", "greater", "greater_equal")
_GIVING_CODES = ("greater", "greater_equal", "step")


def _program(count: Tally, node: Node, t: int, inputs: list[Array], state: Array | None, types: list[Value]) -> Array:
    """Register by register; a difference that is there already, or whose sign is used again, is not computed again."""
    (x,), y = inputs, np.zeros(inputs[0].shape, F)
    program, states = program_of(node), {} if state is None else state
    rows = row_names(program)
    for at in _places(x.shape):
        registers = [F(x[at]), *(states[name][at] for name in program.states)]
        registers += [_row(node, key, t, at[0]) for key in rows]
        # of each register: whether it is 1 or 0 by its kind, and the constant that it is
        one_or_zero = [False] * len(registers)
        constants: list[float | None] = [None] * len(registers)
        differences: set[frozenset[int]] = set()
        for number, instruction in enumerate(program.instructions, len(registers)):
            name, ins = instruction.operation, instruction.operands
            fixed, codes = [constants[i] for i in ins], [one_or_zero[i] for i in ins]
            needed, pair, code = number in program.needed, frozenset(ins), name in _GIVING_CODES
            counted = count if needed else Tally()
            if name in _COMPARING and 0 not in fixed:
                counted.float_add += pair not in differences
                differences |= {pair} if needed else set()
            elif name == "add":
                counted.float_add += 0 not in fixed
            elif name == "multiply":
                counted.float_multiply += not any(codes) and not any(value in (0, 1, -1) for value in fixed)
                code = all(codes)
            elif name == "select":
                code = all(codes[1:])
            elif name == "constant":
                code = instruction.value in (0, 1)
            constants.append(instruction.value if name == "constant" else None)
            one_or_zero.append(code)
            with np.errstate(over="ignore", invalid="ignore"):
                values = [registers[i] for i in ins]
                registers.append(F(instruction.value if name == "constant" else _RESULTS[name](*values)))
        y[at] = registers[program.spike]
        for name, register in zip(program.states, program.after, strict=True):
            states[name][at] = registers[register]
    return y


def _quantise(count: Tally, node: Node, t: int, inputs: list[Array], state: Array | None, types: list[Value]) -> Array:
    y = np.array(inputs[0], F)
    for at in _places(y.shape):
        inverse_step, offset = _row(node, "inverse_step", t, at[0]), F(node.attributes["offset"])
        value = max(y[at], F(0))
        value = value if inverse_step == 1 else count.times(value, inverse_step)
        value = value if offset == 0 else count.plus(value, offset)
        y[at] = min(math.floor(value), 2 ** int(node.attributes["bits"]) - 1)
    return y


def _sigmoid(count: Tally, z: Any) -> Any:
    a = -count.larger(-abs(z), F(-30))
    n = math.floor(count.plus(count.times(a, 1.44269504), 0.5))
    r = count.minus(a, count.times(n, 0.693359375))
    r = count.minus(r, count.times(n, -2.12194440e-4))
    p = F(1 / 720)
    for k in range(5, -1, -1):
        p = count.plus(count.times(p, r), (-1) ** k / math.factorial(k))
    e = np.ldexp(p, -n)
    below = count.plus(1, e)
    count.float_multiply += 1  # a division
    return (F(1) if z >= 0 else e) / below


def _seca(count: Tally, node: Node, t: int, inputs: list[Array], state: Array | None, types: list[Value]) -> Array:
    y = np.array(inputs[0], F)
    channels, height, width = y.shape
    means = []
    for c in range(channels):
        total = F(0)
        for at in _places((height, width)):
            total = count.plus(total, y[(c, *at)])
        count.float_multiply += 1  # a division
        means.append(total / F(height * width))
    weight, bias = (node.tensors[key][min(t, len(node.tensors[key]) - 1)] for key in ("weight", "bias"))
    for c in range(channels):
        logit = bias[0]
        for j, factor in enumerate(weight):
            if 0 <= (neighbour := c + j - len(weight) // 2) < channels:
                logit = count.plus(logit, count.times(factor, means[neighbour]))
        gate = _sigmoid(count, logit)
        for at in _places((height, width)):
            y[(c, *at)] = count.times(y[(c, *at)], gate)
    return y


def _add(count: Tally, node: Node, t: int, inputs: list[Array], state: Array | None, types: list[Value]) -> Array:
    y = np.zeros(inputs[0].shape, F)
    for at in _places(y.shape):
        y[at] = count.plus(inputs[0][at], inputs[1][at])
    return y


def _pool(count: Tally, node: Node, t: int, inputs: list[Array], state: Array | None, types: list[Value]) -> Array:
    (x,) = inputs
    if node.op == "global_sum_pool":
        kernel, stride, padding = x.shape[1:], (1, 1), (0, 0)
    else:
        kernel, stride = node.attributes["kernel"], node.attributes["stride"]
        padding = node.attributes.get("padding", (0, 0))
    sizes = [(x.shape[1 + i] + 2 * padding[i] - kernel[i]) // stride[i] + 1 for i in (0, 1)]
    y = np.full((len(x), *sizes), -np.inf if node.op == "max_pool" else 0, F)
    for c, row, column in _places(y.shape):
        for ky, kx in _places(kernel):
            at = row * stride[0] + ky - padding[0], column * stride[1] + kx - padding[1]
            if not (0 <= at[0] < x.shape[1] and 0 <= at[1] < x.shape[2]):
                continue
            value, so_far = F(x[(c, *at)]), y[c, row, column]
            count.integer_add += types[0].max_code is not None
            count.float_add += types[0].max_code is None
            y[c, row, column] = max(so_far, value) if node.op == "max_pool" else so_far + value
    return y[:, 0, 0] if node.op == "global_sum_pool" else y


def _moved(count: Tally, node: Node, t: int, inputs: list[Array], state: Array | None, types: list[Value]) -> Array:
    """What stands elsewhere is the same number."""
    if node.op == "flatten":
        return inputs[0].reshape(-1)
    if node.op == "upsample":
        return np.kron(inputs[0], np.ones((1, *node.attributes["factor"]), F))
    if node.op == "slice":
        return inputs[0][node.attributes["begin"] : node.attributes["end"]]
    return np.concatenate(inputs)


def _gate(count: Tally, node: Node, t: int, inputs: list[Array], state: Array | None, types: list[Value]) -> Array:
    """A comparison with 0, and a choice."""
    (x, a), y = inputs, np.zeros(inputs[0].shape, F)
    for at in _places(y.shape):
        gates = a[at[0] * len(a) // len(x)]
        y[at] = x[at] if (gates[at[1:]] if gates.size > 1 else gates.item()) > 0 else 0
    return y


def _delay(count: Tally, node: Node, t: int, inputs: list[Array], state: Array | None, types: list[Value]) -> Array:
    assert state is not None
    return np.array(state["delayed"], F)


SCALAR: dict[str, Scalar] = {
    "conv2d": _synapse,
    "linear": _synapse,
    "affine": _affine,
    "program": _program,
    "quantise": _quantise,
    "seca": _seca,
    "add": _add,
    "sum_pool": _pool,
    "max_pool": _pool,
    "global_sum_pool": _pool,
    "flatten": _moved,
    "slice": _moved,
    "concat": _moved,
    "delay": _delay,
    "upsample": _moved,
    "gate": _gate,
}
