"""Time steps as a compiler sees them: tensors, so that one graph serves every step.

`torch.compile` takes a `range` for constants, and would make a graph for each step, or none where it finds that they
change. What a network is traced with knows the number of its steps, and has each as a tensor.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor
from torch._compile import _disable_dynamo

from hdlif.nn.steps import Steps, carried


def traced(steps: range) -> range:
    """The steps of a chunk for a compiler, with all they carry; a module runs over them as over a range."""
    return cast(range, Steps(tuple(torch.tensor(t) for t in steps), carried(steps)))


def are_traced(steps: object) -> bool:
    """Whether the steps are as a compiler sees them."""
    return isinstance(steps, Steps) and isinstance(steps.times, tuple)


# Not traced itself: a range has to be read outside of every graph.
@_disable_dynamo
def with_traced_steps(arguments: tuple[Any, ...], named: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of a module, whatever range is among them as tensors."""
    return tuple(map(_traced, arguments)), {name: _traced(value) for name, value in named.items()}


def _traced(value: Any) -> Any:
    times = value.times if isinstance(value, Steps) else value
    return traced(value) if isinstance(times, range) and len(times) and times.step == 1 and times.start >= 0 else value


Row = int | Tensor
"""A place on the first axis of a tensor: a number, or a tensor [] where it is traced."""


def last_of(step: Row, count: int) -> Row:
    """The row of a step where there are `count` of them: of a step beyond the last one, the last."""
    return step.clamp(max=count - 1) if isinstance(step, Tensor) else min(step, count - 1)


def row_of(values: Tensor, row: Row) -> Tensor:
    """values[row]; a view of it where the row is a number."""
    # Indexing would read a number from the tensor, which ends a graph.
    return values.index_select(0, row.view(1)).squeeze(0) if isinstance(row, Tensor) else values[row]


def set_row(values: Tensor, row: Row, new: Tensor) -> None:
    """values[row] = new."""
    if isinstance(row, Tensor):
        values.index_copy_(0, row.view(1), new.unsqueeze(0))
    else:
        values[row] = new


def share(part: int, whole: Tensor) -> float | Tensor:
    """part/whole of a count []; a tensor where it is traced, since reading a number would end the graph."""
    return part / whole if torch.compiler.is_compiling() else part / int(whole)
