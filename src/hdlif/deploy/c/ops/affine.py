"""`affine` in C."""

from hdlif.deploy.c.backward_text import BackwardText
from hdlif.deploy.c.emitter import Emitter
from hdlif.deploy.c.fixed.values import affine
from hdlif.graph.graph import Node


def backward(s: BackwardText, node: Node) -> None:
    scale = s.row(node, "scale")
    with s.by_entry("scale", "shift"):
        s.give(0, f"{s.own}[i] * {scale}")
        s.add("scale", f"{s.own}[i] * {s.number(node, 0)}")
        s.add("shift", f"{s.own}[i]")


EMITTER = Emitter(
    "affine",
    entry=lambda s, node: f"{s.number(node, 0)} * {s.row(node, 'scale')} + {s.row(node, 'shift')}",
    backward=backward,
    fixed_entry=lambda k, network, node, x, states: affine(
        k, x[0], network.rows(node, x[0].fraction), network.most(node.name)
    ),
    is_in_answers=True,
)
