"""`delay` in C; `Translation` takes the source into the state at the end of a step."""

from hdlif.c_code.form import Form
from hdlif.c_code.stage_text import StageText
from hdlif.ops import Node


def entry(s: StageText, node: Node) -> str:
    return f"{s.state(node, 'delayed')}[i]"


FORM = Form("delay", entry=entry)
