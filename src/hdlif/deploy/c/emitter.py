"""Emitters of ops in C, which write loops that fill a map, or an expression for one entry."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from hdlif.deploy.c.backward_text import BackwardText
from hdlif.deploy.c.fixed.values import Integers, Scaled
from hdlif.deploy.c.stage_text import StageText
from hdlif.graph.graph import Node

Loops = Callable[[StageText, Node], None]
"""Writes loops over the entries of a node's value, with `StageText.entry` in the innermost."""
Backward = Callable[[BackwardText, Node], None]
"""Writes the loops of an op's backward pass, `Op.backward` in the same order of operations."""
FixedLoops = Callable[[StageText, Any, Node], None]
"""Writes loops in fixed point: (stage, `FixedPoint`, node)."""
EntryText = Callable[[StageText, Node], str]
"""Value of the current entry, as an expression of type number or code; statements precede it."""
FixedEntry = Callable[[Integers, Any, Node, Sequence[Scaled], dict[str, Any]], Scaled]
"""Value in fixed point: (arithmetic, `FixedPoint`, node, inputs, states by name, to be replaced) -> value."""
FixedMap = Callable[[Any, Node, Sequence[Scaled], int], Scaled]
"""Result of the loops at a time step, on arrays of integers [B, ...]."""


@dataclass(frozen=True)
class Emitter:
    """The emitter of an op's C code, as loops or as an expression for one entry; views have neither.

    Attributes:
        entry: the operations in float32.
        backward: the gradients in float32; None without `Op.backward`.
        fixed_loops: the loops in fixed point, if they differ.
        fixed_entry: the operations in fixed point.
        fixed_total: the sums before rounding to the bits of the value.
        fixed_move: the oracle of an op that changes no number.
        is_in_answers: whether the function for all time steps supports the op; networks with other ops have no such
            function.
    """

    op: str
    loops: Loops | None = None
    entry: EntryText | None = None
    backward: Backward | None = None
    fixed_loops: FixedLoops | None = None
    fixed_entry: FixedEntry | None = None
    fixed_total: FixedMap | None = None
    fixed_move: FixedMap | None = None
    is_in_answers: bool = False

    @property
    def has_fixed_point(self) -> bool:
        return any(one is not None for one in (self.fixed_entry, self.fixed_total, self.fixed_move))
