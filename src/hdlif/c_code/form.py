"""What an op becomes in C: loops that fill a map, or the value of one entry."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hdlif.ops import Node

if TYPE_CHECKING:
    from hdlif.c_code.stage_text import StageText

Loops = Callable[["StageText", Node], None]
"""Writes loops over the entries of a node's value, with `StageText.entry` in the innermost."""
EntryForm = Callable[["StageText", Node], str]
"""The value of the entry at hand, as an expression of type number or of a code; statements go in front of it."""


@dataclass(frozen=True)
class Form:
    """The forms of the op of that name: loops, or an entry; an op that moves nothing has neither.

    Attributes:
        entry: of the operations in float32.
    """

    op: str
    loops: Loops | None = None
    entry: EntryForm | None = None
