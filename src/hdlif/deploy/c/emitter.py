"""Emitters that translate ops to C, either as loops that fill a map or as an expression for one entry."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from hdlif.deploy.c.backward_text import BackwardText
from hdlif.deploy.c.fixed.values import Integers, Scaled
from hdlif.deploy.c.stage_text import StageText
from hdlif.graph.graph import Node

Loops = Callable[[StageText, Node], None]
"""Function that writes loops over the entries of a node's value, with `StageText.entry` in the innermost loop."""
Backward = Callable[[BackwardText, Node], None]
"""Function that writes the loops of an op's backward pass, with the operations in the order of `Op.backward`."""
FixedLoops = Callable[[StageText, Any, Node], None]
"""Function (stage, `FixedPoint`, node) that writes loops in fixed point."""
EntryText = Callable[[StageText, Node], str]
"""Function that writes statements, and returns an expression of type number or code for the current entry."""
FixedEntry = Callable[[Integers, Any, Node, Sequence[Scaled], dict[str, Any]], Scaled]
"""Function (arithmetic, `FixedPoint`, node, inputs, states by name) -> fixed-point value; it replaces the states."""
FixedMap = Callable[[Any, Node, Sequence[Scaled], int], Scaled]
"""Function (`FixedPoint`, node, inputs, time step) -> result of the loops, on arrays of integers [B, ...]."""


@dataclass(frozen=True)
class Emitter:
    """An op's translation to C, either as loops or as an expression for one entry. View ops, such as `flatten`, require
    no C code.

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
