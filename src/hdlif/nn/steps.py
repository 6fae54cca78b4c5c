"""Time steps with the settings of a forward pass.

Modules take `steps`, a range to which the caller can attach settings with `carrying`. `Scope` and the layers read the
settings from the steps, so modules need not be modified and restored. A slice of the steps keeps the settings, but a
module that creates a new `range` for its children drops them.

Under a compiler, steps are tensors, so one graph is enough for all steps. `torch.compile` treats a `range` as a
constant, so it would build one graph per step or stop after too many recompilations. The number of traced steps is
fixed, and each step is a tensor.
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
"""State of a module: its tensors, and the states of its children, by name (`hdlif.nn.state`)."""


@dataclass(frozen=True)
class Measure:
    """A function that computes a value from one module's input and output, for example for use in a loss.

    For example, obtain the firing rate of a layer as a term of the loss:

    >>> import torch
    >>> from hdlif.nn import HDLIF, Measure, Sequential, carrying
    >>> network, rates = Sequential(HDLIF(time_steps=2)), []
    >>> rate = Measure(of=lambda x, y: (y > 0).float().mean(), give=rates.append)
    >>> _ = network(torch.ones(2, 1, 4), steps=carrying(range(2), measures={network[0]: rate}))
    >>> rates
    [tensor(1.)]

    Attributes:
        of: computes the tensor from the module's input and output, without state.
        give: receives the tensor once per forward pass with a graph.
    """

    of: Callable[[Tensor, Tensor], Tensor]
    give: Callable[[Tensor], None]

    def take(self, x: Tensor, y: Tensor) -> None:
        """If the forward pass has an autograd graph, compute the measure and pass the result to `give`."""
        if torch.is_grad_enabled():
            self.give(self.of(x, y))


class Observer:
    """Base class for observers of a forward pass. By default, observers do nothing; they may also replace children.

    Attach observers to the steps of a pass with `carrying(steps, observers=...)`. The children of an observed network
    run one by one, not in fused chains.

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
        reads_states: whether `emitted` needs the states before each step, even if the steps are cut from each other.
    """

    reads_states: bool = False

    def before(self, scope: Any, name: str, child: nn.Module, x: Tensor) -> Tensor:
        """Return the input for a child: x or a copy of x.

        Args:
            scope: the `Scope` that runs the child, with `module`, `steps` and `continues`.
            name: the child's name in that module.
            x: [K, B, ...], or [1, B, ...] if it is the same at each step.
        """
        return x

    def run(
        self, scope: Any, name: str, child: nn.Module, x: Tensor, given: State | None
    ) -> tuple[Tensor, State | None] | None:
        """Return an output and state in place of a child's forward pass, or None to let the child run.

        Args:
            given: the child's initial state.
        """
        return None

    def after(self, scope: Any, name: str, child: nn.Module, x: Tensor, y: Tensor, state: State | None) -> Tensor:
        """Return the output of a child for use by later layers: y [K, B, ...] or a copy of y.

        Args:
            x, state: the child's input, and its state after the chunk.
        """
        return y

    def check(self, state: State | None) -> None:
        """Raise `TrainingError` if a forward pass that left the network in `state` cannot be used for training.

        Rules that train step by step call `check` after each pass, before they return the loss.
        """

    def emitted(
        self, neuron: Any, y: Tensor, x: Tensor, before: Sequence[Tensor], steps: range, rows: Sequence[Tensor]
    ) -> Tensor:
        """Return the spikes y [K, B, ...] of a `SteppedNeuron`, or another tensor with the same values.

        Args:
            x: the currents, [K or 1, B, ...].
            before: the states before each step, [K, B, ...].
            rows: the parameters at each step.
        """
        return y

    def joined(self, total: Tensor, parts: Sequence[Tensor], neuron: nn.Module, back: nn.Module) -> None:
        """Record the total current of a recurrent layer, its summands, the neuron layer and the recurrent synapse."""

    def normalised(self, norm: nn.Module, mean: Tensor, var: Tensor) -> None:
        """Record the running means and variances, [K, C] each, that a batch norm used to normalise the steps."""


Weights = Mapping[nn.Module, Tensor]
"""Weights that replace a layer's own weights, by layer."""


