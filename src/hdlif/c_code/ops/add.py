"""`add` in C."""

from hdlif.c_code.form import Form
from hdlif.c_code.stage_text import StageText
from hdlif.ops import Node


def entry(s: StageText, node: Node) -> str:
    return f"{s.number(node, 0)} + {s.number(node, 1)}"


FORM = Form("add", entry=entry)
