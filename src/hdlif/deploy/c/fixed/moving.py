"""Ops that change no number: they compute on integers as on any others."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from hdlif.deploy.c.fixed.scaled import Scaled
from hdlif.graph.ops import OPS, Node


def moved(network: Any, node: Node, x: Sequence[Scaled], t: int) -> Scaled:
    """What the op's oracle gives; integers of 16 bits are float32 as well."""
    found = OPS[node.op].evaluate(node, 0, [x[0].integer], {})
    return Scaled(np.asarray(found).astype(np.int64), x[0].fraction)
