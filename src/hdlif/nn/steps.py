"""Time steps, and what a forward pass carries along with them.

A module is given `steps`, a range. Whoever starts the pass may give it more along with them: `carrying` makes a value
that is such steps too, and that `Scope` and the layers read what concerns them from. Nothing is set on a module, so
nothing has to be put back. A module that makes a `range` of its own for its children leaves behind what came with the
steps; a slice of them keeps it.

A compiler sees steps as tensors, so that one graph works for every step. `torch.compile` takes a `range` for constants,
and would make a graph for each step, or none if it finds that they change. What a network is traced with knows the
number of its steps, and has each as a tensor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast, overload

import torch
from torch import Tensor, nn
from torch._compile import _disable_dynamo

from hdlif.nn.batch_statistics import Gather

State = Mapping[str, "State | Tensor"]
"""State of a module, of its children by name (`hdlif.nn.state`)."""


@dataclass(frozen=True)
class Measure:
    """A small tensor made of one module's forward pass, which may enter a loss.

    The firing rate of a layer, as a term of a loss:

    >>> import torch
    >>> from hdlif.nn import HDLIF, Measure, Sequential, carrying
    >>> network, rates = Sequential(HDLIF(time_steps=2)), []
    >>> rate = Measure(of=lambda x, y: (y > 0).float().mean(), give=rates.append)
    >>> _ = network(torch.ones(2, 1, 4), steps=carrying(range(2), measures={network[0]: rate}))
    >>> rates
    [tensor(1.)]

    Attributes:
        of: makes it from the module's input and output; a state is no part of the output.
        give: takes it, with a graph, once for each forward pass that has one.
    """

    of: Callable[[Tensor, Tensor], Tensor]
    give: Callable[[Tensor], None]

    def take(self, x: Tensor, y: Tensor) -> None:
        """Take it of a pass; modules that run again in the backward pass collect theirs in another way."""
        if torch.is_grad_enabled():
            self.give(self.of(x, y))


class Observer:
    """Observes a forward pass, and may replace children; every method does nothing by default.

    It travels with the steps of a pass (`carrying(steps, observers=...)`). A network that is observed runs child by
    child.

    >>> import torch
    >>> from hdlif.nn import HDLIF, Observer, Sequential, carrying
    >>> class Order(Observer):
    ...     def __init__(self):
    ...         self.names = []
    ...
    ...     def before(self, scope, name, child, x):
    ...         self.names.append(name)
    ...         return x
    >>> order, network = Order(), Sequential(torch.nn.Linear(2, 3), HDLIF(time_steps=4))
    >>> _ = network(torch.rand(4, 1, 2), steps=carrying(range(4), observers=[order]))
    >>> order.names
    ['0', '1']

    Attributes:
        reads_states: whether `emitted` needs the states before each step, also of steps that are cut from each other.
    """

    reads_states: bool = False

    def before(self, scope: Any, name: str, child: nn.Module, x: Tensor) -> Tensor:
        """Return what a child is given, x or a copy of it.

        Args:
            scope: the `Scope` that runs the child, with `module`, `steps` and `continues`.
            name: of the child in that module.
            x: [K, B, ...], or [1, B, ...] if it is the same at each step.
        """
        return x

    def run(
        self, scope: Any, name: str, child: nn.Module, x: Tensor, given: State | None
    ) -> tuple[Tensor, State | None] | None:
        """Run a child in its place, and return its output and state; None to let it run itself.

        Args:
            given: the state that it starts from.
        """
        return None

    def after(self, scope: Any, name: str, child: nn.Module, x: Tensor, y: Tensor, state: State | None) -> Tensor:
        """Return what others read of a child's output y [K, B, ...], y or a copy of it.

        Args:
            x, state: what the child was given, and its state after the chunk.
        """
        return y

    def check(self, state: State | None) -> None:
        """Raise `TrainingError` if a forward pass, which left this state of the whole network, cannot be learned from.

        Rules that learn step by step ask this after each pass, before the loss is given away.
        """

    def emitted(
        self, neuron: Any, y: Tensor, x: Tensor, before: Sequence[Tensor], steps: range, rows: Sequence[Tensor]
    ) -> Tensor:
        """Return the spikes y [K, B, ...] of a `SteppedNeuron`, or others of the same values.

        Args:
            x: the currents, [K or 1, B, ...].
            before: the states before each step, [K, B, ...].
            rows: the parameters at each step.
        """
        return y

    def joined(self, total: Tensor, parts: Sequence[Tensor], neuron: nn.Module, back: nn.Module) -> None:
        """Record a sum of currents, and the recurrent synapse."""

    def normalised(self, norm: nn.Module, mean: Tensor, var: Tensor) -> None:
        """Record the averages [K, C] that a batch norm has normalised each step by."""


Weights = Mapping[nn.Module, Tensor]
"""Those that run in place of a layer's own, by the layer."""


