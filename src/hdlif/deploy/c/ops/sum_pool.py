"""`sum_pool` in C."""

import math
from collections.abc import Sequence
from typing import Any

from hdlif.deploy.c.backward_text import BackwardText
from hdlif.deploy.c.emitter import Emitter
from hdlif.deploy.c.fixed.values import Scaled
from hdlif.deploy.c.stage_text import StageText
from hdlif.graph.fields import windows
from hdlif.graph.graph import Node


def loops(s: StageText, node: Node) -> None:
    width = s.shape(node.inputs[0])[2]
    (kernel_y, kernel_x), (stride_y, stride_x) = node.attributes["kernel"], node.attributes["stride"]
    total = s.total_of(node)
    sums = (
        f"{total} total = 0;\n"
        f"const uint32_t corner = y * {stride_y * width} + x * {stride_x};\n"
        f"for (uint32_t ky = 0; ky < {kernel_y}; ky++)\n"
        f"for (uint32_t kx = 0; kx < {kernel_x}; kx++)\n"
        f"total += ({total}){s.at(node.inputs[0], 'c', f'corner + ky * {width} + kx')};"
    )
    with s.pixels(node.name):
        s.entry(s.from_total(node, "total"), at=sums)


def fixed_total(network: Any, node: Node, x: Sequence[Scaled], t: int) -> Scaled:
    network.check_sum(node, math.prod(node.attributes["kernel"]))
    met = windows(x[0].integer, node.attributes["kernel"], node.attributes["stride"])
    return Scaled(sum(window for _, _, window in met), x[0].fraction)


def backward(s: BackwardText, node: Node) -> None:
    s.each_window(node)


EMITTER = Emitter("sum_pool", loops=loops, backward=backward, fixed_total=fixed_total, is_in_answers=True)
