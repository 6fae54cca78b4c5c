"""`upsample` in C."""

from hdlif.deploy.c.backward_text import BackwardText
from hdlif.deploy.c.emitter import Emitter
from hdlif.deploy.c.fixed.values import moved
from hdlif.deploy.c.stage_text import StageText
from hdlif.graph.graph import Node


def loops(s: StageText, node: Node) -> None:
    x, (_, height, width) = s.pointer(node.inputs[0]), s.shape(node.inputs[0])
    down, across = node.attributes["factor"]
    with s.pixels(node.name):
        s.entry(f"{x}[(c * {height} + y / {down}) * {width} + x / {across}]")


def backward(s: BackwardText, node: Node) -> None:
    _, height, width = s.shape(node.name)
    down, across = node.attributes["factor"]
    total = (
        f"const NUMBER *copies = {s.own} + (c * {height} + y * {down}) * {width} + x * {across};\n"
        "NUMBER total = copies[0];\n"
        f"for (uint32_t k = 1; k < {down * across}; k++)\n"
        f"total += copies[k / {across} * {width} + k % {across}];"
    )
    s.each_input(0, "total", at=total)


EMITTER = Emitter("upsample", loops=loops, backward=backward, fixed_move=moved)
