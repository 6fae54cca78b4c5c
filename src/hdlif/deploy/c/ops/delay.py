"""`delay` in C; the step function copies the source to the state at its end."""

from collections.abc import Sequence
from typing import Any

from hdlif.deploy.c.emitter import Emitter
from hdlif.deploy.c.fixed.values import Integers, Scaled
from hdlif.deploy.c.stage_text import StageText
from hdlif.graph.graph import Node


def entry(s: StageText, node: Node) -> str:
    return f"{s.state_at(node, 'delayed')}"


def fixed_entry(k: Integers, network: Any, node: Node, x: Sequence[Scaled], states: dict[str, Any]) -> Scaled:
    return Scaled(states["delayed"], network.fractions[node.name])


EMITTER = Emitter("delay", entry=entry, fixed_entry=fixed_entry)
