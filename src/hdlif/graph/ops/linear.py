"""The linear op: y[co] is the sum of weight[co, ci] · x[ci], added in ascending order of ci as in `conv2d`."""

from collections.abc import Sequence

import numpy as np

from hdlif.errors import ArtefactError
from hdlif.graph.graph import Array, Node, Value
from hdlif.graph.op import Op, Passed
from hdlif.graph.weights import check_sum, price, weight_of


def infer(node: Node, inputs: tuple[Value, ...], time_steps: int) -> Value:
    if len(inputs[0].shape) != 1 or node.tensors["weight"].ndim != 2:
        raise ArtefactError(f"{node.name}: linear takes a [C] input and an [out, in] weight")
    weight = weight_of(node, inputs[0].shape)
    check_sum(node, inputs[0])
    return Value((weight.shape[0],), constant=inputs[0].constant)


def evaluate(node: Node, t: int, inputs: Sequence[Array], states: dict[str, Array]) -> Array:
    (x,) = inputs
    weight = node.tensors["weight"]
    if x.dtype == np.uint8 and weight.dtype == np.int8:
        exact: Array = x.astype(np.int64) @ weight.T.astype(np.int64)
        return exact.astype(np.float32)
    total = np.zeros((len(x), len(weight)), np.float32)
    for channel in range(x.shape[1]):
        total += weight[:, channel].astype(np.float32) * x[:, channel, None].astype(np.float32)
    return total


def backward(node: Node, passed: Passed, gradient: Array) -> tuple[Sequence[Array | None], dict[str, Array]]:
    """Return dx, the sum of weight · g added in ascending order of the output channel, and dweight = g · x."""
    (x,), weight = passed.inputs, node.tensors["weight"].astype(np.float32)
    total = np.zeros(x.shape, np.float32)
    for channel, row in enumerate(weight):
        total += row * gradient[:, channel, None]
    return (total,), {"weight": gradient[:, :, None] * x[:, None].astype(np.float32)}


OP = Op(
    "linear",
    arity=1,
    attributes=("encoding", "role"),
    tensors=("weight",),
    infer=infer,
    evaluate=evaluate,
    backward=backward,
    price=price,
    is_synapse=True,
)
