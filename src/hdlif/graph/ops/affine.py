"""Affine: y = x · scale[t, c] + shift[t, c]."""

from collections.abc import Sequence

import numpy as np

from hdlif.graph.fields import rows
from hdlif.graph.graph import Array, Node, Value, row_of_step
from hdlif.graph.op import ADD, MULTIPLY, Op, Seen, Work, acting_share


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
    """Treat graded spikes times a gain as graded spikes."""
    return not node.tensors["shift"].any()


OP = Op(
    "affine",
    arity=1,
    is_elementwise=True,
    tensors=("scale", "shift"),
    infer=infer,
    evaluate=evaluate,
    price=price,
    passes_spikes=passes_spikes,
)
