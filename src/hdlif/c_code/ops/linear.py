"""`linear` in C: a convolution of a map of one pixel."""

from hdlif.c_code.form import Form
from hdlif.c_code.stage_text import StageText
from hdlif.ops import Node


def loops(s: StageText, node: Node) -> None:
    channels, _, _ = s.shape(node.name)
    sums = s.file.synapse(node, s.pointer(node.inputs[0]))
    s.line("const uint32_t y = 0, x = 0;")
    s.line(sums.call)
    s.line(f"for (uint32_t c = 0; c < {channels}; c++) {{")
    s.line("const uint32_t i = c;")
    s.entry(sums.value)
    s.line("}")


FORM = Form("linear", loops=loops)
