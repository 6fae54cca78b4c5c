"""Recognise programs that NIR can express as leaky neurons with a threshold, a hard reset and spikes of 1.

`plain_name` converts node names to identifiers, because NIR readers use names as module attributes and HDF5 groups.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdlif.graph.equations import Program
from hdlif.graph.graph import Node
from hdlif.graph.ops.program import named_rows, program_of

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class HardLIF:
    """A neuron m = leak·v + x that emits 1 and sets v = reset if m >= threshold, and otherwise sets v = m.

    All fields are float64 arrays of shape [1, C or 1].
    """

    leak: Floats
    threshold: Floats
    reset: Floats

    @property
    def integrates(self) -> bool:
        """Return whether the leak is 1 in all channels."""
        return bool((self.leak == 1).all())


def hard_lif(node: Node) -> HardLIF | str:
    """Return the neuron of a `program` node, or the reason why NIR has no counterpart."""
    program, rows = program_of(node), named_rows(node)
    kind = str(node.attributes["kind"])
    if not node.attributes.get("fires", True):
        return f"{kind}, an equation that emits values instead of spikes"
    if not program.is_binary(program.spike):
        return f"{kind}, whose spikes are graded"
    if len(program.states) != 1:
        return f"{kind}, a neuron with {len(program.states)} states"
    found = _matched(program, rows)
    if found is None:
        return f"{kind}, which is not a leaky neuron with a hard reset"
    if isinstance(found, str):
        return f"{kind} with {found}"
    if changing := [name for name, value in vars(found).items() if len(value) > 1]:
        return f"{kind} whose {' and '.join(changing)} change{'s' * (len(changing) == 1)} from step to step"
    if not ((found.leak >= 0) & (found.leak <= 1)).all():
        return f"{kind} with a leak outside of [0, 1]"
    if (found.leak == 1).any() and not (found.leak == 1).all():
        return f"{kind} with a leak of 1 in some channels and not in all"
    return found


def _matched(program: Program, rows: Mapping[str, Any]) -> HardLIF | str | None:
    """Return the neuron's parameters, a description of an unsupported reset, or None for any other equation."""
    potential = 1

    def made(register: int, operation: str) -> tuple[int, ...] | None:
        """Return a register's operands if `operation` computes the register; otherwise return None."""
        if register < program.first:
            return None
        instruction = program.instructions[register - program.first]
        return instruction.operands if instruction.operation == operation else None

    def value(register: int) -> Floats | None:
        """Return a register's value if the register contains a row or a constant; otherwise return None."""
        if (constant := program.constant(register)) is not None:
            return np.full((1, 1), constant)
        if 1 + len(program.states) <= register < program.first:
            return np.asarray(rows[program.rows[register - 1 - len(program.states)]], np.float64)
        return None

    compared = made(program.spike, "greater_equal")
    if compared is None and (difference := made(program.spike, "step")) is not None:
        compared = made(difference[0], "subtract")
    if compared is None:
        return None
    membrane, threshold = compared[0], value(compared[1])
    added = made(membrane, "add")
    if threshold is None or added is None or 0 not in added:
        return None
    decayed = added[1] if added[0] == 0 else added[0]
    leak: Floats | None = np.ones((1, 1)) if decayed == potential else None
    if (product := made(decayed, "multiply")) is not None and potential in product:
        leak = value(product[1] if product[0] == potential else product[0])
    if leak is None:
        return None
    chosen = made(program.after[0], "select")
    if chosen is None or chosen[0] != program.spike or chosen[2] != membrane:
        return "a reset other than a hard one" if chosen is None else None
    reset = value(chosen[1])
    if reset is None:
        return "a soft reset" if made(chosen[1], "subtract") == (membrane, compared[1]) else "another reset"
    return HardLIF(leak, threshold, reset)


def plain_name(name: str, taken: Collection[str]) -> str:
    """Convert `name` to an identifier that is not in `taken`.

    >>> plain_name("layer1.0.conv1", ()), plain_name("0", ()), plain_name("a.b", {"a_b"})
    ('layer1_0_conv1', 'node_0', 'a_b_2')
    """
    plain = re.sub(r"\W", "_", name, flags=re.ASCII)
    if not plain or not plain[0].isalpha():
        plain = f"node_{plain}"
    found, count = plain, 1
    while found in taken:
        count += 1
        found = f"{plain}_{count}"
    return found
