"""C code for `flatten`, which moves no data."""

from hdlif.deploy.c.backward_text import BackwardText
from hdlif.deploy.c.emitter import Emitter
from hdlif.deploy.c.fixed.values import moved
from hdlif.graph.graph import Node


def backward(s: BackwardText, node: Node) -> None:
    s.each_input(0, f"{s.own}[i]")


EMITTER = Emitter("flatten", backward=backward, fixed_move=moved, is_in_answers=True)
