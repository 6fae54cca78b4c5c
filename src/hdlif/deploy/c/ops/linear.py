"""C code for `linear`, implemented as a convolution over a one-pixel map."""

from collections.abc import Sequence
from typing import Any

from hdlif.deploy.c.emitter import Emitter
from hdlif.deploy.c.fixed.values import Scaled
from hdlif.deploy.c.stage_text import StageText
from hdlif.deploy.c.synapses import layer_backward, synapse
from hdlif.graph.graph import Node


def loops(s: StageText, node: Node) -> None:
    sums = synapse(s, node, s.pointer(node.inputs[0]))
    s.line("const uint32_t y = 0, x = 0, p = 0;")
    s.line(sums.call)
    with s.channels(node.name):
        s.entry(sums.value, at=sums.at)


def fixed_total(network: Any, node: Node, x: Sequence[Scaled], t: int) -> Scaled:
    weight, fraction = network.weights(node)
    return Scaled(x[0].integer @ weight.T, x[0].fraction + fraction)


EMITTER = Emitter("linear", loops=loops, backward=layer_backward, fixed_total=fixed_total, is_in_answers=True)
