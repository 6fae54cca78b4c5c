"""`gate` in C."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from hdlif.deploy.c.emitter import Emitter
from hdlif.deploy.c.fixed.values import Scaled
from hdlif.deploy.c.stage_text import StageText
from hdlif.graph.graph import Node
from hdlif.graph.ops.gate import evaluate


def loops(s: StageText, node: Node) -> None:
    x, a = (s.pointer(name) for name in node.inputs)
    (channels, *pixels), (groups, *of_gates) = (s.shape(name) for name in node.inputs)
    group = "c" if channels == groups else f"c / {channels // groups}"
    size = pixels[0] * pixels[1]
    gate = f"({group}) * {size} + i - c * {size}" if of_gates == pixels else group
    s.each_entry(node, f"{a}[{gate}] > 0 ? {x}[i] : 0")


def fixed_move(network: Any, node: Node, x: Sequence[Scaled], t: int) -> Scaled:
    return Scaled(np.asarray(evaluate(node, t, [one.integer for one in x], {})), x[0].fraction)


EMITTER = Emitter("gate", loops=loops, fixed_move=fixed_move)
