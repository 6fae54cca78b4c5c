"""The concat op, which outputs the channels of x0 followed by the channels of x1."""

from collections.abc import Sequence

import numpy as np

from hdlif.errors import ArtefactError
from hdlif.graph.graph import Array, Node, Value
from hdlif.graph.op import Op, Passed, always, moved


def infer(node: Node, inputs: tuple[Value, ...], time_steps: int) -> Value:
    first, second = inputs
    if len(first.shape) != len(second.shape) or first.shape[1:] != second.shape[1:]:
        raise ArtefactError(
            f"{node.name}: concat takes shapes that differ only in channels; got {list(first.shape)} and "
            f"{list(second.shape)}"
        )
    codes = None
    if first.max_code is not None and second.max_code is not None:
        codes = max(first.max_code, second.max_code)
    channels = first.shape[0] + second.shape[0]
    return Value((channels, *first.shape[1:]), codes, first.constant and second.constant)


def evaluate(node: Node, t: int, inputs: Sequence[Array], states: dict[str, Array]) -> Array:
    x, y = inputs
    return np.concatenate([x, y], axis=1)


def backward(node: Node, passed: Passed, gradient: Array) -> tuple[Sequence[Array | None], dict[str, Array]]:
    channels = passed.inputs[0].shape[1]
    return (gradient[:, :channels], gradient[:, channels:]), {}


OP = Op("concat", 2, infer, evaluate, moved, backward=backward, passes_spikes=always, noun="channels that are joined")
