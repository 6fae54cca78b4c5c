"""`affine` in C."""

from collections.abc import Sequence
from typing import Any

from hdlif.deploy.c.emitter import Emitter
from hdlif.deploy.c.fixed.values import Integers, Scaled, affine
from hdlif.deploy.c.stage_text import StageText
from hdlif.graph.graph import Node


def entry(s: StageText, node: Node) -> str:
    return f"{s.number(node, 0)} * {s.row(node, 'scale')} + {s.row(node, 'shift')}"


def fixed_entry(k: Integers, network: Any, node: Node, x: Sequence[Scaled], states: dict[str, Any]) -> Scaled:
    return affine(k, x[0], node.tensors["scale"], node.tensors["shift"], network.most(node.name))


EMITTER = Emitter("affine", entry=entry, fixed_entry=fixed_entry, is_in_answers=True)
