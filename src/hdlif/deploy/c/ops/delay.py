"""C code for `delay`, whose source the step function copies to the state at the end of each step."""

from hdlif.deploy.c.emitter import Emitter
from hdlif.deploy.c.fixed.values import Scaled

EMITTER = Emitter(
    "delay",
    entry=lambda s, node: s.state_at(node, "delayed"),
    fixed_entry=lambda k, network, node, x, states: Scaled(states["delayed"], network.fractions[node.name]),
)
