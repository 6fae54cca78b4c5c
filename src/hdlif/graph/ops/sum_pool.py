"""The sum_pool op: y is the sum of x over each window, added row by row, without padding.

Rows and columns that do not fill a window are ignored.
"""

import math
from collections.abc import Sequence

import numpy as np

from hdlif.graph.fields import ordered_sum, pooled_shape, summed_code, windows
from hdlif.graph.graph import Array, Node, Value
from hdlif.graph.op import Op, Passed, Seen, Work, always, pooled


def infer(node: Node, inputs: tuple[Value, ...], time_steps: int) -> Value:
    shape = pooled_shape(node, inputs[0], (0, 0))
    return Value(shape, summed_code(inputs[0], math.prod(node.attributes["kernel"])), inputs[0].constant)


def evaluate(node: Node, t: int, inputs: Sequence[Array], states: dict[str, Array]) -> Array:
    (x,) = inputs
    met = windows(x, node.attributes["kernel"], node.attributes["stride"])
    return ordered_sum(window for _, _, window in met)


def price(node: Node, seen: Seen) -> Work:
    return pooled(node, seen, node.attributes["kernel"], node.attributes["stride"], (0, 0))


def backward(node: Node, passed: Passed, gradient: Array) -> tuple[Sequence[Array | None], dict[str, Array]]:
    """Return dx: for each input entry, the summed gradients of all windows that contain the entry.

    The gradients are added in order of the entry's place (ky, kx) in the window.
    """
    whole = np.zeros(passed.inputs[0].shape, np.float32)
    for _, _, window in windows(whole, node.attributes["kernel"], node.attributes["stride"]):
        window += gradient
    return (whole,), {}


OP = Op(
    "sum_pool",
    arity=1,
    attributes=("kernel", "stride"),
    infer=infer,
    evaluate=evaluate,
    backward=backward,
    price=price,
    passes_spikes=always,
)
