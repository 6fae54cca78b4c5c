"""`upsample` in C."""

from hdlif.deploy.c.emitter import Emitter
from hdlif.deploy.c.fixed.values import moved
from hdlif.deploy.c.stage_text import StageText
from hdlif.graph.graph import Node


def loops(s: StageText, node: Node) -> None:
    x, (_, height, width) = s.pointer(node.inputs[0]), s.shape(node.inputs[0])
    down, across = node.attributes["factor"]
    with s.pixels(node):
        s.entry(f"{x}[(c * {height} + y / {down}) * {width} + x / {across}]")


EMITTER = Emitter("upsample", loops=loops, fixed_move=moved)
