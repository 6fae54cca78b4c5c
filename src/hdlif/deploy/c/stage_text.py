"""Builders that write the C function of a stage: its loops, statements and fixed-point expressions."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hdlif.deploy.c.c_file import CFile, Table
from hdlif.deploy.c.fixed.values import ADDEND_BITS, LARGEST
from hdlif.deploy.c.stages import Stage, inputs_of
from hdlif.deploy.c.text import comment
from hdlif.graph.graph import INPUT, Node, Value
from hdlif.graph.learning import Place


@dataclass(frozen=True)
class Operand:
    """A C expression and a flag, which is True for an integer code and False for a number."""

    text: str
    is_code: bool


class Arithmetic(Protocol):
    """The interface for arithmetic in stages; `arithmetic.Floats` documents its members."""

    number: str
    local: str
    total: str

    def loops(self, op: str) -> Callable[[StageText, Node], None] | None: ...

    def entry(self, s: StageText, node: Node) -> str: ...

    def weights(self, node: Node) -> NDArray[Any]: ...

    def of_total(self, s: StageText, node: Node, total: str) -> str: ...

    def alike(self, s: StageText, node: Node, name: str, entry: str) -> str: ...

    def keep(self, node: Node, source: str, entry: str) -> str | None: ...


class StageText:
    """A builder that collects the C statements of a stage.

    The C variables of the innermost loop are the channel `c` and either the pixel `p` or the index `i` of an entry.
    """

    arguments, storage = "STATE *state, WORK *work, const NUMBER *frame", "static"

    def __init__(self, stage: Stage, file: CFile, arithmetic: Arithmetic) -> None:
        self.stage, self.file, self.arithmetic = stage, file, arithmetic
        self._declared: dict[str, None] = {}
        self._lines: list[str] = []
        self._local: dict[str, Operand] = {}
        # the bounds of expressions, the expressions common to all channels, and rounded expressions with their bits
        self.bounds: dict[str, tuple[int, int]] = {}
        self.common: set[str] = set()
        self.halves: dict[str, tuple[str, int]] = {}

    def value(self, name: str) -> Value:
        return self.file.values[name]

    def shape(self, name: str) -> tuple[int, int, int]:
        """Return the shape of a value as [C, H, W], or [C, 1, 1] for a vector."""
        channels, *rest = self.value(name).shape
        height, width = rest or (1, 1)
        return channels, height, width

    def line(self, text: str) -> None:
        self._lines.append(text)

    def carry(self, declaration: str) -> None:
        """Add a declaration before the loop over time steps, if there is such a loop."""
        self.line(declaration)

    def declare(self, text: str) -> None:
        """Add a statement before all loops, unless the same statement has already been added."""
        self._declared[text] = None

    def pointer(self, name: str) -> str:
        """Declare a local pointer to the entries of a stored value, and return the pointer's name."""
        base = self.file.base[name]
        if base == INPUT:
            return "frame"
        is_code = self.value(base).max_code is not None
        array, kind = ("codes", "uint8_t") if is_code else ("numbers", "NUMBER")
        # no name in the kernels contains two underscores
        local = f"{self.file.names[base]}__map"
        const = "" if base in self.stage.stored else "const "
        self.declare(f"{const}{kind} *{local} = work->{array} + {self.file.offsets[base]};")
        return local

    def state_at(self, node: Node, name: str) -> str:
        """Return a C expression for a node's state at the current entry."""
        return f"state->{self.file.state_names[f'{node.name}.{name}']}[i]"

    def at(self, name: str, c: str, p: str) -> str:
        """Return a C expression for the entry of a stored value or of the input at channel `c` and pixel `p`."""
        _, height, width = self.shape(name)
        return f"{self.pointer(name)}[({c}) * {height * width} + {p}]"

    def here(self, name: str) -> str:
        """Return a C expression for the current entry of a value."""
        return f"{self.pointer(name)}[i]"

    def load(self, name: str) -> str:
        """Return a C expression that loads the current entry of a value."""
        return self.here(name)

    def loaded(self, kind: str, text: str, apart: int = 1) -> str:
        """Return a C expression that loads a constant or an array entry of the kind `numbers`, `totals` or `codes`.

        Args:
            apart: distance between neighbouring channels, in entries.
        """
        return text

    def store(self, name: str, value: str) -> None:
        self.line(f"{self.here(name)} = {value};")

    def local(self, is_code: bool) -> str:
        """Return the C type of a local variable for codes or numbers."""
        return "uint8_t" if is_code else self.arithmetic.local

    def expressions(self, node: Node) -> Expressions:
        return Expressions(self, node)

    def input(self, node: Node, place: int) -> Operand:
        """Return the current entry of a node's input as an operand."""
        name = inputs_of(node)[place]
        if name in self._local:
            return self._local[name]
        return Operand(self.load(name), self.value(name).max_code is not None)

    def number(self, node: Node, place: int) -> str:
        operand = self.input(node, place)
        return f"(NUMBER){operand.text}" if operand.is_code else operand.text

    def row(self, node: Node, key: str, values: NDArray[Any] | None = None) -> str:
        """Return a C expression for the entry of a node's tensor `key` at the current step and channel.

        Args:
            values: values that replace the node's own in the table.
        """
        table = self.file.rows(node, key, values)
        if table.literal is not None:
            return table.literal
        self._name_learned(table)
        step = self.step_of_row(table.rows) if table.rows > 1 else ""
        if step == "[t]":
            return f"{table.name}[t]" + ("[c]" if table.columns > 1 else "")
        local = f"{table.name}__now"
        if table.columns == 1:
            self.declare(f"const {table.type} {local} = {table.name}{step or '[0]'};")
            return local
        self.declare(f"const {table.type} *{local} = {table.name}{step};")
        return f"{local}[c]"

    def step_of_row(self, rows: int) -> str:
        return f"[row_of(state->t, {rows})]"

    def rows(self, node: Node, key: str, values: NDArray[Any] | None = None) -> str:
        """Return a C pointer to the current step's row of a tensor whose columns are not channels. The arguments are as
        in `row`.
        """
        table = self.file.rows(node, key, values, as_table=True)
        self._name_learned(table)
        if table.rows == 1:
            return table.name
        local = f"{table.name}__now"
        at = f"row_of(state->t, {table.rows})"
        row = f"{table.name}[{at}]" if table.columns > 1 else f"{table.name} + {at}"
        self.declare(f"const {table.type} *{local} = {row};")
        return local

    def _name_learned(self, table: Table) -> None:
        """Declare a local name for a learned table."""
        if table.learned:
            member, kind, row = f"learned->{table.name.lower()}", f"const {table.type}", f"[{table.columns}]"
            if 1 in (table.rows, table.columns):
                self.declare(f"{kind} *{table.name} = {member};")
            else:
                self.declare(f"{kind} (*{table.name}){row} = ({kind} (*){row}){member};")

    def weights(self, node: Node, kind: str) -> str:
        """Return the name of a layer's weight array, whose entries have the C type `kind`."""
        name = self.file.weights(node)
        if Place(node.name, "weight") in self.file.learned:
            self.declare(f"const {kind} *{name} = learned->{name.lower()};")
        return name

    @contextlib.contextmanager
    def channels(self, name: str) -> Iterator[None]:
        """Write a loop over the channels of a value at pixel `p`, for use after all sums have been computed."""
        channels, height, width = self.shape(name)
        self.line(f"for (uint32_t c = 0; c < {channels}; c++) {{")
        self.line(f"const uint32_t i = c * {height * width} + p;")
        yield
        self.line("}")

    @contextlib.contextmanager
    def pixels(self, name: str) -> Iterator[None]:
        """Write loops over the channels `c`, rows `y` and columns `x` of a value."""
        channels, height, width = self.shape(name)
        self.line(f"for (uint32_t c = 0, i = 0; c < {channels}; c++) {{")
        self.line(f"for (uint32_t y = 0; y < {height}; y++) {{")
        self.line(f"for (uint32_t x = 0; x < {width}; x++, i++) {{")
        yield
        for _ in range(3):
            self.line("}")

    def each_entry(self, node: Node, value: str | None = None, *, at: str = "") -> None:
        """Write loops that set all entries of a node's value to `value`, or by default to the op's expression.

        Args:
            at: statement before `value`.
        """
        channels, height, width = self.shape(node.name)
        self.line(f"for (uint32_t c = 0, i = 0; c < {channels}; c++) {{")
        if height * width > 1:
            self.line(f"for (const uint32_t end = i + {height * width}; i < end; i++) {{")
        else:
            self.line("{")
        self.entry(value, at=at)
        if height * width == 1:
            self.line("i++;")
        self.line("}")
        self.line("}")

    def entry(self, value: str | None = None, *, at: str = "") -> None:
        """Write the current entry of every node in the stage; `value`, if given, is the entry of the first node.

        Args:
            at: statements before `value`.
        """
        self._nodes(self.stage.nodes, value, at)

    def _nodes(self, nodes: Sequence[Node], value: str | None, at: str) -> None:
        if at:
            self.line(at)
        for node in nodes:
            found = self.arithmetic.entry(self, node) if value is None or node is not self.stage.nodes[0] else value
            is_code = self.value(node.name).max_code is not None
            local = f"{self.file.names[node.name]}__i"
            self.line(f"const {self.local(is_code)} {local} = {found};")
            if found in self.bounds:
                self.bounds[local] = self.bounds[found]
            self._local[node.name] = Operand(local, is_code)
        # store values last, because they may overwrite values that the nodes read
        for node in nodes:
            if node.name in self.stage.stored:
                self.store(node.name, self._local[node.name].text)

    def total_of(self, node: Node) -> str:
        """Return the C type of the sums of a pooling op."""
        return self.arithmetic.total if self.value(node.name).max_code is None else "uint32_t"

    def from_total(self, node: Node, total: str) -> str:
        """Return a C expression that converts the sum of a pooling op to the format of the op's value."""
        if self.value(node.name).max_code is not None:
            return f"(uint8_t){total}"
        return self.arithmetic.of_total(self, node, total)

    def function(self, name: str) -> str:
        first = self.stage.nodes[0]
        loops = self.arithmetic.loops(first.op)
        if loops is not None:
            loops(self, first)
        else:
            self.each_entry(first)
        return self.written(name, ", ".join(f"{node.name} ({node.op})" for node in self.stage.nodes))

    def written(self, name: str, what: str) -> str:
        """Return a C function with a comment and the collected statements."""
        body = "\n".join(_read((*self._declared, *self._lines)))
        arguments = self.arguments + self.file.with_learned
        unused = [one for one in re.findall(r"[ *](\w+)(?:,|$)", arguments) if not re.search(rf"\b{one}\b", body)]
        return (
            f"/* {comment(what)} */\n"
            f"{self.storage} void {name}({arguments})\n{{\n"
            + "".join(f"(void){one};\n" for one in unused)
            + f"{body}\n}}\n"
        )


