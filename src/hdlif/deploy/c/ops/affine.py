"""`affine` in C."""

from hdlif.deploy.c.emitter import Emitter
from hdlif.deploy.c.fixed.values import affine

EMITTER = Emitter(
    "affine",
    entry=lambda s, node: f"{s.number(node, 0)} * {s.row(node, 'scale')} + {s.row(node, 'shift')}",
    fixed_entry=lambda k, network, node, x, states: affine(
        k, x[0], node.tensors["scale"], node.tensors["shift"], network.most(node.name)
    ),
    is_in_answers=True,
)
