"""Networks whose forward pass is a list of lines: children, their inputs, and operations between them."""

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
"""The name of x among the values of a forward pass."""


class Operation(Protocol):
    """Operation of a line on its inputs, [K, B, C, ...]."""

    def __call__(self, run: Scope, values: Sequence[Any]) -> Any: ...


@dataclass(frozen=True)
class Child:
    """Runs a child on the one value."""

    name: str

    def __call__(self, run: Scope, values: Sequence[Any]) -> Any:
        return run(self.name, *values)


@dataclass(frozen=True)
class Sum:
    """Of two values."""

    def __call__(self, run: Scope, values: Sequence[Any]) -> Any:
        first, second = values
        return first + second


@dataclass(frozen=True)
class Multiple:
    """factor·value + shift."""

    factor: float = 1.0
    shift: float = 0.0

    def __call__(self, run: Scope, values: Sequence[Any]) -> Any:
        (value,) = values
        value = value if self.factor == 1 else value * self.factor
        return value if self.shift == 0 else value + self.shift


@dataclass(frozen=True)
class Joined:
    """The values one after another along channels."""

    def __call__(self, run: Scope, values: Sequence[Any]) -> Any:
        if not isinstance(values[0], Captured):
            # Some may be constant in time.
            most = max(len(value) for value in values)
            values = [value.expand(most, *value.shape[1:]) for value in values]
        return torch.cat(list(values), CHANNELS)


@dataclass(frozen=True)
class Part:
    """Channels of a value, as a slice has them."""

    begin: int | None
    end: int | None

    def __call__(self, run: Scope, values: Sequence[Any]) -> Any:
        (value,) = values
        return value[:, :, self.begin : self.end]


@dataclass(frozen=True)
class Line:
    """Value of a forward pass: its name, operation, and the names of the operands."""

    name: str
    does: Operation
    reads: tuple[str, ...]


class Wired(Temporal):
    """A network that runs its lines in their order; called with steps, or as a child of another.

    Args:
        children: by name.
        lines: each reads x ("") or values of lines before it, and each child runs on one line.
        output: the name of the value that is y.
    """

    def __init__(self, children: Mapping[str, nn.Module], lines: Sequence[Line], output: str) -> None:
        super().__init__()
        for name, child in children.items():
            self.add_module(name, child)
        self._lines, self._output = tuple(lines), output
        last = {name: place for place, line in enumerate(lines) for name in line.reads}
        last.pop(output, None)
        # Free values without later readers.
        self._done = tuple(
            tuple(name for name, until in last.items() if until == place) for place in range(len(self._lines))
        )

    @property
    def reads(self) -> Reads:
        """By child, in execution order, the inputs of its value: see `Temporal.reads`."""
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
