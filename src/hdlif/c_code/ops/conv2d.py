"""`conv2d` in C: by the pixels of the output, all channels of one at once."""

from hdlif.c_code.form import Form
from hdlif.c_code.stage_text import StageText
from hdlif.ops import Node


def loops(s: StageText, node: Node) -> None:
    channels, height, width = s.shape(node.name)
    sums = s.file.synapse(node, s.pointer(node.inputs[0]))
    s.line(f"for (uint32_t y = 0, p = 0; y < {height}; y++) {{")
    s.line(f"for (uint32_t x = 0; x < {width}; x++, p++) {{")
    s.line(sums.call)
    s.line(f"for (uint32_t c = 0; c < {channels}; c++) {{")
    s.line(f"const uint32_t i = c * {height * width} + p;")
    s.entry(sums.value)
    s.line("}")
    s.line("}")
    s.line("}")


FORM = Form("conv2d", loops=loops)
