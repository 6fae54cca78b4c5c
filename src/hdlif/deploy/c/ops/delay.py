"""C code for `delay`. At the end of each step, the C step function copies the source to the state."""

from hdlif.deploy.c.emitter import Emitter
from hdlif.deploy.c.fixed.values import Scaled

EMITTER = Emitter(
    "delay",
    entry=lambda s, node: s.state_at(node, "delayed"),
    fixed_entry=lambda k, network, node, x, states: Scaled(states["delayed"], network.fractions[node.name]),
)
