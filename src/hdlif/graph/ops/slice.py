"""The slice op, which outputs channels `begin` to `end` - 1 of x."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from hdlif.errors import ArtefactError, brief
from hdlif.graph.graph import Array, Node, Value
from hdlif.graph.op import Op, Passed, always, moved


def infer(node: Node, inputs: tuple[Value, ...], time_steps: int) -> Value:
    channels, *rest = inputs[0].shape
    begin, end = node.attributes["begin"], node.attributes["end"]
    if type(begin) is not int or type(end) is not int or not 0 <= begin < end <= channels:
        raise ArtefactError(
            f"{node.name}: begin = {brief(begin)}, end = {brief(end)}; they must be integers with 0 <= begin < end <= "
            f"{channels}, the channels of its input"
        )
    return replace(inputs[0], shape=(end - begin, *rest))


def evaluate(node: Node, t: int, inputs: Sequence[Array], states: dict[str, Array]) -> Array:
    (x,) = inputs
    return x[:, node.attributes["begin"] : node.attributes["end"]]


def backward(node: Node, passed: Passed, gradient: Array) -> tuple[Sequence[Array | None], dict[str, Array]]:
    whole = np.zeros(passed.inputs[0].shape, np.float32)
    whole[:, node.attributes["begin"] : node.attributes["end"]] = gradient
    return (whole,), {}


OP = Op(
    "slice",
    arity=1,
    noun="a part of the channels",
    attributes=("begin", "end"),
    infer=infer,
    evaluate=evaluate,
    backward=backward,
    price=moved,
    passes_spikes=always,
)
