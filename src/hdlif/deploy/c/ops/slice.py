"""`slice` in C."""

from hdlif.deploy.c.backward_text import BackwardText
from hdlif.deploy.c.emitter import Emitter
from hdlif.deploy.c.fixed.values import moved
from hdlif.deploy.c.stage_text import StageText
from hdlif.graph.graph import Node


def loops(s: StageText, node: Node) -> None:
    _, height, width = s.shape(node.inputs[0])
    begin = node.attributes["begin"] * height * width
    s.each_entry(node, f"{s.pointer(node.inputs[0])}[i + {begin}]")


def backward(s: BackwardText, node: Node) -> None:
    _, height, width = s.shape(node.inputs[0])
    begin = node.attributes["begin"] * height * width
    # below `begin` the unsigned difference exceeds any size
    s.each_input(0, f"i - {begin} < {s.file.size(node.name)} ? {s.own}[i - {begin}] : 0.0f")


EMITTER = Emitter("slice", loops=loops, backward=backward, fixed_move=moved)
