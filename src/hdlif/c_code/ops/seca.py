"""`seca` in C."""

from hdlif.c_code.form import Form
from hdlif.c_code.stage_text import StageText
from hdlif.c_code.text import real
from hdlif.ops import Node


def loops(s: StageText, node: Node) -> None:
    s.file.use("sigmoid")
    x, (channels, height, width) = s.pointer(node.inputs[0]), s.shape(node.inputs[0])
    weight, bias, kernel = s.rows(node, "weight"), s.row(node, "bias"), node.tensors["weight"].shape[1]
    s.file.need_totals(channels)
    s.line(f"for (uint32_t c = 0; c < {channels}; c++) {{")
    s.line("NUMBER total = 0;")
    s.line(f"for (uint32_t p = c * {height * width}; p < (c + 1) * {height * width}; p++)")
    s.line(f"total += (NUMBER){x}[p];")
    s.line(f"work->totals[c] = total / {real(height * width)};")
    s.line("}")
    s.line(f"for (uint32_t c = 0, i = 0; c < {channels}; c++) {{")
    s.line(f"NUMBER logit = {bias};")
    s.line(f"for (uint32_t j = 0; j < {kernel}; j++)")
    # what lies beyond the channels is 0, and adds nothing; below them the difference wraps around
    margin = kernel // 2
    s.line(f"if (c + j - {margin} < {channels})")
    s.line(f"logit += {weight}[j] * work->totals[c + j - {margin}];")
    s.line("const NUMBER gate = sigmoid(logit);")
    s.line(f"for (const uint32_t end = i + {height * width}; i < end; i++) {{")
    s.entry(f"(NUMBER){x}[i] * gate")
    s.line("}")
    s.line("}")


FORM = Form("seca", loops=loops)
