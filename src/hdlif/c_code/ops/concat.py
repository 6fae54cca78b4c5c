"""`concat` in C."""

from hdlif.c_code.form import Form
from hdlif.c_code.stage_text import StageText
from hdlif.ops import Node


def loops(s: StageText, node: Node) -> None:
    first, second = (s.pointer(name) for name in node.inputs)
    size = s.file.size(node.inputs[0])
    kind = "NUMBER" if s.value(node.name).max_code is None else "uint8_t"
    s.each_entry(node, f"i < {size} ? ({kind}){first}[i] : ({kind}){second}[i - {size}]")


FORM = Form("concat", loops=loops)
