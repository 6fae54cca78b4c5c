"""`add` in C."""

from hdlif.deploy.c.emitter import Emitter
from hdlif.deploy.c.fixed.values import added

EMITTER = Emitter(
    "add",
    entry=lambda s, node: f"{s.number(node, 0)} + {s.number(node, 1)}",
    fixed_entry=lambda k, network, node, x, states: added(k, x[0], x[1], network.most(node.name)),
    is_in_answers=True,
)
