"""A builder for the C function that computes the gradients of a node's inputs and trained tensors."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

from hdlif.deploy.c.c_file import CFile, Table
from hdlif.deploy.c.stage_text import Arithmetic, StageText
from hdlif.deploy.c.stages import Stage
from hdlif.graph.graph import INPUT, Node
from hdlif.graph.learning import Place


class BackwardText(StageText):
    """A builder that collects the C statements of a node's backward pass, with operations ordered as in `Op.backward`.

    In the innermost loop, `c` is the channel, and `i` is an index into the gradient [C, H, W] of the node's value.
    Values and states are taken from the forward pass of step `t`.

    Args:
        needed: the nodes whose gradient is needed.
        offsets: the offset of each value's gradient.
        begun: the values that already have a gradient from earlier nodes; updated in place.
    """

    arguments = "const NUMBER *frame, const WORK *work, LEARN_WORK *learn, GRADIENTS *sums, uint32_t t"

    def __init__(
        self,
        node: Node,
        file: CFile,
        arithmetic: Arithmetic,
        *,
        needed: frozenset[str],
        offsets: Mapping[str, int],
        begun: set[str],
    ) -> None:
        super().__init__(Stage((node,), (), (), ()), file, arithmetic)
        self.node, self._needed, self._offsets, self._begun = node, needed, offsets, begun

    @property
    def own(self) -> str:
        """Return a C pointer to the gradient of the node's value."""
        return self._gradient(self.node.name, "const ")

    def wants(self, place: int) -> bool:
        """Return whether the node's input at this place needs a gradient."""
        return self.node.inputs[place] in self._needed - {INPUT}

    def trains(self, role: str) -> bool:
        return Place(self.node.name, role) in self.file.learned

    def state_at(self, node: Node, name: str) -> str:
        return f"learn->{self.file.state_names[f'{node.name}.{name}']}[i]"

    def step_of_row(self, rows: int) -> str:
        return f"[row_of(t, {rows})]"

    def give(self, place: int, amount: str) -> None:
        """Add `amount` to the gradient of an input at entry `i`, if the input needs a gradient."""
        if self.wants(place):
            name = self.node.inputs[place]
            self.line(f"{self._gradient(name)}[i] {'+=' if name in self._begun else '='} {amount};")
            self._begun.add(name)

    def add(self, role: str, amount: str) -> None:
        """Add `amount` to the gradient of a tensor's row for the current step, if the tensor is trained."""
        if self.trains(role):
            self.line(f"{_total(self.file.rows(self.node, role))} += {amount};")

    def each_input(self, place: int, amount: str, *, at: str = "") -> None:
        """Write loops that add `amount` to an input's gradient at every channel `c`, row `y` and column `x`.

        Args:
            at: statements before the addition.
        """
        if not self.wants(place):
            return
        with self.pixels(self.node.inputs[place]):
            if at:
                self.line(at)
            self.give(place, amount)

    def each_window(self, node: Node, condition: str = "") -> None:
        """Write loops that sum, for each input entry of a pooling op, the gradients of all windows that contain the
        entry.

        Args:
            condition: statements before the sum, such as an `if`; the tap `tap` belongs to the output's entry `from`,
                at `row` and `column`.
        """
        self.file.use("output_of")
        (kernel_y, kernel_x), (stride_y, stride_x) = node.attributes["kernel"], node.attributes["stride"]
        (pad_y, pad_x), (_, height, width) = node.attributes.get("padding", (0, 0)), self.shape(node.name)
        total = (
            "NUMBER total = 0.0f;\n"
            f"for (int32_t tap = 0; tap < {kernel_y * kernel_x}; tap++) {{\n"
            f"const int32_t row = output_of(y, tap / {kernel_x}, {stride_y}, {pad_y}, 1, {height});\n"
            f"const int32_t column = output_of(x, tap % {kernel_x}, {stride_x}, {pad_x}, 1, {width});\n"
            "if (row < 0 || column < 0)\n"
            "continue;\n"
            f"const uint32_t from = (c * {height} + (uint32_t)row) * {width} + (uint32_t)column;\n"
            + (f"{condition}\n" if condition else "")
            + f"total += {self.own}[from];\n"
            "}"
        )
        self.each_input(0, "total", at=total)

    @contextlib.contextmanager
    def by_entry(self, *roles: str) -> Iterator[None]:
        """Write loops that sum the gradients of the tensors in `roles` over all entries of an elementwise op."""
        tables = [self._sums(role) for role in roles if self.trains(role)]
        channels, height, width = self.shape(self.node.name)
        whole, by_channel = ([table for table in tables if (table.columns == 1) == one] for one in (True, False))
        for table in whole:
            self.line(f"NUMBER {_total(table)} = 0.0f;")
        self.line(f"for (uint32_t c = 0, i = 0; c < {channels}; c++) {{")
        for table in by_channel:
            self.line(f"NUMBER {_total(table)} = 0.0f;")
        self.line(f"for (const uint32_t end = i + {height * width}; i < end; i++) {{")
        yield
        self.line("}")
        for table in by_channel:
            self.line(f"{table.name}__sums[c] += {_total(table)};")
        self.line("}")
        for table in whole:
            self.line(f"{table.name}__sums[0] += {_total(table)};")

    def _sums(self, role: str) -> Table:
        """Declare a pointer to the gradient sums of a tensor's current row."""
        table = self.file.rows(self.node, role)
        at = f" + row_of(t, {table.rows}) * {table.columns}" if table.rows > 1 else ""
        self.declare(f"NUMBER *{table.name}__sums = sums->{table.name.lower()}{at};")
        return table

    def _gradient(self, name: str, const: str = "") -> str:
        local = f"{self.file.names[name]}__back"
        self.declare(f"{const}NUMBER *{local} = learn->gradients + {self._offsets[name]};")
        return local


def _total(table: Table) -> str:
    return f"{table.name.lower()}__total"
