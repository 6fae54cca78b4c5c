"""C code for `conv2d`, which computes all channels of an output pixel before the next pixel."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from hdlif.deploy.c.emitter import Emitter
from hdlif.deploy.c.fixed.values import Scaled
from hdlif.deploy.c.stage_text import StageText
from hdlif.deploy.c.synapses import layer_backward, synapse
from hdlif.graph.fields import windows
from hdlif.graph.graph import Node
from hdlif.graph.ops.conv2d import dilation_of, groups_of


def loops(s: StageText, node: Node) -> None:
    _, height, width = s.shape(node.name)
    sums = synapse(s, node, s.pointer(node.inputs[0]))
    s.line(f"for (uint32_t y = 0, p = 0; y < {height}; y++) {{")
    s.line(f"for (uint32_t x = 0; x < {width}; x++, p++) {{")
    s.line(sums.call)
    with s.channels(node.name):
        s.entry(sums.value, at=sums.at)
    s.line("}")
    s.line("}")


def fixed_total(network: Any, node: Node, x: Sequence[Scaled], t: int) -> Scaled:
    weight, fraction = network.weights(node)
    (pad_y, pad_x), strides = node.attributes["padding"], node.attributes["stride"]
    padded = np.pad(x[0].integer, ((0, 0), (0, 0), (pad_y, pad_y), (pad_x, pad_x)))
    groups = groups_of(node)
    totals = []
    for part, own in zip(np.split(padded, groups, axis=1), np.split(weight, groups), strict=True):
        taps = windows(part, weight.shape[2:], strides, dilation_of(node))
        # float64 holds these integers exactly, and multiplies matrices fast
        parts = [np.tensordot(own[:, :, v, u].astype(np.float64), w.astype(np.float64), ([1], [1])) for v, u, w in taps]
        totals.append(np.sum(parts, axis=0).swapaxes(0, 1).astype(np.int64))
    return Scaled(np.concatenate(totals, axis=1), x[0].fraction + fraction)


EMITTER = Emitter("conv2d", loops=loops, backward=layer_backward, fixed_total=fixed_total, is_in_answers=True)