@dataclass(frozen=True, eq=False)
class Pass:
    """The settings of a forward pass, which are attached to its steps.

    Attributes:
        weights: replacements for a layer's own weights, by layer; see `HeldWeights`.
        gather: gathers a tensor from all ranks for batch norms in train mode; None for one rank.
        keeps_graphs: whether modules that run again in the backward pass (`models.ReversibleSequential`) keep their
            graph instead.
        measures: measures by module; see `Measure`.
        observers: observers of the pass; see `Observer`.
        by_average: whether batch norms in train mode normalise by their running statistics.
        cut: whether each step of a chunk treats the states that earlier steps leave as constants; see `Temporal.cuts`.
    """

    weights: Weights = field(default_factory=dict)
    gather: Gather | None = None
    keeps_graphs: bool = False
    measures: Mapping[nn.Module, Measure] = field(default_factory=dict)
    observers: tuple[Observer, ...] = ()
    by_average: bool = False
    cut: bool = False


class Steps:
    """A range of consecutive time steps: ints or, under a compiler, int64 tensors of shape [].

    `Steps` is not a `Sequence`, because data-parallel wrappers split sequences into their members.

    Attributes:
        times: the steps themselves.
        carried: the settings that they carry.
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
    """Return the settings that the steps carry, or default settings for a plain range."""
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
    """Return the same steps with the given settings added to the existing settings.

    >>> steps = carrying(range(2, 5), gather=lambda tensor: tensor[None])
    >>> list(steps), steps.start, steps == range(2, 5), carried(steps[1:]).gather is carried(steps).gather
    ([2, 3, 4], 2, True, True)

    Args:
        weights, gather, keeps_graphs, measures, by_average, cut: as in `Pass`; None keeps the current setting.
        observers: added after the current observers.
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
    # Functions annotate steps as a range, from which no class can be derived.
    return cast(range, Steps(times.times if isinstance(times, Steps) else times, replace(known, **given)))


class Carrying(nn.Module):
    """A wrapper of a model that attaches the given settings to every forward pass, as `carrying` does.

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
    """Return the steps of a chunk as tensors for a compiler, with the same settings."""
    return cast(range, Steps(tuple(torch.tensor(t) for t in steps), carried(steps)))


def are_traced(steps: object) -> bool:
    """Return whether the steps are tensors, as in a network that torch.compile traces."""
    return isinstance(steps, Steps) and isinstance(steps.times, tuple)


# This function is not traced: a range must be read outside of every graph.
@_disable_dynamo
def with_traced_steps(arguments: tuple[Any, ...], named: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return a module's arguments after converting ranges of steps to tensors."""
    return tuple(map(_traced, arguments)), {name: _traced(value) for name, value in named.items()}


def _traced(value: Any) -> Any:
    times = value.times if isinstance(value, Steps) else value
    return traced(value) if isinstance(times, range) and len(times) and times.step == 1 and times.start >= 0 else value


Row = int | Tensor
"""Index on the first axis of a tensor: a number, or a tensor [] if it is traced."""


def last_of(step: Row, count: int) -> Row:
    """Return the row index for a step: the step itself, or the last of `count` rows if the step is beyond that row."""
    return step.clamp(max=count - 1) if isinstance(step, Tensor) else min(step, count - 1)


def row_of(values: Tensor, row: Row) -> Tensor:
    """Return values[row], as a view if `row` is a number."""
    # Indexing would read a number from the tensor, which breaks the graph.
    return values.index_select(0, row.view(1)).squeeze(0) if isinstance(row, Tensor) else values[row]


def set_row(values: Tensor, row: Row, new: Tensor) -> None:
    """Set values[row] to new."""
    if isinstance(row, Tensor):
        values.index_copy_(0, row.view(1), new.unsqueeze(0))
    else:
        values[row] = new


def share(part: int, whole: Tensor) -> float | Tensor:
    """Return part/whole.

    Under a compiler, the result is a tensor, because reading a number would break the graph.
    """
    return part / whole if torch.compiler.is_compiling() else part / int(whole)
