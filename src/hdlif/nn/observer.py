"""Observers of forward passes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

State = Mapping[str, Any]


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
