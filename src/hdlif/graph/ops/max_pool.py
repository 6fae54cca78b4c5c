"""The max_pool op: y is the maximum of x over each window, with -inf as padding."""

from collections.abc import Sequence

import numpy as np

from hdlif.graph.fields import pair, pooled_shape, windows
from hdlif.graph.graph import Array, Node, Value
from hdlif.graph.op import Op, Passed, Seen, Work, always, pooled


def infer(node: Node, inputs: tuple[Value, ...], time_steps: int) -> Value:
    shape = pooled_shape(node, inputs[0], pair(node, "padding", 0))
    return Value(shape, inputs[0].max_code, inputs[0].constant)


def evaluate(node: Node, t: int, inputs: Sequence[Array], states: dict[str, Array]) -> Array:
    (x,) = inputs
    pad_y, pad_x = node.attributes["padding"]
    padded = np.pad(x.astype(np.float32), ((0, 0), (0, 0), (pad_y, pad_y), (pad_x, pad_x)), constant_values=-np.inf)
    largest = np.full((), -np.inf, np.float32)
    for _, _, window in windows(padded, node.attributes["kernel"], node.attributes["stride"]):
        largest = np.where(window > largest, window, largest)
    return largest


def price(node: Node, seen: Seen) -> Work:
    return pooled(node, seen, node.attributes["kernel"], node.attributes["stride"], node.attributes["padding"])


def backward(node: Node, passed: Passed, gradient: Array) -> tuple[Sequence[Array | None], dict[str, Array]]:
    """Return dx: for each input entry, the summed gradients of the windows in which that entry is the first maximum.

    The gradients are added in order of the entry's place (ky, kx) in the window.
    """
    x, (pad_y, pad_x) = passed.inputs[0].astype(np.float32), node.attributes["padding"]
    margins = ((0, 0), (0, 0), (pad_y, pad_y), (pad_x, pad_x))
    padded, largest = np.pad(x, margins, constant_values=-np.inf), evaluate(node, passed.t, [x], {})
    whole, waiting = np.zeros(padded.shape, np.float32), np.ones(largest.shape, bool)
    geometry = node.attributes["kernel"], node.attributes["stride"]
    for (_, _, window), (_, _, target) in zip(windows(padded, *geometry), windows(whole, *geometry), strict=True):
        found = waiting & (window == largest)
        target += np.where(found, gradient, np.float32(0))
        waiting &= ~found
    return (whole[:, :, pad_y : pad_y + x.shape[2], pad_x : pad_x + x.shape[3]],), {}


OP = Op(
    "max_pool",
    arity=1,
    noun="a max pool",
    attributes=("kernel", "padding", "stride"),
    infer=infer,
    evaluate=evaluate,
    backward=backward,
    price=price,
    passes_spikes=always,
)
