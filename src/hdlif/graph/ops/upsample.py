"""Nearest upsampling: y[c, i, j] = x[c, i // fy, j // fx]: each entry fy times down and fx times across."""

from collections.abc import Sequence

from hdlif.graph.fields import map_shape, pair
from hdlif.graph.graph import Array, Node, Value
from hdlif.graph.op import Op, always, moved


def infer(node: Node, inputs: tuple[Value, ...], time_steps: int) -> Value:
    channels, height, width = map_shape(node, inputs[0])
    down, across = pair(node, "factor", 1)
    return Value((channels, height * down, width * across), inputs[0].max_code, inputs[0].constant)


def evaluate(node: Node, t: int, inputs: Sequence[Array], states: dict[str, Array]) -> Array:
    (x,) = inputs
    down, across = node.attributes["factor"]
    return x.repeat(down, axis=2).repeat(across, axis=3)


OP = Op(
    "upsample",
    arity=1,
    noun="an upsampling",
    attributes=("factor",),
    infer=infer,
    evaluate=evaluate,
    price=moved,
    passes_spikes=always,
)
