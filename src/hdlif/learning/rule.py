"""Interface of learning rules: a rule owns time and truncation; the loop owns optimiser, precision and devices."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol, cast, runtime_checkable

import torch
from torch import Tensor, nn

from hdlif.nn import Carrying, State, detach


@dataclass(frozen=True)
class Plan:
    """Plan of a rule for one batch, known before any forward pass.

    >>> import torch
    >>> from hdlif.learning import SLTT
    >>> SLTT("sum").schedule(3, torch.Generator())
    Plan(time_steps=3, steps=(0, 1, 2), updates=(False, False, True))

    Attributes:
        time_steps: T.
        steps: the time steps that have a loss, ascending.
        updates: for each `Step` the rule will yield, whether it ends an optimiser update.
    """

    time_steps: int
    steps: tuple[int, ...]
    updates: tuple[bool, ...]


@dataclass(frozen=True)
class Step:
    """One loss of a rule, to be back-propagated before requesting the next one.

    An example is at `Plan`.

    Attributes:
        loss: a scalar with its graph.
        logits: the outputs [K, B, n] of the loss's steps, without graph.
        update: whether the optimiser steps once this loss has been back-propagated.
    """

    loss: Tensor
    logits: Tensor
    update: bool


class Kept(Protocol):
    """Data of a rule along a sequence, in addition to the network's state."""

    def tensors(self) -> Mapping[str, Tensor]:
        """All of it, by name."""


@dataclass
class Carry:
    """Where a sequence stands that goes on from one call of a rule to the next, as a stream does that never ends.

    Two parts of one sequence, each learned from as it comes:

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
        state: of the network, without graph; None before the first step.
        step: steps run so far.
        kept: what the rule itself keeps from part to part, such as traces; None if it keeps nothing.
        restored: tensors of an earlier `kept`, by name, which the rule starts from.
    """

    state: State | None = None
    step: int = 0
    kept: Kept | None = None
    restored: Mapping[str, Tensor] = field(default_factory=dict)

    def after(self, state: State | None, steps: int) -> None:
        """The sequence has gone on by so many steps."""
        self.state, self.step = detach(state), self.step + steps


def standing(carry: Carry | None) -> tuple[State | None, int]:
    """The state that a part of a sequence starts from, and the steps before it; without `carry` a sequence starts."""
    return (None, 0) if carry is None else (carry.state, carry.step)


class Rule(Protocol):
    """A learning rule: draws a plan for a batch, and then yields the losses of that plan one by one.

    `SLTT` shows an update. A rule of your own needs these two methods; `hdlif.Trainer` takes it.
    """

    def schedule(self, time_steps: int, generator: torch.Generator) -> Plan:
        """Draw what to do with the next batch."""

    def __call__(self, model: nn.Module, x: Tensor, target: Tensor, plan: Plan) -> Iterator[Step]:
        """Run `model` on x [T, B, ...] (or [1, B, ...], constant in time) and yield the plan's losses in order.

        The target is what the rule's criterion takes: [B, ...], or [B, T, ...] if it changes with the step.
        """


@runtime_checkable
class Tracing(Protocol):
    """A rule whose traces may take much memory, and that says how much before it learns."""

    def traces_of(self, model: nn.Module, x: Tensor, batch: int) -> Mapping[str, int]:
        """Bytes by layer, for a batch of so many samples like x [T or 1, 1, ...]."""


class Streaming(Rule, Protocol):
    """A rule that also learns from a part of a sequence, and hands on where it stands."""

    def __call__(
        self, model: nn.Module, x: Tensor, target: Tensor, plan: Plan, carry: Carry | None = None
    ) -> Iterator[Step]:
        """As of every rule; `plan` and x are of the part, all of whose steps run, from where `carry` stands.

        When the last of the plan's losses is asked for, `carry` stands after the part.
        """


def run(
    rule: Rule, model: nn.Module, x: Tensor, target: Tensor, plan: Plan, carry: Carry | None = None
) -> Iterator[Step]:
    """The losses of a batch of whole samples; or, where a `carry` says where they stand, of a part of streams.

    Batch norms of streams normalise by their running averages.
    """
    if carry is None:
        return rule(model, x, target, plan)
    return cast(Streaming, rule)(Carrying(model, by_average=True), x, target, plan, carry=carry)


def chunk(x: Tensor, steps: range) -> Tensor:
    """The part of a sequence that belongs to `steps`: a slice, or the one constant input."""
    return x if x.shape[0] == 1 else x[steps.start : steps.stop]
