"""Update the network from one batch at a time, and share counters and signals among ranks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hdlif.learning import Carry, Plan
from hdlif.learning.rule import run as run_rule
from hdlif.training.callback import Batch
from hdlif.training.interfaces import InnerTraining
from hdlif.training.streaming import Streams
from hdlif.training.tasks import AnswerCounter


@dataclass
class BatchLearner:
    """A learner that trains on one batch at a time.

    Attributes:
        training: the training run, whose counters advance.
        signal: the signal received by any rank, as of the last update.
        is_checkpoint_due: whether a checkpoint is due, as of the last update.
    """

    training: InnerTraining
    signal: int = 0
    is_checkpoint_due: bool = False
    _right: int = 0
    _answers: int = 0

    def learn(self, x: Tensor, target: Tensor) -> None:
        """Train on a batch that is already on the device, and advance the counters."""
        counters = self.training.counters
        batch, streams = self.prepared(x, target), self.training.streams
        self.seed_noise()
        losses = [self._update(batch)] if streams is None else self._update_on_parts(batch, streams)
        counters.loss += math.fsum(losses) / len(losses)
        counters.window += 1
        counters.batch += 1
        counters.step += 1

    def prepared(self, x: Tensor, target: Tensor) -> Batch:
        """Return the batch after all callbacks have had the chance to replace it."""
        batch = Batch(x, target, target)
        for callback in self.training.callbacks:
            batch = callback.on_batch_start(self.training, batch) or batch
        return batch

    def seed_noise(self) -> None:
        """Seed torch's random number generator for the batch."""
        torch.manual_seed(self.training.seed_for("noise"))

    def ask_ranks(self) -> None:
        """Find out for all ranks whether any rank has received a signal and whether a checkpoint is due."""
        ranks = self.training.ranks
        self.signal = ranks.highest(self.training.pending.number or 0)
        self.is_checkpoint_due = bool(ranks.highest(self._is_due()))

    def _is_due(self) -> bool:
        return self.training.ranks.first and any(one.is_due() for one in self.training.checkpoints)

    def _update(self, batch: Batch) -> float:
        """Update the network with a batch of independent samples and return the loss."""
        training, accumulate = self.training, self.training.config.accumulate
        update, part = divmod(training.counters.step, accumulate)
        plan = training.rule.schedule(training.task.time_steps, training.generator("plan", update))
        answered = AnswerCounter(training.task, plan.steps, batch.answers)
        loss = training.updater(
            batch.x,
            batch.target,
            plan,
            share=1 / accumulate,
            last=part == accumulate - 1,
            agree=self._agreed(plan, answered),
            hear=answered,
        )
        self._count(loss, batch, plan)
        return loss

    def _update_on_parts(self, batch: Batch, streams: Streams) -> list[float]:
        """Update the network with each part of a batch of streams and return the losses of the parts."""
        training, losses = self.training, []
        parts = list(streams.parts(batch.x, batch.target))
        answers = [answer for _, answer in streams.parts(batch.x, batch.answers)]
        for place, (x, target) in enumerate(parts):
            update = training.counters.step * len(parts) + place
            plan = training.rule.schedule(streams.every, training.generator("plan", update))
            answered = AnswerCounter(training.task, plan.steps, answers[place])
            agree, before = self._agreed(plan, answered), Carry(streams.carry.state, streams.carry.step)
            losses.append(training.updater(x, target, plan, agree=agree, hear=answered, carry=streams.carry))
            self._count(losses[-1], Batch(x, target, answers[place]), plan, before)
        return losses

    def _agreed(self, plan: Plan, answered: AnswerCounter) -> Callable[[float], float]:
        """Return a function that averages an update's loss over ranks, and exchanges counts and signals among them."""
        ranks = self.training.ranks

        def agree(loss: float) -> float:
            self._right = self._answers = 0
            if answered.losses == len(plan.updates):
                self._right, self._answers = answered.right()
            sums, highest = ranks.exchange(
                [loss, self._right, self._answers], [self.training.pending.number or 0, int(self._is_due())]
            )
            loss, self._right, self._answers = sums[0] / ranks.count, int(sums[1]), int(sums[2])
            self.signal, self.is_checkpoint_due = highest[0], bool(highest[1])
            return loss

        return agree

    def _count(self, loss: float, batch: Batch, plan: Plan, before: Carry | None = None) -> None:
        """Count the correct predictions of the last update, or end training if its loss is not finite."""
        if not math.isfinite(loss):
            self.training.fail(self._explain(loss, batch, plan, before))
        self.training.counters.correct += self._right
        self.training.counters.answers += self._answers

    def _explain(self, loss: float, batch: Batch, plan: Plan, before: Carry | None) -> str:
        """Run the batch again without updating the network, and describe the first non-finite value.

        Args:
            before: state of the streams before the batch; None for independent samples.
        """
        training = self.training
        self.seed_noise()

        def run() -> None:
            for _ in run_rule(training.rule, training.updater.network, batch.x, batch.target, plan, before):
                pass

        if training.ranks.highest(not batch.x.isfinite().all()):
            found = "the batch of samples"
        else:
            found = first_not_finite(training.model, run) or "the loss itself (every layer is finite)"
        return (
            f"step {training.counters.step}: the loss is {loss}, and the first value that is not finite is {found}; "
            "lower learning_rate or check the data"
        )


def first_not_finite(model: nn.Module, run: Callable[[], object]) -> str | None:
    """Call `run` and describe the first non-finite parameter or layer output, if any."""
    found: list[str] = []

    def watch(name: str) -> Callable[[nn.Module, object, object], None]:
        def check(layer: nn.Module, _: object, output: object) -> None:
            if found:
                return
            for own, parameter in layer.named_parameters(recurse=False):
                if not parameter.isfinite().all():
                    found.append(f"the parameter {name}.{own}")
                    return
            if not all(tensor.isfinite().all() for tensor in _tensors(output)):
                found.append(f"the output of {name} ({type(layer).__name__})")

        return check

    with ExitStack() as hooks:
        for name, layer in model.named_modules():
            hooks.callback(layer.register_forward_hook(watch(name or "the network")).remove)
        run()
    return found[0] if found else None


def _tensors(value: object) -> Iterator[Tensor]:
    """Yield the tensors in nested tuples, lists and mappings."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, Mapping):
        for member in value.values():
            yield from _tensors(member)
    elif isinstance(value, tuple | list):
        for member in value:
            yield from _tensors(member)