@dataclass(frozen=True, eq=False)
class Pass:
    """What a forward pass carries besides its steps.

    Attributes:
        weights: those that run in place of a layer's own, by the layer; see `HeldWeights`.
        gather: how batch norms in train mode ask all ranks, whose share of a batch is theirs; None for one rank.
        keeps_graphs: whether modules that run again in the backward pass (`models.ReversibleSequential`) keep their
            graph instead.
        measures: what is taken of a module's pass, by the module; see `Measure`.
        observers: what takes part in the pass; see `Observer`.
        by_average: whether batch norms in train mode normalise by their running statistics.
        cut: whether each step of a chunk takes what earlier ones have left as constants; see `Temporal.cuts`.
    """

    weights: Weights = field(default_factory=dict)
    gather: Gather | None = None
    keeps_graphs: bool = False
    measures: Mapping[nn.Module, Measure] = field(default_factory=dict)
    observers: tuple[Observer, ...] = ()
    by_average: bool = False
    cut: bool = False


class Steps:
    """Consecutive time steps, as `range` has them, each an int, or an int64 tensor [] where a compiler sees them.

    No `Sequence`, whose members data-parallel wrappers would take apart.

    Attributes:
        times: the steps themselves.
        carried: what goes with them.
    """

    def __init__(self, times: range | tuple[Tensor, ...], carried: Pass) -> None:
        self.times, self.carried = times, carried

    @property
    def start(self) -> Any:
        return self.times.start if isinstance(self.times, range) else self.times[0]

    @property
    def stop(self) -> Any:
        return self.times.stop if isinstance(self.times, range) else self.times[-1] + 1

    @property
    def step(self) -> int:
        return self.times.step if isinstance(self.times, range) else 1

    def __len__(self) -> int:
        return len(self.times)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.times)

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> Steps: ...
    def __getitem__(self, index: int | slice) -> Any:
        return Steps(self.times[index], self.carried) if isinstance(index, slice) else self.times[index]

    def __eq__(self, other: object) -> bool:
        return self.times == (other.times if isinstance(other, Steps) else other)

    def __hash__(self) -> int:
        return hash(self.times)

    def __repr__(self) -> str:
        return repr(self.times)


_NOTHING = Pass()


def carried(steps: range | Steps) -> Pass:
    """What the steps carry; a plain range carries nothing."""
    return steps.carried if isinstance(steps, Steps) else _NOTHING


def carrying(
    steps: range,
    *,
    weights: Weights | None = None,
    gather: Gather | None = None,
    keeps_graphs: bool | None = None,
    measures: Mapping[nn.Module, Measure] | None = None,
    observers: Sequence[Observer] = (),
    by_average: bool | None = None,
    cut: bool | None = None,
) -> range:
    """The same steps, which carry what is given in addition to what they carry already.

    >>> steps = carrying(range(2, 5), gather=lambda tensor: tensor[None])
    >>> list(steps), steps.start, steps == range(2, 5), carried(steps[1:]).gather is carried(steps).gather
    ([2, 3, 4], 2, True, True)

    Args:
        weights, gather, keeps_graphs, measures, by_average, cut: as in `Pass`; None leaves what is there.
        observers: come after those that are there.
        steps: consecutive time steps.
    """
    known, times = carried(steps), cast(Any, steps)
    given: dict[str, Any] = {
        "weights": weights,
        "gather": gather,
        "keeps_graphs": keeps_graphs,
        "measures": measures,
        "observers": (*known.observers, *observers) if observers else None,
        "by_average": by_average,
        "cut": cut,
    }
    given = {name: one for name, one in given.items() if one is not None}
    if not given:
        return steps
    # What takes steps is annotated with a range, which no class can be derived from.
    return cast(range, Steps(times.times if isinstance(times, Steps) else times, replace(known, **given)))


class Carrying(nn.Module):
    """A model all of whose passes carry what is given here, as `carrying` takes it.

    >>> import torch
    >>> from hdlif.nn import HDLIF, Carrying, Sequential
    >>> model = Carrying(Sequential(HDLIF(time_steps=2)), by_average=True)
    >>> y, state = model(torch.rand(2, 1, 4), steps=range(2))

    Args:
        model: called as `model(x, state, steps=...)`.
        what: keyword arguments of `carrying`.
    """

    def __init__(self, model: nn.Module, **what: Any) -> None:
        super().__init__()
        self.model, self._what = model, what

    def forward(self, x: Tensor, state: Any = None, *, steps: range) -> Any:
        return self.model(x, state, steps=carrying(steps, **self._what))


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
"""A place on the first axis of a tensor: a number, or a tensor [] if it is traced."""


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
    """part/whole of a count []; a tensor if it is traced, since reading a number would end the graph."""
    return part / whole if torch.compiler.is_compiling() else part / int(whole)
