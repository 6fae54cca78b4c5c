"""The delay op, which outputs 0 at the first step and, at later steps, the previous step's value of node `source`. If
`source` comes later in the graph, the delay closes a loop.

The op's input only defines the output's shape, which must equal the shape of `source`. The output contains codes up to
`max_code`, or floats if `max_code` is 0.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from hdlif.errors import ArtefactError, brief
from hdlif.graph.graph import MAX_CODE, Array, Node, Value
from hdlif.graph.op import Op, always, moved


def infer(node: Node, inputs: tuple[Value, ...], time_steps: int) -> Value:
    most = node.attributes["max_code"]
    if type(most) is not int or not 0 <= most <= MAX_CODE:
        raise ArtefactError(f"{node.name}: max_code = {brief(most)}; it must be an integer in 0..{MAX_CODE}")
    return Value(inputs[0].shape, most or None, constant=False)


def check(node: Node, values: Mapping[str, Value]) -> None:
    source, own = node.attributes["source"], values[node.name]
    found = values.get(source) if isinstance(source, str) else None
    if found is None:
        raise ArtefactError(f"{node.name}: source = {brief(source)} is not a value of the graph")
    if (found.shape, found.max_code) != (own.shape, own.max_code):
        raise ArtefactError(
            f"{node.name}: source {source} gives {_text(found)}, but its input and max_code state {_text(own)}"
        )


def _text(value: Value) -> str:
    kind = "floats" if value.max_code is None else f"codes up to {value.max_code}"
    return f"{kind} of shape {list(value.shape)}"


def evaluate(node: Node, t: int, inputs: Sequence[Array], states: dict[str, Array]) -> Array:
    delayed, most = states["delayed"], node.attributes["max_code"]
    if not most:
        return delayed.copy()
    # A caller's state may contain anything.
    codes: Array = np.where(delayed > 0, np.minimum(delayed, np.float32(most)), 0)
    return codes


def keep(node: Node, values: Mapping[str, Array], states: dict[str, Array]) -> None:
    states["delayed"][...] = values[node.attributes["source"]]


OP = Op(
    "delay",
    arity=1,
    noun="what was given at the step before, a delay",
    is_elementwise=True,
    attributes=("max_code", "source"),
    infer=infer,
    check=check,
    evaluate=evaluate,
    keep=keep,
    price=moved,
    sources=lambda node: (node.attributes["source"],),
    states=lambda node: ("delayed",),
    passes_spikes=always,
)
