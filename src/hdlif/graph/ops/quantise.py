"""The quantise op, y = min(floor(max(x, 0) · inverse_step[t, c] + offset), 2^bits - 1), an integer code."""

from collections.abc import Sequence

import numpy as np

from hdlif.errors import ArtefactError
from hdlif.graph.fields import LEAST_NORMAL, number, rows
from hdlif.graph.graph import Array, Node, Value, row_of_step
from hdlif.graph.op import ADD, MULTIPLY, NOTHING, Op, Passed, Seen, Work, acting_share, always


def infer(node: Node, inputs: tuple[Value, ...], time_steps: int) -> Value:
    bits = int(number(node, "bits", lambda v: v in range(1, 9), "an integer in 1..8"))
    number(node, "offset", lambda v: 0 <= v <= 1, "a number in 0..1")
    inverse_step = rows(node, "inverse_step", inputs[0], time_steps)
    if (inverse_step < LEAST_NORMAL).any():
        raise ArtefactError(f"{node.name}.inverse_step: contains {inverse_step.min()}; it must be above 0, in float32")
    return Value(inputs[0].shape, 2**bits - 1, inputs[0].constant and len(inverse_step) == 1)


def evaluate(node: Node, t: int, inputs: Sequence[Array], states: dict[str, Array]) -> Array:
    (x,) = inputs
    inverse_step, offset = row_of_step(node, "inverse_step", t, x.ndim), np.float32(node.attributes["offset"])
    positive = np.where(x > 0, x, 0).astype(np.float32)
    largest = np.float32(2 ** int(node.attributes["bits"]) - 1)
    code: Array = np.minimum(np.floor(positive * inverse_step + offset), largest)
    return code


def price(node: Node, seen: Seen) -> Work:
    acting = MULTIPLY * acting_share(node, "inverse_step", 1, seen) + (ADD if node.attributes["offset"] else NOTHING)
    return acting * seen.entries_per_image(node)


def backward(node: Node, passed: Passed, gradient: Array) -> tuple[Sequence[Array | None], dict[str, Array]]:
    """Return the straight-through gradient dx = g · inverse_step for all x, as in `hdlif.nn.SpikeQuantizer`."""
    return (gradient * row_of_step(node, "inverse_step", passed.t, gradient.ndim),), {}


OP = Op(
    "quantise",
    arity=1,
    is_elementwise=True,
    attributes=("bits", "offset"),
    tensors=("inverse_step",),
    infer=infer,
    evaluate=evaluate,
    backward=backward,
    price=price,
    emits_spikes=always,
)
