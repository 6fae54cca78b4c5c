"""Networks whose forward pass is a list of lines, each of which applies a child or an operation to values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from hdlif.nn import Scope, State, Temporal
from hdlif.nn.scope import CHANNELS, Captured
from hdlif.nn.state import Reads, steps_of

INPUT = ""
"""Name of the input x among the values of a forward pass."""


class Operation(Protocol):
    """The interface of operations, which map one or more values [K, B, C, ...] to one value."""

    def __call__(self, run: Scope, values: Sequence[Any]) -> Any: ...


@dataclass(frozen=True)
class Child:
    """An operation that runs a child on one value."""

    name: str

    def __call__(self, run: Scope, values: Sequence[Any]) -> Any:
        return run(self.name, *values)


@dataclass(frozen=True)
class Sum:
    """The sum of two values."""

    def __call__(self, run: Scope, values: Sequence[Any]) -> Any:
        first, second = values
        return first + second


@dataclass(frozen=True)
class Multiple:
    """The operation factor·value + shift."""

    factor: float = 1.0
    shift: float = 0.0

    def __call__(self, run: Scope, values: Sequence[Any]) -> Any:
        (value,) = values
        value = value if self.factor == 1 else value * self.factor
        return value if self.shift == 0 else value + self.shift


@dataclass(frozen=True)
class Joined:
    """The concatenation of values along the channel dimension."""

    def __call__(self, run: Scope, values: Sequence[Any]) -> Any:
        if not isinstance(values[0], Captured):
            # Some values may be constant in time.
            most = max(len(value) for value in values)
            values = [value.expand(most, *value.shape[1:]) for value in values]
        return torch.cat(list(values), CHANNELS)


@dataclass(frozen=True)
class Part:
    """A slice of the channels of a value."""

    begin: int | None
    end: int | None

    def __call__(self, run: Scope, values: Sequence[Any]) -> Any:
        (value,) = values
        return value[:, :, self.begin : self.end]


@dataclass(frozen=True)
class Line:
    """A line of a forward pass: the name of its result, the operation and the names of the operands."""

    name: str
    does: Operation
    reads: tuple[str, ...]


class Wired(Temporal):
    """A network that runs a list of lines in order, either on its own or as a child of another network.

    Args:
        children: the children by name.
        lines: lines that read x ("") or values of earlier lines; each child runs on one line.
        output: name of the value that the network returns.
    """

    def __init__(self, children: Mapping[str, nn.Module], lines: Sequence[Line], output: str) -> None:
        super().__init__()
        for name, child in children.items():
            self.add_module(name, child)
        self._lines, self._output = tuple(lines), output
        last = {name: place for place, line in enumerate(lines) for name in line.reads}
        last.pop(output, None)
        # Free values that no later line reads.
        self._done = tuple(
            tuple(name for name, until in last.items() if until == place) for place in range(len(self._lines))
        )

    @property
    def reads(self) -> Reads:
        """Return the sources of each child's input in execution order, as described in `Temporal.reads`."""
        behind: dict[str, tuple[str, ...]] = {INPUT: (INPUT,)}
        reads: dict[str, Sequence[str]] = {}
        for line in self._lines:
            sources = tuple(dict.fromkeys(source for name in line.reads for source in behind[name]))
            if isinstance(line.does, Child):
                reads[line.does.name] = sources
                sources = (line.does.name,)
            behind[line.name] = sources
        return reads | {INPUT: behind[self._output]}

    def forward(self, x: Tensor, state: State | None = None, steps: range | None = None) -> tuple[Tensor, State | None]:
        if not isinstance(x, Captured):
            steps = steps_of(x, state, steps)
        assert steps is not None
        run = Scope(self, state, steps)
        values: dict[str, Any] = {INPUT: x}
        for line, done in zip(self._lines, self._done, strict=True):
            values[line.name] = line.does(run, [values[name] for name in line.reads])
            for name in done:
                del values[name]
        return values[self._output], run.state
