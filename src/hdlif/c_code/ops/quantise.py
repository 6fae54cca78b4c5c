"""`quantise` in C."""

from hdlif.c_code.form import Form
from hdlif.c_code.stage_text import StageText
from hdlif.c_code.text import real
from hdlif.ops import Node


def entry(s: StageText, node: Node) -> str:
    s.file.use("code_of")
    x = s.number(node, 0)
    largest = 2 ** int(node.attributes["bits"]) - 1
    scaled = f"positive({x}) * {s.row(node, 'inverse_step')} + {real(node.attributes['offset'])}"
    return f"code_of({scaled}, {largest})"


FORM = Form("quantise", entry=entry)
