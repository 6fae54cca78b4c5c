"""What may be done beside the learning itself: one small interface, whose every method does nothing by default."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor

if TYPE_CHECKING:
    from hdlif.tasks import Evaluation
    from hdlif.training.activity import Penalty
    from hdlif.training.fallback import SavedState
    from hdlif.training.training import Training


@dataclass(frozen=True)
class Batch:
    """What is learned from at once.

    Attributes:
        x: [T or 1, B, ...].
        target: what the rule's criterion takes.
        answers: the target by which right answers are counted.
    """

    x: Tensor
    target: Tensor
    answers: Tensor


class Callback:
    """Is called at fixed moments of a training, after those that stand before it; on every rank alike.

    What it keeps from one batch to the next belongs in `tensors` and `record`, so that a training that is resumed
    goes on as if it had never stopped. What it draws at random should be a function of `training.seed_for(purpose)`.

    >>> import hdlif, torch
    >>> from torch import nn
    >>> from hdlif.nn import HDLIF, Sequential
    >>> from hdlif.training import Averaging, Callback, Patience
    >>> class Shown(Callback):
    ...     def validated(self, training, evaluation, *, best):
    ...         print(f"epoch {training.counters.epoch + 1}: {evaluation.n} samples")
    >>> model = Sequential(nn.Flatten(), nn.Linear(64, 8), HDLIF(time_steps=4), nn.Linear(8, 3))
    >>> task, config = hdlif.Classify(("a", "b", "c"), 4), hdlif.TrainingConfig(epochs=2, learning_rate=0.1)
    >>> given, callbacks = (torch.rand(12, 1, 8, 8), torch.arange(12) % 3), [Shown(), Averaging(0.9), Patience(5)]
    >>> trainer = hdlif.Trainer(model, rule=hdlif.SLTT(), task=task, config=config, callbacks=callbacks, batch_size=4)
    >>> fit = trainer.fit(given, given)
    epoch 1: 12 samples
    epoch 2: 12 samples
    """

    penalty: Penalty | None = None
    """On the activity of the layers, added to every loss; of one callback at the most."""
    keeps_best: bool = False
    """Whether it puts the network of the best epoch back at the `end`."""

    pairs: bool = False
    """Whether it mixes the samples of a batch by twos."""

    def found(self, training: Training) -> SavedState | None:
        """A state to go on from."""

    def restore(self, tensors: Mapping[str, Tensor], record: Mapping[str, Any]) -> None:
        """Take up what `tensors` and `record` gave when the state was written."""

    def begin(self, training: Training) -> None:
        """Called when the training stands where it begins or goes on."""

    def prepare(self, training: Training, batch: Batch) -> Batch:
        """The batch that is learned from, on the training's device."""
        return batch

    def updated(self, training: Training) -> None:
        """Called after each update that was made."""

    def learned(self, training: Training) -> None:
        """Called after each batch, when it is counted."""

    def logged(self, training: Training, event: Mapping[str, Any]) -> None:
        """Called with each event of the training: its name as "event", the "epoch", the "step", "seconds" and more."""

    def said(self, line: str, *, warning: bool) -> None:
        """Called with a line for whoever watches."""

    def reading(self, training: Training, what: str, samples: int) -> AbstractContextManager[Callable[[int], None]]:
        """Around the reading of samples that are not learned from; what it gives is called with their number."""
        return nullcontext(lambda count: None)

    def validating(self, training: Training) -> AbstractContextManager[None]:
        """Around each validation: the network inside is the one that is measured and kept."""
        return nullcontext()

    def validated(self, training: Training, evaluation: Evaluation, *, best: bool) -> None:
        """Called inside of `validating`, on whether the epoch is the best so far."""

    def epoch_done(self, training: Training, evaluation: Evaluation) -> None:
        """Called after each validation, while `training.counters.epoch` is still that of before the epoch."""

    def due(self, training: Training) -> bool:
        """Whether to be called `at_rest` before the next batch; the first rank's answer is what counts."""
        return False

    def at_rest(self, training: Training, *, epoch_done: bool) -> None:
        """Called at the end of each epoch, and between two updates where one is `due`: the state is whole."""

    def stops(self, training: Training) -> bool:
        """Whether no further epoch is to begin."""
        return False

    def interrupted(self, training: Training) -> None:
        """Called where a signal has stopped the training, whose state is whole."""

    def end(self, training: Training) -> None:
        """Called after the last epoch."""

    def close(self) -> None:
        """Called whatever ended the training, if it had begun."""

    def tensors(self) -> Mapping[str, Tensor]:
        """What a checkpoint keeps, by names of one's own."""
        return {}

    def record(self) -> Mapping[str, Any]:
        """What a checkpoint keeps beside tensors: plain values of JSON, by keys of one's own."""
        return {}

    def kept(self) -> str | None:
        """What a training that fails leaves to go on from, in words."""
