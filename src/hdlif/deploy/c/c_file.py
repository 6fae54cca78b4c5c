"""The parts of a C file: tables, kernels, includes, structs and the layout of scratch memory."""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdlif.deploy.c import kernels
from hdlif.deploy.c.stages import Stage, bases, needed, stages
from hdlif.deploy.c.text import distinct, literal, table
from hdlif.graph.dataflow import feedback, state_names
from hdlif.graph.graph import INPUT, Graph, Node
from hdlif.graph.inference import infer_values
from hdlif.graph.learning import Place
from hdlif.graph.ops import OPS


@dataclass
class Lifetime:
    """A value's number of entries, and the indices of the first and last stages that use the value."""

    size: int
    first: int
    last: int


def lifetimes(stages: Sequence[Stage], sizes: Mapping[str, int], kept: frozenset[str]) -> dict[str, Lifetime]:
    """Return the lifetime of every value in `sizes`; values in `kept` live until the end of the step."""
    found: dict[str, Lifetime] = {}
    for place, stage in enumerate(stages):
        for name in (*stage.loaded, *stage.scanned):
            if name in found:
                found[name].last = place
        for name in stage.stored:
            if name in sizes:
                found[name] = Lifetime(sizes[name], place, place)
    for name in kept & found.keys():
        found[name].last = len(stages)
    return found


def placed(stages: Sequence[Stage], lives: Mapping[str, Lifetime]) -> tuple[dict[str, int], int]:
    """Return the offset of each value and the total size, both as numbers of entries.

    A stage may overwrite an input that it reads element by element and that no later stage needs. The largest values
    are placed first, each at the lowest offset that is free during the value's lifetime.
    """
    tenants: dict[str, list[str]] = {}
    host: dict[str, str] = {}
    for place, stage in enumerate(stages):
        free = [name for name in stage.loaded if name in lives and name not in stage.scanned]
        free = [name for name in free if lives[name].last == place]
        for name in stage.stored:
            if name not in lives:
                continue
            there = next((one for one in free if lives[one].size == lives[name].size), None)
            host[name] = name if there is None else host[there]
            tenants.setdefault(host[name], []).append(name)
            if there is not None:
                free.remove(there)
    offsets, entries = packed(
        {
            name: Lifetime(lives[name].size, lives[name].first, max(lives[one].last for one in those))
            for name, those in tenants.items()
        }
    )
    return {name: offsets[host[name]] for name in host}, entries


def packed(blocks: Mapping[str, Lifetime]) -> tuple[dict[str, int], int]:
    """Return the offset of each block and the total size; only blocks with disjoint lifetimes may overlap."""
    offsets: dict[str, int] = {}
    for name in sorted(blocks, key=lambda name: (-blocks[name].size, blocks[name].first)):
        own = blocks[name]
        offset = 0
        for placed_before in sorted(offsets, key=lambda one: offsets[one]):
            start, other = offsets[placed_before], blocks[placed_before]
            if other.first <= own.last and own.first <= other.last and start < offset + own.size:
                offset = max(offset, start + other.size)
        offsets[name] = offset
    return offsets, max((offsets[name] + block.size for name, block in blocks.items()), default=0)


START = "__START"
"""Suffix for the names of the constants that learned tensors start from."""


@dataclass(frozen=True)
class Table:
    """A C table of a tensor's rows, or a C literal if the tensor is a single number.

    Attributes:
        learned: whether the table is a local name for a member of the struct `learned`, initialised from constants.
    """

    name: str
    type: str
    rows: int
    columns: int
    literal: str | None = None
    learned: bool = False


def has_one_frame(graph: Graph) -> bool:
    """Return whether all time steps of a sample use the same frame."""
    return graph.input.frames == "constant" and graph.input.kind != "events"


