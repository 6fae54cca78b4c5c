"""The upsample op (nearest neighbour), y[c, i, j] = x[c, i // fy, j // fx]."""

from collections.abc import Sequence

from hdlif.graph.fields import in_order, map_shape, pair
from hdlif.graph.graph import Array, Node, Value
from hdlif.graph.op import Op, Passed, always, moved


def infer(node: Node, inputs: tuple[Value, ...], time_steps: int) -> Value:
    channels, height, width = map_shape(node, inputs[0])
    down, across = pair(node, "factor", 1)
    return Value((channels, height * down, width * across), inputs[0].max_code, inputs[0].constant)


def evaluate(node: Node, t: int, inputs: Sequence[Array], states: dict[str, Array]) -> Array:
    (x,) = inputs
    down, across = node.attributes["factor"]
    return x.repeat(down, axis=2).repeat(across, axis=3)


def backward(node: Node, passed: Passed, gradient: Array) -> tuple[Sequence[Array | None], dict[str, Array]]:
    """Return dx: for each input entry, the sum of the gradients of its copies, added row by row."""
    (batch, channels, height, width), (down, across) = passed.inputs[0].shape, node.attributes["factor"]
    copies = gradient.reshape(batch, channels, height, down, width, across).swapaxes(3, 4)
    return (in_order(copies, 4),), {}


OP = Op(
    "upsample",
    arity=1,
    noun="an upsampling",
    attributes=("factor",),
    infer=infer,
    evaluate=evaluate,
    backward=backward,
    price=moved,
    passes_spikes=always,
)
