"""Validate each epoch, choose the best epoch, and compare train mode with eval mode."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hdlif.data import Samples
from hdlif.nn import BatchNorm2d, evaluation_mode
from hdlif.nn.modes import left_as_it_was
from hdlif.training.evaluate import evaluate, reestimated
from hdlif.training.interfaces import InnerTraining
from hdlif.training.progress import Progress
from hdlif.training.tasks import Evaluation, Measured, Task, finite

_FAR = 0.1
"""Difference in accuracy that causes a warning, unless chance alone could explain it."""


def compared_modes(
    model: nn.Module, batches: Sequence[tuple[Tensor, Tensor]], *, task: Task, device: torch.device
) -> str | None:
    """Return a warning if the accuracy in eval mode is far below the accuracy in train mode, otherwise None.

    A difference leads to a warning if it is more than 0.1 and more than three standard errors. The comparison leaves
    the network's buffers and the random state unchanged.

    Args:
        batches: batches (x, target) of training samples.
        task: a task whose first metric is the accuracy.
    """
    with torch.no_grad():
        # Evaluate first, since batch norm in train mode changes its statistics for eval mode.
        with evaluation_mode(model):
            in_eval = _accuracy(model, batches, task)
        with left_as_it_was(model, device):
            model.train()
            in_train = _accuracy(model, batches, task)
    samples = sum(len(target) for _, target in batches)
    if in_train - in_eval <= max(_FAR, 3 * math.sqrt(in_train * (1 - in_train) / samples)):
        return None
    return (
        f"of {samples} training samples, {in_eval:.1%} are classified correctly in eval mode, as deployed, and "
        f"{in_train:.1%} in train mode: {_cause(model)}"
    )


def _accuracy(model: nn.Module, batches: Sequence[tuple[Tensor, Tensor]], task: Task) -> float:
    tally = task.tally()
    for x, target in batches:
        outputs, _ = model(x, steps=range(task.time_steps))
        tally(outputs, target)
    return tally.score


def _cause(model: nn.Module) -> str:
    """Describe why the accuracy differs between train mode and eval mode, and how to fix this."""
    norms = [module for module in model.modules() if isinstance(module, BatchNorm2d)]
    if any(norm.time_steps is None for norm in norms):
        return (
            "batch norm normalises each time step by its own batch in training, and all steps by shared statistics "
            "afterwards; set norm={kind: affine}, or norm={kind: batch_norm, per_step: true}"
        )
    if norms:
        return (
            "batch norm normalises by the batch in training, and by running statistics afterwards; set a larger "
            "data.batch_size, or norm={kind: affine}"
        )
    return "a layer, such as dropout, differs between the modes; lower its rate, or remove it"


REESTIMATION_SAMPLES = 1000
"""Number of training samples for measuring batch norm's statistics before a validation."""
COMPARED_SAMPLES = 300
"""Number of training samples that are classified in train and in eval mode at the end."""


@dataclass(frozen=True)
class Validation:
    """The validation of a training run, which records the best epoch in the counters."""

    training: InnerTraining

    def run(self) -> Evaluation:
        """Evaluate the epoch, and record it as the best if `Task.better` returns the largest value so far.

        Among epochs with equal scores, which are common with few samples, the epoch with the lowest loss is the best.
        Without validation samples, training samples are evaluated, and the last epoch counts as the best.
        """
        training, ranks = self.training, self.training.ranks
        held_out = len(training.validation) > 0
        with self._measured_network() as sample:
            batches = (
                self._read("validation", training.validation)
                if held_out
                else self._read_plain("training samples", sample)
            )
            result = evaluate(training.network, batches, task=training.task, total=ranks.sum, each=ranks.each)
            if not math.isfinite(result.loss):
                training.fail(
                    f"epoch {training.counters.epoch + 1}: the validation loss is {result.loss}; lower learning_rate"
                )
            best = self._note(result, held_out=held_out)
            for callback in training.callbacks:
                callback.on_validation_end(training, result, best=best)
        training.log("validation", **({} if held_out else {"part": "train"}), **result.as_dict())
        return result

    def _note(self, result: Evaluation, *, held_out: bool) -> bool:
        """Return whether an epoch is the best so far, and if it is, record it in the counters."""
        counters, score = self.training.counters, self.training.task.better(result)
        # A score that is not a number is better only than no score.
        least = -math.inf if counters.best_score is None else counters.best_score
        best = not counters.best_epoch or (score, -result.loss) > (least, -counters.best_loss) or not held_out
        if best:
            if score > least or not counters.score_epoch or not held_out:
                counters.score_epoch = counters.epoch + 1
            counters.best_epoch, counters.best_score = counters.epoch + 1, score if math.isfinite(score) else None
            counters.best_loss = result.loss
            counters.best_metrics, counters.best_per_step = finite(result.metrics), result.per_step
        return best

    def compare_modes(self) -> None:
        """Warn if the network is far less accurate in eval mode, the deployed mode, than in train mode."""
        training, size = self.training, self.training.batch_size
        # For streams, both modes normalise in the same way. After a signal, a complete training run only has to end.
        if training.streams is not None or training.pending.number is not None:
            return
        if not isinstance(training.task, Measured) or next(iter(training.task.figures)) != "accuracy":
            return
        with self._measured_network() as sample:
            chosen = sample[: max(size, COMPARED_SAMPLES // size * size)]
            batches = list(self._read_plain("training samples", chosen))
            line = compared_modes(training.network, batches, task=training.task, device=training.device)
        if line is not None and training.ranks.first:
            training.say(line, warning=True)

    @contextmanager
    def _measured_network(self) -> Iterator[Tensor]:
        """Enter the validation contexts, re-estimate batch norm on training samples, and yield their indices."""
        training, size = self.training, self.training.batch_size
        draws = training.generator("reestimation", 0)
        # Whole batches, so each sample has the same weight; an epoch has at least one batch.
        whole = max(1, min(REESTIMATION_SAMPLES // size, training.batches))
        sample = torch.randperm(len(training.train), generator=draws)[: whole * size]
        with ExitStack() as inside:
            for callback in training.callbacks:
                inside.enter_context(callback.validation_context(training))
            # The statistics of streams are averages that training has normalised by.
            if training.streams is None:
                batches = self._read_plain("batch norm", sample)
                inside.enter_context(reestimated(training.network, batches, time_steps=training.task.time_steps))
            yield sample

    def _read_plain(self, what: str, indices: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield batches of training samples without augmentation."""
        return self._read(what, self.training.train.plain(), indices)

    def _read(self, what: str, samples: Samples, indices: Tensor | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield batches of all samples or of the samples at `indices`, and show the progress of reading."""
        training = self.training
        chosen = torch.arange(len(samples)) if indices is None else indices
        shares = training.ranks.shares(torch.split(chosen, training.batch_size))
        with ExitStack() as inside:
            count = sum(map(len, shares))
            shown = [one for one in training.callbacks if isinstance(one, Progress)]
            advances = [inside.enter_context(one.reading(what, count)) for one in shown]
            for x, target in training.pending.between(samples.stream(shares)):
                yield x.to(training.device), target.to(training.device)
                for advance in advances:
                    advance(len(target))
