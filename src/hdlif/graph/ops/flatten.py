"""The flatten op, which reshapes [C, H, W] to [C · H · W], channel by channel."""

import math
from collections.abc import Sequence

from hdlif.graph.graph import Array, Node, Value
from hdlif.graph.op import Op, Passed, always, moved


def infer(node: Node, inputs: tuple[Value, ...], time_steps: int) -> Value:
    return Value((math.prod(inputs[0].shape),), inputs[0].max_code, inputs[0].constant)


def evaluate(node: Node, t: int, inputs: Sequence[Array], states: dict[str, Array]) -> Array:
    (x,) = inputs
    return x.reshape(len(x), -1)


def backward(node: Node, passed: Passed, gradient: Array) -> tuple[Sequence[Array | None], dict[str, Array]]:
    return (gradient.reshape(passed.inputs[0].shape),), {}


OP = Op(
    "flatten",
    arity=1,
    infer=infer,
    evaluate=evaluate,
    backward=backward,
    price=moved,
    is_view=True,
    passes_spikes=always,
)
