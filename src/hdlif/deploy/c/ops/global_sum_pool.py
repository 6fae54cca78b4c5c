"""`global_sum_pool` in C."""

from collections.abc import Sequence
from typing import Any

from hdlif.deploy.c.backward_text import BackwardText
from hdlif.deploy.c.emitter import Emitter
from hdlif.deploy.c.fixed.values import Scaled
from hdlif.deploy.c.stage_text import StageText
from hdlif.graph.graph import Node


def loops(s: StageText, node: Node) -> None:
    _, height, width = s.shape(node.inputs[0])
    total = s.total_of(node)
    sums = (
        f"{total} total = 0;\n"
        f"for (uint32_t q = 0; q < {height * width}; q++)\n"
        f"total += ({total}){s.at(node.inputs[0], 'c', 'q')};"
    )
    s.each_entry(node, s.from_total(node, "total"), at=sums)


def fixed_total(network: Any, node: Node, x: Sequence[Scaled], t: int) -> Scaled:
    network.check_sum(node, x[0].integer[0, 0].size)
    return Scaled(x[0].integer.sum(axis=(2, 3)), x[0].fraction)


def backward(s: BackwardText, node: Node) -> None:
    s.each_input(0, f"{s.own}[c]")


EMITTER = Emitter("global_sum_pool", loops=loops, backward=backward, fixed_total=fixed_total, is_in_answers=True)
