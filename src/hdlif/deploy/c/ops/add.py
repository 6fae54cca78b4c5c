"""`add` in C."""

from hdlif.deploy.c.backward_text import BackwardText
from hdlif.deploy.c.emitter import Emitter
from hdlif.deploy.c.fixed.values import added
from hdlif.graph.graph import Node


def backward(s: BackwardText, node: Node) -> None:
    for place in range(2):
        s.each_input(place, f"{s.own}[i]")


EMITTER = Emitter(
    "add",
    entry=lambda s, node: f"{s.number(node, 0)} + {s.number(node, 1)}",
    backward=backward,
    fixed_entry=lambda k, network, node, x, states: added(k, x[0], x[1], network.most(node.name)),
    is_in_answers=True,
)
