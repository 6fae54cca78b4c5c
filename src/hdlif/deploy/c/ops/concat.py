"""`concat` in C."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from hdlif.deploy.c.backward_text import BackwardText
from hdlif.deploy.c.emitter import Emitter
from hdlif.deploy.c.fixed.values import Arrays, Scaled, held
from hdlif.deploy.c.stage_text import StageText
from hdlif.graph.graph import Node


def loops(s: StageText, node: Node) -> None:
    size = s.file.size(node.inputs[0])
    parts = [f"{s.pointer(node.inputs[0])}[i]", f"{s.pointer(node.inputs[1])}[i - {size}]"]
    if s.value(node.name).max_code is None:
        parts = [s.arithmetic.alike(s, node, name, part) for name, part in zip(node.inputs, parts, strict=True)]
    s.each_entry(node, f"i < {size} ? {parts[0]} : {parts[1]}")


def fixed_move(network: Any, node: Node, x: Sequence[Scaled], t: int) -> Scaled:
    """Concatenate two inputs, either as codes or as numbers that are converted to a common number of fraction bits."""
    if network.values[node.name].max_code is not None:
        return Scaled(np.concatenate([one.integer for one in x], axis=1), 0)
    fraction = min(max(one.fraction for one in x), network.most(node.name))
    both = [held(Arrays(0, 0), one, fraction).integer for one in x]
    return Scaled(np.concatenate(both, axis=1), fraction)


def backward(s: BackwardText, node: Node) -> None:
    s.each_input(0, f"{s.own}[i]")
    s.each_input(1, f"{s.own}[{s.file.size(node.inputs[0])} + i]")


EMITTER = Emitter("concat", loops=loops, backward=backward, fixed_move=fixed_move)
