"""The add op, which sums two values of the same shape."""

from collections.abc import Sequence

import numpy as np

from hdlif.errors import ArtefactError
from hdlif.graph.graph import Array, Node, Value
from hdlif.graph.op import ADD, Op, Passed, Seen, Work


def infer(node: Node, inputs: tuple[Value, ...], time_steps: int) -> Value:
    if inputs[0].shape != inputs[1].shape:
        raise ArtefactError(
            f"{node.name}: add takes equal shapes; got {list(inputs[0].shape)} and {list(inputs[1].shape)}"
        )
    return Value(inputs[0].shape, constant=inputs[0].constant and inputs[1].constant)


def evaluate(node: Node, t: int, inputs: Sequence[Array], states: dict[str, Array]) -> Array:
    x, y = inputs
    return x.astype(np.float32) + y.astype(np.float32)


def price(node: Node, seen: Seen) -> Work:
    return ADD * seen.entries_per_image(node)


def backward(node: Node, passed: Passed, gradient: Array) -> tuple[Sequence[Array | None], dict[str, Array]]:
    return (gradient, gradient), {}


OP = Op("add", arity=2, infer=infer, evaluate=evaluate, backward=backward, price=price, is_elementwise=True)
