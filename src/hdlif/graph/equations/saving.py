"""Values that a chunk of steps saves for the backward pass, derived from the step's program.

A derivative may depend on the other factor of a product, the argument of a step function, or the choice between
operands. A `Value` is a register of the program or a function of registers. Some values that derivatives need are
recomputed from other values instead of being saved. The saved values are the cheapest set from which all other values
can be computed. The cheapest set is a minimum cut between the current and states on one side and the inputs of
derivatives on the other. If a derivative depends on a state, each step saves its initial state, as computed by the
previous step.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple, TypeVar

from hdlif.graph.equations.literal_step import WrittenStep
from hdlif.graph.equations.program import Instruction, Program

Node = TypeVar("Node", bound=Hashable)


def cheapest_cut(
    reads: Mapping[Node, Iterable[Node]], costs: Mapping[Node, int], *, sources: Iterable[Node], sinks: Iterable[Node]
) -> set[Node]:
    """Return the minimum-cost node cut between sources and sinks; of several such cuts, the nearest to the sinks.

    The algorithm uses shortest augmenting paths (Ford and Fulkerson 1956; Edmonds and Karp 1972). In the flow network,
    each node becomes an edge with the node's cost as its capacity. Nodes that can reach a sink after the last
    augmentation lie after the cut. Sources and sinks may be part of the cut.

    Args:
        reads: the inputs of each node.
        costs: the cost of each node, 0 or more.
    """
    # Each node is an edge from its entry (False) to its exit (True), and None is the common sink.
    left: dict[object, dict[object, float]] = {}

    def connect(a: object, b: object, capacity: float) -> None:
        left.setdefault(a, {})[b] = capacity
        left.setdefault(b, {}).setdefault(a, 0)

    for node, cost in costs.items():
        connect((node, False), (node, True), cost)
        for read in reads.get(node, ()):
            connect((read, True), (node, False), float("inf"))
    for sink in sinks:
        connect((sink, True), None, float("inf"))
    starts = {(node, False) for node in sources}
    while True:
        following = _towards_sink(left)
        # The first one found is the nearest.
        start = next((node for node in following if node in starts), None)
        if start is None:
            return {node for node in costs if (node, True) in following and (node, False) not in following}
        path: list[tuple[object, object]] = []
        a: object = start
        while a is not None:
            path.append((a, following[a]))
            a = following[a]
        flow = min(left[a][b] for a, b in path)
        for a, b in path:
            left[a][b] -= flow
            left[b][a] += flow


def _towards_sink(left: Mapping[object, Mapping[object, float]]) -> dict[object, object]:
    """Map each node that can still send flow to the sink (None) to the next node on a shortest path to the sink."""
    following: dict[object, object] = {None: None}
    waiting: deque[object] = deque([None])
    while waiting:
        b = waiting.popleft()
        for a in left.get(b, {}):
            if a not in following and left[a][b] > 0:
                following[a] = b
                waiting.append(a)
    return following


Kind = Literal["value", "mask", "share", "sign", "true"]
_SMALL = ("share", "sign")
"""Kinds of values that take one byte."""


class Value(NamedTuple):
    """A value that a derivative needs, identified by a register and a kind.

    "value" is the content of the register. For a maximum or minimum, "mask" is 1 if the first operand (for "relu", the
    second) receives the gradient. "share" is 0, 1 or 2, which is twice the first operand's share of the gradient.
    "sign" is the sign of an absolute value's operand. "true" is 1 if a selector register is nonzero.

    Attributes:
        register: the register's number.
        kind: one of these kinds.
    """

    register: int
    kind: Kind = "value"


class Needs(NamedTuple):
    """Requested gradients.

    Attributes:
        current: gradient of the current.
        states: gradients of the states before the chunk.
        rows: gradients of the rows.
    """

    current: bool
    states: tuple[bool, ...]
    rows: tuple[bool, ...]


class Source(NamedTuple):
    """Location of a value.

    Attributes:
        place: currents, states before the chunk, or computed values.
        value: the value at that step.
        step: the step of the chunk.
    """

    place: Literal["current", "before", "computed"]
    value: Value
    step: int


@dataclass(frozen=True)
class Saving:
    """The values that each step of a chunk saves, and the use of these values in the backward pass.

    Args:
        step: the literal step.
        needs: requested gradients.
        is_one_step: whether the chunk has one step, so that all its states come from before the chunk.
    """

    step: WrittenStep
    needs: Needs
    is_one_step: bool = False

    @property
    def program(self) -> Program:
        return self.step.program

    @cached_property
    def live(self) -> frozenset[int]:
        """Return the registers on a path from an input with a requested gradient to a result."""
        program = self.program
        followed = {
            register for place, register in enumerate((program.spike, *program.after)) if place not in self.step.stopped
        }
        for register in range(program.registers - 1, program.first - 1, -1):
            if register in followed:
                instruction = program.instructions[register - program.first]
                followed.update(instruction.operands[place] for place in ways(instruction))
        return self._asking(ways) & followed

    @cached_property
    def constant(self) -> frozenset[int]:
        """Return the positions in (spike, *states) of results that depend on no input with a requested gradient."""
        # A floor has a gradient of 0.
        asking = self._asking(lambda one: [0] if one.operation == "floor" and not one.stopped else ways(one))
        results = (self.program.spike, *self.program.after)
        return self.step.stopped | {place for place, register in enumerate(results) if register not in asking}

    def _asking(self, ways: Callable[[Instruction], Collection[int]]) -> frozenset[int]:
        """Return the registers that depend, directly or through states, on an input with a requested gradient."""
        program, given = self.program, self.needs
        asked = {register for register, need in enumerate((given.current, *given.states, *given.rows)) if need}
        while True:
            found = set(asked)
            for register, instruction in enumerate(program.instructions, program.first):
                if any(instruction.operands[place] in found for place in ways(instruction)):
                    found.add(register)
            again = {
                state
                for state, after in enumerate(program.after, 1)
                if after in found and state not in self.step.stopped
            }
            if self.is_one_step or again <= asked:
                return frozenset(found)
            asked |= again

    @cached_property
    def read(self) -> frozenset[Value]:
        """Return the values that derivatives need."""
        return frozenset(
            value
            for register, instruction in enumerate(self.program.instructions, self.program.first)
            if register in self.live
            for value in self._read(register, instruction)
        )

    def _read(self, register: int, instruction: Instruction) -> Iterator[Value]:
        live = [place for place in ways(instruction) if instruction.operands[place] in self.live]
        operands = instruction.operands
        match instruction.operation:
            case "multiply" if instruction.form == "divide":
                yield Value(operands[1])
                if 1 in live:
                    yield Value(operands[0])
            case "multiply":
                yield from (Value(operands[1 - place]) for place in live)
            case "absolute":
                yield self.sign(register)
            case "minimum" | "maximum":
                yield self.shared(register)
            case "step":
                yield Value(operands[0])
            case "select":
                yield self.chosen(register)

    def shared(self, register: int) -> Value:
        """Return the value that routes the gradient of a minimum or maximum."""
        instruction = self.program.instructions[register - self.program.first]
        return Value(register, "mask" if instruction.form else "share")

    def sign(self, register: int) -> Value:
        """Return the sign that the derivative of an absolute value needs."""
        return Value(register, "sign")

    def chosen(self, register: int) -> Value:
        """Return the value that routes the gradient of a `select`."""
        condition = self.program.instructions[register - self.program.first].operands[0]
        if condition in self._relus:
            return Value(self._relus[condition], "mask")
        return Value(condition) if self.program.is_binary(condition) else Value(condition, "true")

    @cached_property
    def _relus(self) -> dict[int, int]:
        """Map the register of each comparison `a > b` to the register of `relu(a - b)`, if both exist."""
        program = self.program
        surpluses = {
            program.instructions[instruction.operands[1] - program.first]: register
            for register, instruction in enumerate(program.instructions, program.first)
            if instruction.form == "relu" and instruction.operands[1] >= program.first
        }
        return {
            register: surpluses[Instruction("subtract", instruction.operands)]
            for register, instruction in enumerate(program.instructions, program.first)
            if instruction.operation == "greater" and Instruction("subtract", instruction.operands) in surpluses
        }

    def operands(self, value: Value) -> tuple[Value, ...]:
        """Return the values from which a value is computed."""
        program = self.program
        if value.register < program.first:
            return (Value(value.register),) if value.kind == "true" else ()
        instruction = program.instructions[value.register - program.first]
        if value.kind == "true" or (value.kind == "mask" and instruction.form == "relu"):
            # A surplus is its own condition: it is not 0.
            return (Value(value.register),)
        if value.kind == "value":
            instruction = self.step.extreme(value.register) or instruction
        return tuple(map(Value, instruction.operands))

    def order(self, values: Iterable[Value], known: Collection[Value]) -> tuple[Value, ...]:
        """Return `values` and all values that they require, in topological order and without `known` values."""
        return tuple(
            sorted(self._behind(values, known) - set(known), key=lambda one: (one.register, one.kind != "value"))
        )

    @cached_property
    def kept(self) -> tuple[Value, ...]:
        """Return the values that each step saves."""
        program = self.program
        signals = range(1 + len(program.states))
        states = [Value(state) for state in signals[1:]]
        saved_after = {after for state, after in zip(states, program.after, strict=True) if state in self.read}
        graph = {value: self.operands(value) for value in self._behind(self.read)}
        costs = {value: self._cost(value, saved_after) for value in graph}
        sources = [value for value in graph if value.kind == "value" and value.register in signals]
        cut = cheapest_cut(graph, costs, sources=sources, sinks=[value for value in self.read if value in graph])
        # Recomputing functions of rows only is free.
        return tuple(sorted(value for value in cut if value.register in program.varying))

    def _cost(self, value: Value, saved_after: set[int]) -> int:
        """Return the cost of saving a value, in bits per neuron if states are float32."""
        if value.kind == "value" and value.register in saved_after:
            return 0
        if value == Value(0) and self.step.current_is_kept:
            return 0
        return 1 if self.are_bits(value) else 8 if value.kind in _SMALL else 32

    def _behind(self, values: Iterable[Value], known: Collection[Value] = ()) -> set[Value]:
        """Return `values` and all values that they require, stopping at `known` values."""
        found, waiting = set[Value](), list(values)
        while waiting:
            value = waiting.pop()
            if value not in found:
                found.add(value)
                waiting += () if value in known else self.operands(value)
        return found

    @cached_property
    def rows(self) -> tuple[int, ...]:
        """Return the registers of rows that the backward pass reads."""
        rows = range(1 + len(self.program.states), self.program.first)
        behind = self._behind(self.read, self.kept)
        return tuple(row for row in rows if Value(row) in behind and Value(row) not in self.kept)

    def are_bits(self, value: Value) -> bool:
        """Return whether a value is always 1 or 0 and therefore saved as a bit."""
        return value.kind in ("mask", "true") or (value.kind == "value" and self.program.is_binary(value.register))

    def source(self, value: Value, step: int) -> Source:
        """Return where a step's value comes from; a state comes from an earlier step or from before the chunk."""
        program = self.program
        while value.kind == "value" and 0 < value.register <= len(program.states):
            if step == 0:
                return Source("before", value, 0)
            value, step = Value(program.after[value.register - 1]), step - 1
        return Source("current" if value == Value(0) else "computed", value, step)

    def sources(self, steps: int) -> list[list[Source]]:
        """Return, for each step, where the values that it saves come from (see `source`)."""
        return [[self.source(value, step) for value in self.kept] for step in range(steps)]

    def bytes(self, steps: int, neurons: int, *, itemsize: int = 4, is_constant: bool = False) -> int:
        """Return the exact number of bytes that a chunk of `steps` steps saves for `neurons` neurons (B·C·H·W).

        The count equals the size of the tensors that autograd saves. The count includes a current that is saved
        separately. The count excludes rows, which are in memory anyway.

        Args:
            itemsize: the item size of the states' dtype.
            is_constant: whether all steps share one current.
        """
        found = {source for sources in self.sources(steps) for source in sources}
        number, size = neurons * itemsize, 0
        counts: dict[Value, int] = {}
        for place, value, _ in found:
            if place == "before":
                size += number
            elif place == "computed":
                counts[value] = counts.get(value, 0) + 1
            else:
                counts[value] = 1 if is_constant else steps
        for value, count in counts.items():
            size += (
                -(-count * neurons // 8)
                if self.are_bits(value)
                else count * neurons * (1 if value.kind in _SMALL else itemsize)
            )
        return size


def ways(instruction: Instruction) -> list[int]:
    """Return the positions of operands that receive a gradient."""
    if instruction.operation in ("constant", "floor", "greater", "greater_equal"):
        return []
    places = range(len(instruction.operands))
    return [p for p in places if p not in instruction.stopped and not (instruction.operation == "select" and p == 0)]
