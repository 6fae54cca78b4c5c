"""The affine op, y = x · scale[t, c] + shift[t, c]."""

from collections.abc import Sequence

import numpy as np

from hdlif.graph.fields import in_order, rows
from hdlif.graph.graph import Array, Node, Value, row_of_step
from hdlif.graph.op import ADD, MULTIPLY, Op, Passed, Seen, Work, acting_share


def infer(node: Node, inputs: tuple[Value, ...], time_steps: int) -> Value:
    checked = [rows(node, key, inputs[0], time_steps, per_channel_only=True) for key in ("scale", "shift")]
    return Value(inputs[0].shape, constant=inputs[0].constant and all(len(r) == 1 for r in checked))


def evaluate(node: Node, t: int, inputs: Sequence[Array], states: dict[str, Array]) -> Array:
    (x,) = inputs
    return x.astype(np.float32) * row_of_step(node, "scale", t, x.ndim) + row_of_step(node, "shift", t, x.ndim)


def price(node: Node, seen: Seen) -> Work:
    acting = MULTIPLY * acting_share(node, "scale", 1, seen) + ADD * acting_share(node, "shift", 0, seen)
    return acting * seen.entries_per_image(node)


def passes_spikes(node: Node) -> bool:
    """Return whether the node has no shift, in which case scaled graded spikes are still graded spikes."""
    return not node.tensors["shift"].any()


def backward(node: Node, passed: Passed, gradient: Array) -> tuple[Sequence[Array | None], dict[str, Array]]:
    """Return dx = g · scale, dscale = sum of g · x, and dshift = sum of g, with sums over the map, row by row."""
    x = passed.inputs[0].astype(np.float32)
    tensors = {"scale": in_order(gradient * x, 2), "shift": in_order(gradient, 2)}
    return (gradient * row_of_step(node, "scale", passed.t, x.ndim),), tensors


OP = Op(
    "affine",
    arity=1,
    is_elementwise=True,
    tensors=("scale", "shift"),
    infer=infer,
    evaluate=evaluate,
    backward=backward,
    price=price,
    passes_spikes=passes_spikes,
)
