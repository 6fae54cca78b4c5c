"""A graph as one C99 file and its header."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdlif.c_code import kernels
from hdlif.c_code.arena import lifetimes, placed
from hdlif.c_code.arithmetic import Arithmetic
from hdlif.c_code.ops import FORMS
from hdlif.c_code.stage_text import StageText
from hdlif.c_code.stages import bases, needed, stages
from hdlif.c_code.text import distinct, literal, table
from hdlif.c_code.weights import LARGEST_LANE, TOGETHER, pairs, rows_of
from hdlif.ops import Graph, Node, infer_values, state_names
from hdlif.ops.conv2d import dilation_of, groups_of
from hdlif.ops.graph import INPUT

LISTED = 256
"""Most codes of a window that are listed before they are added up."""


@dataclass(frozen=True)
class Table:
    """The rows of a tensor in C; of one number alone, the number."""

    name: str
    type: str
    rows: int
    columns: int
    literal: str | None = None


@dataclass(frozen=True)
class Sums:
    """The call that adds up a pixel's sums, and the value of channel c of it."""

    call: str
    value: str


class Translation:
    """Writes the parts of the file, as the ops ask for them.

    Attributes:
        offsets: of stored values, in the array of their type.
        data_bytes: of all tables.
    """

    def __init__(self, graph: Graph, arithmetic: Arithmetic) -> None:
        self.graph, self.forms, self.arithmetic = graph, FORMS, arithmetic
        self.values, self.base = infer_values(graph), bases(graph)
        self.nodes, self.stages = needed(graph), stages(graph, self.values)
        self.names = distinct(node.name for node in graph.nodes)
        carried = [f"{node.name}.{name}" for node in self.nodes for name in state_names(node)]
        self.state_names = distinct(carried, {"t", "state", "work", "frame"})
        self.data_bytes = self.additions = 0
        self.sums = self.totals = self.listed = 0
        self.longest_window = 0
        self._tables: list[str] = []
        self._made: dict[tuple[str, str], Table] = {}
        self._kernels: dict[str, str] = {}
        self._includes = {"stdint.h", "string.h"}
        self._place()

    def _place(self) -> None:
        kept = {self.base[self.graph.output]}
        kept |= {self.base[node.attributes["source"]] for node in self.nodes if node.op == "delay"}
        stored = [name for stage in self.stages for name in stage.stored]
        self.offsets: dict[str, int] = {}
        self.entries = {}
        for is_code in (False, True):
            own = {name: self.size(name) for name in stored if (self.values[name].max_code is not None) == is_code}
            chosen = lifetimes(self.stages, own, frozenset(kept))
            offsets, self.entries[is_code] = placed(self.stages, chosen)
            self.offsets |= offsets

    def size(self, name: str) -> int:
        """The entries of a value."""
        return math.prod(self.values[name].shape)

    def array(self, base: str) -> str:
        """Where the entries of a stored value, or of the input, begin."""
        if base == INPUT:
            return "frame"
        is_code = self.values[base].max_code is not None
        return f"(work->{'codes' if is_code else 'numbers'} + {self.offsets[base]})"

    def state_is_code(self, node: Node) -> bool:
        """Whether what a node carries are codes."""
        return node.op == "delay" and bool(node.attributes["max_code"])

    def include(self, header: str) -> None:
        self._includes.add(header)

    def use(self, kernel: str, **parts: str) -> None:
        """Make the file hold a kernel, and what it needs in front of it."""
        for other in kernels.NEEDS.get(kernel, ()):
            self.use(other, **parts)
        text = kernels.text_of(kernel, parts)
        if text not in self._kernels:
            self._kernels[text] = kernel
            self.data_bytes += kernels.TABLE_BYTES.get(kernel, 0)

    def rows(self, node: Node, key: str, values: NDArray[Any] | None = None, *, as_table: bool = False) -> Table:
        """The table of a node's rows; of one number alone that number, unless it is to be a table.

        Args:
            values: integers that stand for the node's own.
        """
        if (node.name, key) not in self._made:
            rows = node.tensors[key] if values is None else smallest(values)
            name, kind = f"{self.names[node.name]}__{key}".upper(), c_type(rows)
            if rows.size == 1 and not as_table:
                made = Table(name, kind, 1, 1, literal(rows.item()))
            else:
                flat = rows.reshape(-1) if 1 in rows.shape else rows
                extent = "".join(f"[{n}]" for n in flat.shape)
                self._add_table(f"{kind} {name}{extent}", flat)
                made = Table(name, kind, rows.shape[0], rows.shape[1])
            self._made[node.name, key] = made
        return self._made[node.name, key]

    def _add_table(self, declaration: str, values: np.ndarray) -> None:
        self._tables.append(table(declaration, values))
        self.data_bytes += values.nbytes

    @property
    def includes(self) -> list[str]:
        return sorted(self._includes)

    @property
    def kernels(self) -> list[str]:
        """The texts of the kernels, each behind what it needs."""
        return list(self._kernels)

    @property
    def tables(self) -> list[str]:
        return self._tables

    def functions(self) -> dict[str, str]:
        """The texts of the stages' functions by their names, in order."""
        texts = {}
        for stage in self.stages:
            name = f"stage__{self.names[stage.nodes[0].name]}"
            texts[name] = StageText(stage, self).function(name)
        return texts

    def total_of(self, node: Node) -> str:
        """The type in which a pool adds up."""
        return self.arithmetic.total if self.values[node.name].max_code is None else "uint32_t"

    def from_total(self, s: StageText, node: Node, total: str) -> str:
        """What a pool gives of its sum."""
        if self.values[node.name].max_code is not None:
            return f"(uint8_t){total}"
        return self.arithmetic.of_total(s, node, total)

    @property
    def entry_type(self) -> str:
        """Of the place of an input in its window."""
        return "uint16_t" if self.longest_window <= 2**16 else "uint32_t"

    def before_frames(self) -> None:
        """Make the file hold what turns pixels into numbers, and count its two constants of each channel."""
        if self.arithmetic.number != "float":
            self.use("saturated")
        self.data_bytes += 8 * len(self.graph.input.mean)

    def need_totals(self, count: int) -> None:
        self.totals = max(self.totals, count)

    def synapse(self, s: StageText, node: Node, inputs: str) -> Sums:
        """The weights, geometry and kernels of a convolution or linear layer, and the call for pixel (y, x)."""
        value, weight = self.values[node.inputs[0]], node.tensors["weight"]
        integers = value.max_code is not None and node.attributes["encoding"] != "float32"
        is_real = node.attributes["encoding"] == "float32"
        own = self.arithmetic.weights(node) if is_real else weight
        rows = rows_of(node, own, together=TOGETHER if integers else 1)
        name = self.names[node.name].upper()
        window = math.prod(weight.shape[1:])
        most = LISTED
        if integers and rows.bits < 8:
            most = min(most, LARGEST_LANE // ((value.max_code or 1) * rows.largest))
        most = min(most, window)
        self._add_layer(node, f"{name}__LAYER", rows.row, most)
        kind = c_type(rows.table)
        self._add_table(f"{kind} {name}__WEIGHTS[{rows.table.size}]", rows.table)
        # of rows that are filled up, the last group's go beyond its outputs
        outputs = len(weight) + TOGETHER
        self.additions += window * self.size(node.name)
        if integers:
            self.use("conv_codes")
            if rows.bits < 8:
                self.use(f"add_{rows.bits}bit", table=_pairs_text(rows.bits))
            else:
                self.use("add_8bit")
            self.sums, self.listed = max(self.sums, outputs), max(self.listed, most)
            self.longest_window = max(self.longest_window, window)
            call = f"conv_codes(&{name}__LAYER, add_{rows.bits}bit, {name}__WEIGHTS, {inputs}, y, x, work);"
            return Sums(call, self.arithmetic.of_total(s, node, "(TOTAL)work->sums[c]"))
        kind, word = ("NUMBER", "numbers") if value.max_code is None else ("uint8_t", "codes_by_reals")
        parts = {"input": word, "type": kind}
        self.use("conv_numbers", **parts)
        if rows.bits == 0:
            self.use("add_by_reals", **parts)
            add = f"add_{word}_by_reals"
        elif rows.bits == 1:
            self.use("add_by_1bit", **parts)
            add = f"add_{word}_by_1bit"
        else:
            bits = rows.bits
            more = {"bits": bits, "per_byte": 8 // bits, "mask": 2**bits - 1, "sign": 2 ** (bits - 1)}
            self.use("add_by_bits", **parts, **{key: str(number) for key, number in more.items()})
            add = f"add_{word}_by_{bits}bit"
        self.need_totals(outputs)
        call = f"conv_{word}(&{name}__LAYER, {add}, {name}__WEIGHTS, {inputs}, y, x, work);"
        return Sums(call, self.arithmetic.of_total(s, node, "work->totals[c]"))

    def _add_layer(self, node: Node, name: str, row: int, most: int) -> None:
        channels, *rest = self.values[node.inputs[0]].shape
        height, width = rest or (1, 1)
        weight, groups = node.tensors["weight"], groups_of(node)
        kernel_y, kernel_x = weight.shape[2:] or (1, 1)
        stride, padding = node.attributes.get("stride", (1, 1)), node.attributes.get("padding", (0, 0))
        numbers = (channels // groups, height, width, len(weight) // groups, groups, kernel_y, kernel_x)
        numbers = (*numbers, *stride, *padding, *dilation_of(node), row, most)
        self._tables.append(f"static const struct layer {name} = {{{', '.join(map(str, numbers))}}};\n")
        self.data_bytes += 4 * len(numbers)


def smallest(values: NDArray[Any]) -> NDArray[Any]:
    """Integers in the smallest type that holds them all, of 16 or of 32 bits."""
    fits = values.size == 0 or (values.min() >= -(2**15) and values.max() < 2**15)
    return values.astype(np.int16 if fits else np.int32)


def c_type(values: NDArray[Any]) -> str:
    return {"float32": "float", "int16": "int16_t", "int32": "int32_t", "uint8": "uint8_t"}[str(values.dtype)]


def _pairs_text(bits: int) -> str:
    words = pairs(bits)
    rows = (f"{{{', '.join(f'{word:#x}u' for word in row)}}}" if words.ndim == 2 else f"{row:#x}u" for row in words)
    return "\n" + ",\n".join(", ".join(batch) for batch in _fours(list(rows))) + "\n"


def _fours(parts: list[str]) -> list[list[str]]:
    return [parts[k : k + 4] for k in range(0, len(parts), 4)]
