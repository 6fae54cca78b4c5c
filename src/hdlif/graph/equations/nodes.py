"""Deduplicated operations of a step, with rewriting rules that save operations.

Nodes are numbered in order of appearance; the current and the states come before constants, rows and operations. The
rewriting rules (`_rewritten`) preserve the value for all finite inputs, up to one omitted rounding.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from hdlif.errors import cut
from hdlif.graph.equations.program import OPERATIONS, Instruction, Program

LONGEST_ROW_NAME = 60
_ARITHMETIC: Mapping[str, tuple[str, Callable[[Any, Any], Any]]] = {
    "add": ("+", operator.add),
    "subtract": ("-", operator.sub),
    "multiply": ("*", operator.mul),
}
_Choice = tuple[int, int, int]
"""Nodes (h, a, b) of a choice: a if h is 1, b if h is 0."""


class Nodes:
    """The operations and rows of one step.

    Args:
        states: the names of the states.
        binary: states that are always 1 or 0.
    Attributes:
        as_written: whether to keep each operation as written, with the data for its derivative.
    """

    as_written = False

    def __init__(self, states: tuple[str, ...], binary: frozenset[str] = frozenset()) -> None:
        self._states = states
        self._nodes: list[Instruction | tuple[str, Any]] = []
        self._numbers: dict[Any, int] = {}
        self._rows: dict[str, int] = {}
        self._binary = {number for number, name in enumerate(states, 1) if name in binary}

    def constant(self, value: float) -> int:
        return self._add(Instruction("constant", (), value))

    def number(self, value: Any) -> int:
        """Return the node of a one-element array that is not a parameter."""
        return self.constant(float(value.item()))

    def surrogate(self, function: Any) -> str:
        """Return the name of a surrogate."""
        return str(function)

    def row(self, name: str, value: Any, source: Any) -> int:
        """Return the node of a parameter, or of a function of parameters."""
        name = cut(name, LONGEST_ROW_NAME)
        # Equal texts may have different values, for example 1 - leak before and after a reassignment of leak.
        while name in self._rows and not _alike(self._value(self._rows[name]), value):
            name += "'"
        if name not in self._rows:
            self._add_row(name, value)
        return self._rows[name]

    def _add_row(self, name: str, value: Any) -> None:
        self._nodes.append((name, value))
        self._rows[name] = len(self._states) + len(self._nodes)

    def operation(
        self,
        name: str,
        operands: tuple[int, ...],
        surrogate: str | None = None,
        *,
        form: str = "",
        stopped: tuple[int, ...] = (),
    ) -> int:
        """Return the node of an operation. The arguments `form` and `stopped` affect only the derivative."""
        rewritten = self._rewritten(name, operands)
        return rewritten if rewritten is not None else self._add(Instruction(name, operands, 0.0, surrogate))

    def program(self, results: Sequence[int]) -> tuple[Program, dict[str, Any]]:
        """Return a program of the nodes without unused operations, and the values of the program's rows."""
        first = 1 + len(self._states)
        needed = set(results)
        for number in range(first + len(self._nodes) - 1, first - 1, -1):
            if number in needed and isinstance(node := self._node(number), Instruction):
                needed.update(node.operands)
        rows = [name for name, number in self._rows.items() if number in needed]
        register = {number: number for number in range(first)}
        register |= {self._rows[name]: place for place, name in enumerate(rows, first)}
        instructions: list[Instruction] = []
        for number, node in enumerate(self._nodes, first):
            if isinstance(node, Instruction) and number in needed:
                register[number] = first + len(rows) + len(instructions)
                instructions.append(replace(node, operands=tuple(register[operand] for operand in node.operands)))
        spike, *after = (register[number] for number in results)
        program = Program(self._states, tuple(rows), tuple(instructions), spike, tuple(after))
        return program, {name: self._value(self._rows[name]) for name in rows}

    def _add(self, instruction: Instruction) -> int:
        if instruction not in self._numbers:
            self._nodes.append(instruction)
            self._numbers[instruction] = len(self._states) + len(self._nodes)
        return self._numbers[instruction]

    def _node(self, number: int) -> Instruction | tuple[str, Any] | None:
        """Return the operation or row with the given number, or None for the current and the states."""
        place = number - 1 - len(self._states)
        return self._nodes[place] if place >= 0 else None

    def _is(self, number: int, *operations: str) -> Instruction | None:
        node = self._node(number)
        return node if isinstance(node, Instruction) and node.operation in operations else None

    def _value(self, number: int) -> Any:
        """Return the value of a row or a constant, or None for values that differ between neurons."""
        node = self._node(number)
        if isinstance(node, Instruction):
            return node.value if node.operation == "constant" else None
        return None if node is None else node[1]

    def _constant(self, number: int) -> float | None:
        node = self._is(number, "constant")
        return None if node is None else node.value

    def _is_binary(self, number: int) -> bool:
        node = self._node(number)
        if not isinstance(node, Instruction):
            return number in self._binary
        if node.operation == "select":
            return all(map(self._is_binary, node.operands[1:]))
        return OPERATIONS[node.operation].is_binary or (node.operation == "constant" and node.value in (0.0, 1.0))

    def _rewritten(self, name: str, operands: tuple[int, ...]) -> int | None:
        """Return a node that is equivalent to the operation up to rounding, or None if no rule applies.

        The following rules rewrite operations, where h is 1 or 0:

            m - max(0, m - θ)                        min(θ, m), without the rounding of the difference
            p > q ? q : p,  p > q ? p : q            min(q, p),  max(q, p); either for equal values
            1 - γ·h, A·(h ? a : b), ...              h ? A·a : A·b, if both are free, such as parameters only
            x ± h·y                                  h ? x ± y : x
        """
        if name == "select":
            return self._extreme(*operands)
        if name not in _ARITHMETIC:
            return None
        a, b = operands
        for rule in (self._least, self._distributed, self._chosen):
            if (found := rule(name, a, b)) is not None:
                return found
        return None

    def _least(self, name: str, a: int, b: int) -> int | None:
        surplus = self._is(b, "maximum") if name == "subtract" else None
        if surplus is None or self._constant(surplus.operands[0]) != 0:
            return None
        difference = self._is(surplus.operands[1], "subtract")
        if difference is None or difference.operands[0] != a:
            return None
        return self._add(Instruction("minimum", (difference.operands[1], a)))

    def _extreme(self, chosen: int, a: int, b: int) -> int | None:
        compared = self._is(chosen, "greater", "greater_equal")
        if compared is None or {a, b} != set(compared.operands) or a == b:
            return None
        greater, less = compared.operands
        # In canonical order, a parameter comes first.
        ordered = (greater, less) if self._value(greater) is not None else (less, greater)
        return self._add(Instruction("minimum" if a == less else "maximum", ordered))

    def _distributed(self, name: str, a: int, b: int) -> int | None:
        first, second = self._choice(a), self._choice(b)
        deciding = {choice[0] for choice in (first, second) if choice is not None}
        if len(deciding) != 1:
            return None
        if name == "multiply" and self._is_size(a, b):
            return None
        chosen = deciding.pop()
        branches = [
            self._free(name, a if first is None else first[place], b if second is None else second[place])
            for place in (1, 2)
        ]
        after_spike, otherwise = branches
        if after_spike is None or otherwise is None:
            return None
        if (self._constant(after_spike), self._constant(otherwise)) == (1, 0):
            return chosen
        if self._constant(otherwise) == 0 and self._value(after_spike) is not None:
            # Keep spike and size separate.
            return self._add(Instruction("multiply", (after_spike, chosen)))
        return self._add(Instruction("select", (chosen, after_spike, otherwise)))

    def _is_size(self, a: int, b: int) -> bool:
        """Return whether `a` · `b` is a spike times a parameter that a weight may absorb."""
        return any(self._is_binary(x) and self._value(y) is not None for x, y in ((a, b), (b, a)))

    def _choice(self, number: int) -> _Choice | None:
        """Return (h, a, b) if a node is h, h times a parameter, or a `select` on h; otherwise return None."""
        if self._constant(number) is not None:
            return None
        if (node := self._is(number, "select")) is not None and self._is_binary(node.operands[0]):
            return node.operands[0], node.operands[1], node.operands[2]
        if self._is_binary(number):
            return number, self.constant(1.0), self.constant(0.0)
        if (node := self._is(number, "multiply")) is not None:
            for chosen, size in (node.operands, node.operands[::-1]):
                if self._is_binary(chosen) and self._value(size) is not None:
                    return chosen, size, self.constant(0.0)
        return None

    def _free(self, name: str, a: int, b: int) -> int | None:
        """Return the node with the result of a free operation, or None if the operation is not free."""
        constants = self._constant(a), self._constant(b)
        match name, constants:
            case ("multiply", (0.0, _) | (_, 0.0)):
                return self.constant(0.0)
            case ("multiply", (1.0, _)) | ("add", (0.0, _)):
                return b
            case ("multiply", (_, 1.0)) | ("add" | "subtract", (_, 0.0)):
                return a
        values = self._value(a), self._value(b)
        if all(value is not None for value in values):
            sign, compute = _ARITHMETIC[name]
            value = compute(*values)
            text = f"({f' {sign} '.join(self._text(number) for number in (a, b))})"
            return self.constant(value) if isinstance(value, float) else self.row(text, value, None)
        return self._numbers.get(Instruction(name, (a, b)))

    def _text(self, number: int) -> str:
        node = self._node(number)
        return node[0] if isinstance(node, tuple) else f"{self._constant(number):g}"

    def _chosen(self, name: str, a: int, b: int) -> int | None:
        product = self._is(b, "multiply") if name in ("add", "subtract") else None
        if product is None:
            return None
        for chosen, other in (product.operands, product.operands[::-1]):
            if self._is_binary(chosen) and self._constant(chosen) is None:
                both = self._add(Instruction(name, (a, other)))
                return self._add(Instruction("select", (chosen, both, a)))
        return None


def _alike(a: Any, b: Any) -> bool:
    """Return whether two rows contain equal numbers, or are the same object if the rows have no values."""
    if a is b or getattr(a, "is_meta", False) or getattr(b, "is_meta", False):
        return a is b
    return bool(tuple(a.shape) == tuple(b.shape) and (a == b).all())
