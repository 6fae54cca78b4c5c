"""The global_sum_pool op: y is the sum of x over all pixels, added row by row."""

import itertools
from collections.abc import Sequence

import numpy as np

from hdlif.graph.fields import map_shape, ordered_sum, summed_code
from hdlif.graph.graph import Array, Node, Value
from hdlif.graph.op import Op, Passed, Seen, Work, always, pooled


def infer(node: Node, inputs: tuple[Value, ...], time_steps: int) -> Value:
    channels, height, width = map_shape(node, inputs[0])
    return Value((channels,), summed_code(inputs[0], height * width), inputs[0].constant)


def evaluate(node: Node, t: int, inputs: Sequence[Array], states: dict[str, Array]) -> Array:
    (x,) = inputs
    return ordered_sum(x[:, :, i, j] for i, j in itertools.product(range(x.shape[2]), range(x.shape[3])))


def price(node: Node, seen: Seen) -> Work:
    return pooled(node, seen, seen.types[node.inputs[0]].shape[1:], (1, 1), (0, 0))


def backward(node: Node, passed: Passed, gradient: Array) -> tuple[Sequence[Array | None], dict[str, Array]]:
    return (np.broadcast_to(gradient[:, :, None, None], passed.inputs[0].shape),), {}


OP = Op(
    "global_sum_pool", arity=1, infer=infer, evaluate=evaluate, backward=backward, price=price, passes_spikes=always
)
