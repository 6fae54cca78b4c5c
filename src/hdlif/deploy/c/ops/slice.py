"""`slice` in C."""

from hdlif.deploy.c.emitter import Emitter
from hdlif.deploy.c.fixed.values import moved
from hdlif.deploy.c.stage_text import StageText
from hdlif.graph.graph import Node


def loops(s: StageText, node: Node) -> None:
    _, height, width = s.shape(node.inputs[0])
    begin = node.attributes["begin"] * height * width
    s.each_entry(node, f"{s.pointer(node.inputs[0])}[i + {begin}]")


EMITTER = Emitter("slice", loops=loops, fixed_move=moved)
