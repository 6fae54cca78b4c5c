"""Literal steps for training, which contain every operation as written and the data for derivatives.

`trace` rewrites a deployed program to save operations. A rewritten program computes the same values up to rounding, but
derivatives may differ if two values are equal. Training follows the equation literally. The literal step preserves the
order and rounding of operations, stopped gradients, and the gradients of functions of parameters. If the operands of a
maximum are equal, the gradient is routed as in the original function.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hdlif.errors import cut
from hdlif.graph.equations.nodes import LONGEST_ROW_NAME, Nodes
from hdlif.graph.equations.program import Instruction, Program
from hdlif.graph.equations.symbols import Known, Symbol


@dataclass(frozen=True)
class WrittenStep:
    """A traced step, which runs forward and backward without the original Python code.

    Attributes:
        program: the program, with the derivative fields of `Instruction`.
        sources: the source of each row: a function of the parameters, or a number or one-element array that the step
            reads.
        parameters: symbols of the parameters.
        surrogates: derivatives of step functions, by name.
        stopped: positions in (spike, *states) of results without a gradient.
        current_is_kept: whether the current stays in memory until the backward pass anyway, so saving it is free.
    """

    program: Program
    sources: tuple[Any, ...]
    parameters: tuple[Symbol, ...]
    surrogates: Mapping[str, Callable[..., Any]]
    stopped: frozenset[int] = frozenset()
    current_is_kept: bool = False

    def rows(self, parameters: Sequence[Any]) -> list[Any]:
        """Return the rows for these parameter values. Numbers and one-element arrays keep their current values."""
        known: Known = {id(symbol): value for symbol, value in zip(self.parameters, parameters, strict=True)}
        return [_now(source, known) for source in self.sources]

    def extreme(self, register: int) -> Instruction | None:
        """Convert a `select` on p > q to min(q, p) or max(q, p), or return None for any other operation.

        If the operands are equal, such as 0 and -0, either operand may be the result.
        """
        first, instructions = self.program.first, self.program.instructions
        instruction = instructions[register - first]
        if instruction.operation != "select" or instruction.operands[0] < first:
            return None
        condition, a, b = instruction.operands
        compared = instructions[condition - first]
        if compared.operation not in ("greater", "greater_equal") or a == b or {a, b} != set(compared.operands):
            return None
        return Instruction("minimum" if a == compared.operands[1] else "maximum", compared.operands)


def _now(source: Any, known: Known) -> Any:
    if isinstance(source, Symbol):
        return source._at(known)
    return source if isinstance(source, float) else source.reshape(1)


class WrittenNodes(Nodes):
    """The operations of one step, kept as written.

    Attributes:
        sources: the sources of the rows, by name.
        surrogates: the surrogates, by name.
    """

    as_written = True

    def __init__(self, states: tuple[str, ...]) -> None:
        super().__init__(states)
        self.sources: dict[str, Any] = {}
        self.surrogates: dict[str, Callable[..., Any]] = {}
        self._named: dict[Any, str] = {}

    def constant(self, value: float) -> int:
        # Instructions contain float32 numbers; a step in float64 needs 0.1 in full precision.
        if Instruction("constant", (), value).value == value or value != value:
            return super().constant(value)
        return self.row(repr(value), value, value)

    def number(self, value: Any) -> int:
        return self.row(f"number {len(self.sources)}", value, value)

    def surrogate(self, function: Any) -> str:
        name = str(function)
        while self.surrogates.setdefault(name, function) is not function:
            name += "'"
        return name

    def row(self, name: str, value: Any, source: Any) -> int:
        """Return the node of a row. Equal numbers share a row, but other sources with equal names do not."""
        key = ("number", source) if isinstance(source, float) else id(source)
        if key not in self._named:
            name = cut(name, LONGEST_ROW_NAME)
            while name in self.sources:
                name += "'"
            self._named[key] = name
            self.sources[name] = source
            self._add_row(name, value)
        return self._rows[self._named[key]]

    def operation(
        self,
        name: str,
        operands: tuple[int, ...],
        surrogate: str | None = None,
        *,
        form: str = "",
        stopped: tuple[int, ...] = (),
    ) -> int:
        return self._add(Instruction(name, operands, 0.0, surrogate, form, stopped))
