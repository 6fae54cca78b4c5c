"""`slice` in C."""

from hdlif.c_code.fixed.moving import moved
from hdlif.c_code.form import Form
from hdlif.c_code.stage_text import StageText
from hdlif.ops import Node


def loops(s: StageText, node: Node) -> None:
    _, height, width = s.shape(node.inputs[0])
    begin = node.attributes["begin"] * height * width
    s.each_entry(node, f"{s.pointer(node.inputs[0])}[i + {begin}]")


FORM = Form("slice", loops=loops, fixed_move=moved)