class CFile:
    """The contents of a network's C file, collected while stages are written.

    Attributes:
        offsets: the offset of each stored value in the array of its type.
        steps: the number of time steps that a stage computes together.
        tables, kernels: their texts in order, each with the table's bytes or the kernel's name.
        includes: the headers of the C standard library.

    Args:
        learned: the tensors that training changes.
        kept: the values that are read after the step.
    """

    def __init__(self, graph: Graph, learned: Collection[Place] = (), kept: Collection[str] = ()) -> None:
        self.graph, self.learned = graph, frozenset(learned)
        self.values, self.base = infer_values(graph), bases(graph)
        self._kept = frozenset(self.base[name] for name in kept)
        self.nodes, self.stages = needed(graph), stages(graph, self.values, self._kept)
        self.names = distinct(node.name for node in graph.nodes)
        carried = [f"{node.name}.{name}" for node in self.nodes for name in state_names(node)]
        self.state_names = distinct(carried, {"t", "state", "work", "frame"})
        self.additions = self.frame_bytes = 0
        self.steps = 1
        self._need_nothing()
        self._by_channel: set[str] = set()
        self.tables: dict[str, int] = {}
        self._made: dict[tuple[str, str], Table] = {}
        self.kernels: dict[str, str] = {}
        self.includes = {"stdint.h", "string.h"}
        self._place()

    def _need_nothing(self) -> None:
        self.sums = self.totals = self.listed = self.active = self.begin = self.most_active = 0
        self.longest_window = 0

    def _place(self) -> None:
        kept = {self.base[self.graph.output], *self._kept}
        kept |= {self.base[source] for node in self.nodes for _, source in feedback(node)}
        stored = [name for stage in self.stages for name in stage.stored]
        self.offsets: dict[str, int] = {}
        self.entries = {}
        for is_code in (False, True):
            own = {name: self.extent(name) for name in stored if (self.values[name].max_code is not None) == is_code}
            chosen = lifetimes(self.stages, own, frozenset(kept))
            offsets, self.entries[is_code] = placed(self.stages, chosen)
            self.offsets |= offsets

    def size(self, name: str) -> int:
        """Return the number of entries of a value."""
        return math.prod(self.values[name].shape)

    def for_answers(self) -> CFile:
        """Return a copy for functions that run all time steps, with shared tables but separate scratch memory."""
        found = copy.copy(self)
        found.steps = self.graph.time_steps
        flat = (node.inputs[0] for node in self.graph.nodes if OPS[node.op].is_view)
        found._by_channel = {self.base[name] for name in (INPUT, self.graph.output, *flat)}
        found._need_nothing()
        found._place()
        return found

    def steps_of(self, name: str) -> int:
        """Return the number of time steps stored per entry, rounded up to a multiple of 4 for codes."""
        if self.steps == 1 or self.is_constant(name):
            return 1
        return self.steps if self.values[name].max_code is None else -(-self.steps // 4) * 4

    def is_constant(self, name: str) -> bool:
        """Return whether a value is the same at all time steps of a sample."""
        return has_one_frame(self.graph) and self.values[self.base[name]].constant

    @property
    def fits_16_bits(self) -> bool:
        """Return whether the sums of all layers that multiply codes by integer weights stay below 2^15."""
        for node in self.nodes:
            largest = self.values[node.inputs[0]].max_code
            if largest is not None and node.attributes.get("encoding", "float32") != "float32":
                weight = np.abs(node.tensors["weight"].astype(np.int64))
                if weight.reshape(len(weight), -1).sum(axis=1).max() * largest >= 2**15:
                    return False
        return True

    @property
    def type_of_sums(self) -> tuple[str, int]:
        """Return the C type of sums of codes times integer weights, and its bytes."""
        return ("int16_t", 2) if self.steps > 1 and self.fits_16_bits else ("int32_t", 4)

    def is_by_pixel(self, name: str) -> bool:
        """Return whether a value is stored pixel by pixel rather than channel by channel.

        Functions that run all time steps store values by pixel, except for frames, outputs and flattened maps.
        """
        return self.steps > 1 and self.base[name] not in self._by_channel

    def extent(self, name: str) -> int:
        """Return the number of scratch-memory entries that a stored value occupies."""
        return self.size(name) * self.steps_of(name)

    def array(self, base: str) -> str:
        """Return a C pointer expression for the entries of a stored value or of the input."""
        if base == INPUT:
            return "frame"
        is_code = self.values[base].max_code is not None
        return f"(work->{'codes' if is_code else 'numbers'} + {self.offsets[base]})"

    def state_is_code(self, node: Node) -> bool:
        """Return whether the states of a node are codes."""
        return bool(feedback(node)) and self.values[node.name].max_code is not None

    def use(self, kernel: str, **parts: str) -> None:
        """Add a kernel and the kernels on which it depends."""
        for other in kernels.NEEDS.get(kernel, ()):
            self.use(other, **parts)
        text = kernels.text_of(kernel, parts)
        if text not in self.kernels:
            self.kernels[text] = kernel

    def rows(self, node: Node, key: str, values: NDArray[Any] | None = None, *, as_table: bool = False) -> Table:
        """Return the C table of a tensor's rows, or, unless `as_table` is set, a literal for a single untrained number.

        Args:
            values: integers that replace the node's own values.
        """
        if (node.name, key) not in self._made:
            learned = Place(node.name, key) in self.learned
            rows = node.tensors[key]
            if values is not None:
                rows = values.astype(np.int32) if learned else smallest(values)
            name, kind = f"{self.names[node.name]}__{key}".upper(), c_type(rows)
            if rows.size == 1 and not as_table and not learned:
                made = Table(name, kind, 1, 1, literal(rows.item()))
            else:
                flat = rows.reshape(-1) if 1 in rows.shape else rows
                extent = "".join(f"[{n}]" for n in flat.shape)
                self.add_table(f"{kind} {name}{START if learned else ''}{extent}", flat)
                made = Table(name, kind, rows.shape[0], rows.shape[1], learned=learned)
            self._made[node.name, key] = made
        return self._made[node.name, key]

    def weights(self, node: Node) -> str:
        """Return the name of a layer's weight table, packed as in `synapses.rows_of`."""
        return f"{self.names[node.name]}__weights".upper()

    def add_table(self, declaration: str, values: NDArray[Any]) -> None:
        self.tables[table(declaration, values)] = values.nbytes

    def add_numbers(self, declaration: str, numbers: Sequence[int]) -> None:
        """Add a constant array of 32-bit numbers to the tables."""
        self.tables[f"static const {declaration} = {{{', '.join(map(str, numbers))}}};\n"] = 4 * len(numbers)

    def finish(self, functions: str) -> None:
        """Add the kernels that the stages' expressions call, and drop unused tables."""
        words = set(re.findall(r"\w+", functions))
        for name in kernels.IN_EXPRESSIONS:
            if words & {name, f"lanes_{name}"} or (name == "saturated" and "lanes_held" in words):
                self.use(name)
        named = {re.match(r"static const (?:struct )?\w+ (\w+)", text): text for text in self.tables}
        self.tables = {text: self.tables[text] for name, text in named.items() if name and name[1] in words}

    @property
    def with_learned(self) -> str:
        """Return the C parameter through which functions read learned tensors, preceded by a comma."""
        return ", const LEARNED *learned" if self.learned else ""

    def as_learned(self, name: str) -> str:
        """Return the C parameter through which public functions read learned tensors, followed by a comma."""
        return f"const {name}_learned *learned, " if self.learned else ""

    @property
    def given(self) -> str:
        """Return the arguments for a call to a stage's function."""
        return "state, work, frame" + (", learned" if self.learned else "")

    @property
    def data_bytes(self) -> int:
        """Return the size in bytes of all tables, including the tables of kernels."""
        own = sum(kernels.TABLE_BYTES.get(kernel, 0) for kernel in self.kernels.values())
        return own + self.frame_bytes + sum(self.tables.values())

    @property
    def entry_type(self) -> str:
        """Return the C type for the position of an input within a layer's window."""
        return "uint16_t" if self.longest_window <= 2**16 else "uint32_t"

    @property
    def active_type(self) -> str:
        """Return the C type for a position within a row of a map."""
        return next(f"uint{bits}_t" for bits in (8, 16, 32) if self.most_active < 2**bits)

    def need_active(self, rows: int, entries: int, pixels: int) -> None:
        """Reserve space for the lists of active entries in each row and for the start of each pixel's list."""
        self.active, self.begin = max(self.active, rows * entries), max(self.begin, 2 * rows * pixels)
        self.most_active = max(self.most_active, entries)

    def need_totals(self, count: int) -> None:
        self.totals = max(self.totals, count)


@dataclass(frozen=True)
class Struct:
    """The members of a C struct, and the size of the struct in bytes, including padding."""

    members: list[str]
    size: int

    def typedef(self, name: str, what: str) -> list[str]:
        """Return the lines that declare the struct, preceded by a comment that begins with `what`."""
        return [f"/* {what}: {self.size} bytes. */", "typedef struct {", *self.members, f"}} {name};"]


def work_space(file: CFile, name: str, number: tuple[str, int], total: str) -> Struct:
    """Return the struct for the scratch memory of one step or of all steps.

    Args:
        number: type and bytes of a number.
        total: type of a sum.
    """
    entry, listed, is_answer = file.entry_type, file.listed, file.steps > 1
    active_bytes = int(file.active_type[4:-2]) // 8
    arrays = [
        (*file.type_of_sums, "sums", file.sums),
        (total, 4, "totals", file.totals),
        (f"{name}_change", 8, "early", (listed + 1) * is_answer),
        (f"{name}_change", 8, "late", (listed + 1) * is_answer),
        (*number, "numbers", file.entries[False]),
        (entry, 2 if entry == "uint16_t" else 4, "entry", listed * (not is_answer)),
        (file.active_type, active_bytes, "active", file.active),
        (file.active_type, active_bytes, "begin", file.begin),
        ("uint8_t", 1, "codes", file.entries[True]),
        ("uint8_t", 1, "code", listed * (not is_answer)),
    ]
    arrays = [array for array in arrays if array[3]] or [("uint8_t", 1, "unused", 1)]
    arrays.sort(key=lambda array: -array[1])
    size, widest = sum(width * count for _, width, _, count in arrays), min(4, arrays[0][1])
    return Struct([f"{kind} {name}[{count}];" for kind, _, name, count in arrays], -(-size // widest) * widest)


def smallest(values: NDArray[Any]) -> NDArray[Any]:
    """Convert integers to 16 bits if all values fit, otherwise to 32 bits."""
    fits = values.size == 0 or (values.min() >= -(2**15) and values.max() < 2**15)
    return values.astype(np.int16 if fits else np.int32)


def c_type(values: NDArray[Any]) -> str:
    return {"float32": "float", "int16": "int16_t", "int32": "int32_t", "uint8": "uint8_t"}[str(values.dtype)]
