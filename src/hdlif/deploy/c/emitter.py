"""What an op becomes in C: loops that fill a map, or the value of one entry."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from hdlif.deploy.c.fixed.values import Integers, Scaled
from hdlif.deploy.c.stage_text import StageText
from hdlif.graph.graph import Node

Loops = Callable[[StageText, Node], None]
"""Writes loops over the entries of a node's value, with `StageText.entry` in the innermost."""
FixedLoops = Callable[[StageText, Any, Node], None]
"""The same in fixed point, of (stage, `FixedPoint`, node)."""
EntryText = Callable[[StageText, Node], str]
"""The value of the entry at hand, as an expression of type number or of a code; statements go in front of it."""
FixedEntry = Callable[[Integers, Any, Node, Sequence[Scaled], dict[str, Any]], Scaled]
"""The same in fixed point: (arithmetic, `FixedPoint`, node, inputs, states by name, to be replaced) -> value."""
FixedMap = Callable[[Any, Node, Sequence[Scaled], int], Scaled]
"""What the loops give at a time step, on arrays of integers [B, ...]."""


@dataclass(frozen=True)
class Emitter:
    """What writes the C of the op of that name: loops, or an entry; an op that moves nothing has neither.

    Attributes:
        entry: of the operations in float32.
        fixed_loops: in fixed point, where they are others.
        fixed_entry: of the operations in fixed point.
        fixed_total: the sums, before they are rounded to the bits of the value.
        fixed_move: of an op that changes no number.
        is_in_answers: whether the function of all time steps computes it; a network with another op has none.
    """

    op: str
    loops: Loops | None = None
    entry: EntryText | None = None
    fixed_loops: FixedLoops | None = None
    fixed_entry: FixedEntry | None = None
    fixed_total: FixedMap | None = None
    fixed_move: FixedMap | None = None
    is_in_answers: bool = False

    @property
    def has_fixed_point(self) -> bool:
        return any(one is not None for one in (self.fixed_entry, self.fixed_total, self.fixed_move))
