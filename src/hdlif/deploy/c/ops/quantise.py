"""`quantise` in C."""

from collections.abc import Sequence
from typing import Any

from hdlif.deploy.c.backward_text import BackwardText
from hdlif.deploy.c.emitter import Emitter
from hdlif.deploy.c.fixed.values import Integers, Scaled, code
from hdlif.deploy.c.stage_text import StageText
from hdlif.deploy.c.text import real
from hdlif.graph.graph import Node


def entry(s: StageText, node: Node) -> str:
    s.file.use("code_of")
    x = s.number(node, 0)
    largest = 2 ** int(node.attributes["bits"]) - 1
    scaled = f"positive({x}) * {s.row(node, 'inverse_step')} + {real(node.attributes['offset'])}"
    return f"code_of({scaled}, {largest})"


def fixed_entry(k: Integers, network: Any, node: Node, x: Sequence[Scaled], states: dict[str, Any]) -> Scaled:
    largest = 2 ** int(node.attributes["bits"]) - 1
    return Scaled(code(k, x[0], node.tensors["inverse_step"], float(node.attributes["offset"]), largest), 0)


def backward(s: BackwardText, node: Node) -> None:
    factor = s.row(node, "inverse_step")
    with s.by_entry():
        s.give(0, f"{s.own}[i] * {factor}")


EMITTER = Emitter("quantise", entry=entry, backward=backward, fixed_entry=fixed_entry, is_in_answers=True)
