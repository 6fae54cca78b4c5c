"""The gate op, y[c] = x[c] if a[g] > 0, else 0, with the group g = floor(c·G / C) of channel c.

The gate `a` has G channels, and G must divide the number C of channels of `x`. The map of `a` either has the same size
as the map of `x` or is a single pixel. Entries of `x` are either kept or replaced by 0, so codes stay codes. A NaN in
`a` yields 0, because NaN is not greater than 0.
"""

import math
from collections.abc import Sequence

import numpy as np

from hdlif.errors import ArtefactError
from hdlif.graph.graph import Array, Node, Value
from hdlif.graph.op import Op, always, moved


def infer(node: Node, inputs: tuple[Value, ...], time_steps: int) -> Value:
    x, a = inputs
    if x.shape[0] % a.shape[0] or (a.shape[1:] != x.shape[1:] and math.prod(a.shape[1:]) != 1):
        raise ArtefactError(
            f"{node.name}: gate takes a value per pixel or channel; {list(a.shape)} does not fit {list(x.shape)}: its "
            "channels must divide those of the gated value, and its map must be of equal size or one pixel"
        )
    return Value(x.shape, x.max_code, x.constant and a.constant)


def evaluate(node: Node, t: int, inputs: Sequence[Array], states: dict[str, Array]) -> Array:
    x, a = inputs
    is_open = np.repeat(a > 0, x.shape[1] // a.shape[1], axis=1)
    if a.shape[2:] != x.shape[2:]:
        is_open = is_open.reshape(*is_open.shape[:2], *(1,) * (x.ndim - 2))
    return np.where(is_open, x, x.dtype.type(0))


# A comparison with 0 and a choice between two numbers are free.
OP = Op("gate", 2, infer, evaluate, moved, passes_spikes=always, noun="a gate of spikes by spikes")