def _read(lines: Sequence[str]) -> list[str]:
    """Remove unused local variables, including unused local names of learned tensors."""
    found: list[str] = []
    words: set[str] = set()
    for line in reversed(lines):
        made = re.match(r"(?:const )?\w+ \(?\*?(\w+__(?:r\d+|now|map)|[A-Z][A-Z0-9_]*)(?:\)\[\d+\])? = ", line)
        if made is None or made[1] in words:
            found.append(line)
            words.update(re.findall(r"\w+", line))
    return found[::-1]


@dataclass
class Expressions:
    """Integer arithmetic that builds nested C expressions.

    The stage's `bounds` maps each expression to its smallest and largest possible values. An expression is saturated
    only if its value could exceed the limit.
    """

    s: StageText
    node: Node
    count: int = 0

    def bounded(self, a: str, least: int, most: int) -> str:
        """Record the bounds `least` and `most` of an expression, and return the expression."""
        self.s.bounds.setdefault(a, (least, most))
        return a

    def bounds(self, a: str) -> tuple[int, int]:
        return self.s.bounds.get(a, (-(2**31), 2**31 - 1))

    def constant(self, value: int) -> str:
        return self.bounded(str(value) if value >= 0 else f"({value})", value, value)

    def rows(self, key: str, table: NDArray[np.int64]) -> str:
        least, most = int(table.min()), int(table.max())
        if Place(self.node.name, key) in self.s.file.learned:
            least, most = -(2**ADDEND_BITS), 2**ADDEND_BITS
        return self.bounded(self.s.row(self.node, key, table), least, most)

    def plus(self, a: str, b: str) -> str:
        ends = [x + y for x, y in zip(self.bounds(a), self.bounds(b), strict=True)]
        return a if b == "0" else self.bounded(f"({a} + {b})", *ends)

    def minus(self, a: str, b: str) -> str:
        (least, most), (small, large) = self.bounds(a), self.bounds(b)
        return self.bounded(f"({a} - {b})", least - large, most - small)

    def times(self, a: str, b: str) -> str:
        products = [x * y for x in self.bounds(a) for y in self.bounds(b)]
        return a if b == "1" else self.bounded(f"({a} * {b})", min(products), max(products))

    def rounded(self, a: str, bits: int) -> str:
        return self.shifted_down(self.plus(a, self.constant(1 << (bits - 1))), bits)

    def shifted_down(self, a: str, bits: int) -> str:
        # also for negative values: source.py makes the compiler check that >> rounds down
        least, most = self.bounds(a)
        return self.bounded(f"({a} >> {bits})", least >> bits, most >> bits)

    def at_most(self, a: str, b: str) -> str:
        (least, most), (small, large) = self.bounds(a), self.bounds(b)
        if most <= small:
            return a
        if least >= 0 and small == large and (large + 1).bit_count() == 1:
            return self._call("at_most_bits", least, large, a, str(large.bit_length()))
        return b if large <= least else self._call("at_most", min(least, small), min(most, large), a, b)

    def at_least(self, a: str, b: str) -> str:
        (least, most), (small, large) = self.bounds(a), self.bounds(b)
        if least >= large:
            return a
        return b if small >= most else self._call("at_least", max(least, small), max(most, large), a, b)

    def greater(self, a: str, b: str) -> str:
        return self.bounded(f"({a} > {b})", 0, 1)

    def greater_equal(self, a: str, b: str) -> str:
        return self.bounded(f"({a} >= {b})", 0, 1)

    def select(self, chosen: str, a: str, b: str) -> str:
        ends = (*self.bounds(a), *self.bounds(b))
        return self.bounded(f"({chosen} != 0 ? {a} : {b})", min(ends), max(ends))

    def saturated(self, a: str) -> str:
        least, most = self.bounds(a)
        if least >= -LARGEST - 1 and most <= LARGEST:
            return a
        held = [min(max(end, -LARGEST - 1), LARGEST) for end in (least, most)]
        return self._call("saturated", held[0], held[1], a)

    def kept(self, a: str) -> str:
        return self.local(a, self.s.local(False))

    def local(self, a: str, kind: str) -> str:
        """Declare a local variable with the value `a` and the C type `kind`, and return the variable's name."""
        self.count += 1
        name = f"{self.s.file.names[self.node.name]}__r{self.count}"
        self.s.line(f"const {kind} {name} = {a};")
        return self.bounded(name, *self.bounds(a))

    def _call(self, name: str, least: int, most: int, *operands: str) -> str:
        return self.bounded(f"{name}({', '.join(operands)})", least, most)
