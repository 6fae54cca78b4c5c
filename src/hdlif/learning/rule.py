"""The interface of learning rules, which handle time and truncation, but not the optimiser, precision or devices."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol, cast, runtime_checkable

import torch
from torch import Tensor, nn

from hdlif.nn import Carrying, State, detach


@dataclass(frozen=True)
class Plan:
    """The plan of a rule for one batch, made before any forward pass.

    >>> import torch
    >>> from hdlif.learning import SLTT
    >>> SLTT("sum").schedule(3, torch.Generator())
    Plan(time_steps=3, steps=(0, 1, 2), updates=(False, False, True))

    Attributes:
        time_steps: T.
        steps: the time steps that have a loss, ascending.
        updates: for each `Step` that the rule will yield, whether it ends an optimiser update.
    """

    time_steps: int
    steps: tuple[int, ...]
    updates: tuple[bool, ...]


@dataclass(frozen=True)
class Step:
    """One loss of a rule, which must be back-propagated before the next loss is requested.

    See `Plan` for an example.

    Attributes:
        loss: a scalar with its graph.
        logits: the outputs [K, B, n] of the loss's steps, without graph.
        update: whether the optimiser steps once this loss has been back-propagated.
    """

    loss: Tensor
    logits: Tensor
    update: bool


class Kept(Protocol):
    """The data that a rule keeps during a sequence, in addition to the network's state."""

    def tensors(self) -> Mapping[str, Tensor]:
        """Return all tensors by name."""


@dataclass
class Carry:
    """The position in a sequence that continues across calls of a rule, such as an endless stream.

    In this example, a rule trains on two consecutive parts of one sequence:

    >>> import torch
    >>> from torch import nn
    >>> from hdlif.learning import SLTT, Carry
    >>> from hdlif.nn import HDLIF, Sequential
    >>> model = Sequential(nn.Linear(2, 8), HDLIF(time_steps=8), nn.Linear(8, 3))
    >>> rule, carry, target = SLTT(), Carry(), torch.tensor([0, 1, 2, 0, 1])
    >>> for part in torch.rand(8, 5, 2).split(4):
    ...     for step in rule(model, part, target, rule.schedule(4, torch.Generator()), carry=carry):
    ...         step.loss.backward()
    >>> carry.step, sorted(carry.state)
    (8, ['1'])

    Attributes:
        state: state of the network, without graph; None before the first step.
        step: steps run so far.
        kept: data that the rule itself keeps from part to part, such as traces; None if it keeps nothing.
        restored: tensors of an earlier `kept`, by name, from which the rule starts.
    """

    state: State | None = None
    step: int = 0
    kept: Kept | None = None
    restored: Mapping[str, Tensor] = field(default_factory=dict)

    def after(self, state: State | None, steps: int) -> None:
        """Record the state of the sequence after `steps` more steps."""
        self.state, self.step = detach(state), self.step + steps


def standing(carry: Carry | None) -> tuple[State | None, int]:
    """Return the state before the next part of a sequence, and the number of steps that have run so far.

    Without `carry`, return (None, 0).
    """
    return (None, 0) if carry is None else (carry.state, carry.step)


class Rule(Protocol):
    """A learning rule, which draws a plan for a batch and then yields the plan's losses one by one.

    See `SLTT` for an example of an update. To work with `hdlif.Trainer`, your own rule needs only the methods
    `schedule` and `__call__`.
    """

    def schedule(self, time_steps: int, generator: torch.Generator) -> Plan:
        """Draw the plan for the next batch."""

    def __call__(self, model: nn.Module, x: Tensor, target: Tensor, plan: Plan) -> Iterator[Step]:
        """Run `model` on x [T, B, ...], or [1, B, ...] if constant in time, and yield the plan's losses in order.

        The target has the format that the rule's criterion expects: [B, ...], or [B, T, ...] if the target changes with
        the step.
        """


@runtime_checkable
class Tracing(Protocol):
    """A rule that reports the memory of its traces before training."""

    def traces_of(self, model: nn.Module, x: Tensor, batch: int) -> Mapping[str, int]:
        """Return the size in bytes of each layer's traces, for `batch` samples like the one in x [T or 1, 1, ...]."""


class Streaming(Rule, Protocol):
    """A rule that can also train on one part of a sequence and then continue with the next part."""

    def __call__(
        self, model: nn.Module, x: Tensor, target: Tensor, plan: Plan, carry: Carry | None = None
    ) -> Iterator[Step]:
        """Run the rule on the part of a sequence that `plan` and x cover, starting from `carry`.

        All steps of the part run. After the last loss of the plan has been yielded, `carry` is at the end of the part.
        """


def run(
    rule: Rule, model: nn.Module, x: Tensor, target: Tensor, plan: Plan, carry: Carry | None = None
) -> Iterator[Step]:
    """Return a rule's losses for independent samples or, if `carry` is given, for the next part of each stream.

    For streams, batch norms normalise by running averages.
    """
    if carry is None:
        return rule(model, x, target, plan)
    return cast(Streaming, rule)(Carrying(model, by_average=True), x, target, plan, carry=carry)


def chunk(x: Tensor, steps: range) -> Tensor:
    """Return the part of the sequence x at `steps`, or x itself if the input is constant in time."""
    return x if x.shape[0] == 1 else x[steps.start : steps.stop]
