"""`sum_pool` in C."""

from hdlif.c_code.form import Form
from hdlif.c_code.stage_text import StageText
from hdlif.ops import Node


def loops(s: StageText, node: Node) -> None:
    x, (_, height, width) = s.pointer(node.inputs[0]), s.shape(node.inputs[0])
    (kernel_y, kernel_x), (stride_y, stride_x) = node.attributes["kernel"], node.attributes["stride"]
    total = s.file.total_of(node)
    with s.pixels(node):
        s.line(f"{total} total = 0;")
        s.line(f"const uint32_t corner = (c * {height} + y * {stride_y}) * {width} + x * {stride_x};")
        s.line(f"for (uint32_t ky = 0; ky < {kernel_y}; ky++)")
        s.line(f"for (uint32_t kx = 0; kx < {kernel_x}; kx++)")
        s.line(f"total += ({total}){x}[corner + ky * {width} + kx];")
        s.entry(s.file.from_total(node, "total"))


FORM = Form("sum_pool", loops=loops)
