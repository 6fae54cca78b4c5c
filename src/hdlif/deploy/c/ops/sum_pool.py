"""`sum_pool` in C."""

import math
from collections.abc import Sequence
from typing import Any

from hdlif.deploy.c.fixed.scaled import Scaled
from hdlif.deploy.c.form import Form
from hdlif.deploy.c.stage_text import StageText
from hdlif.graph.ops import Node
from hdlif.graph.ops.fields import windows


def loops(s: StageText, node: Node) -> None:
    x, (_, height, width) = s.pointer(node.inputs[0]), s.shape(node.inputs[0])
    (kernel_y, kernel_x), (stride_y, stride_x) = node.attributes["kernel"], node.attributes["stride"]
    total = s.total_of(node)
    with s.pixels(node):
        s.line(f"{total} total = 0;")
        s.line(f"const uint32_t corner = (c * {height} + y * {stride_y}) * {width} + x * {stride_x};")
        s.line(f"for (uint32_t ky = 0; ky < {kernel_y}; ky++)")
        s.line(f"for (uint32_t kx = 0; kx < {kernel_x}; kx++)")
        s.line(f"total += ({total}){x}[corner + ky * {width} + kx];")
        s.entry(s.from_total(node, "total"))


def fixed_total(network: Any, node: Node, x: Sequence[Scaled], t: int) -> Scaled:
    network.check_sum(node, math.prod(node.attributes["kernel"]))
    met = windows(x[0].integer, node.attributes["kernel"], node.attributes["stride"])
    return Scaled(sum(window for _, _, window in met), x[0].fraction)


FORM = Form("sum_pool", loops=loops, fixed_total=fixed_total)
