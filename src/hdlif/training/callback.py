"""The callback interface: the hooks into a training run, and the attributes that hooks may read and change.

A checkpoint stores the callbacks' plain values in the record under "callbacks", and their tensors as
callbacks.NAME.KEY.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from hdlif.config import TrainingConfig
from hdlif.errors import TrainingError, first_line
from hdlif.learning import Rule
from hdlif.training.ranks import Ranks
from hdlif.training.state_record import Counters
from hdlif.training.tasks import Evaluation, Task


@dataclass(frozen=True)
class Batch:
    """A batch of samples on the training device.

    Attributes:
        x: [T or 1, B, ...].
        target: target for the rule's criterion.
        answers: target for counting correct predictions.
    """

    x: Tensor
    target: Tensor
    answers: Tensor


class Training(Protocol):
    """The interface that a training run offers to callbacks.

    Attributes:
        model, rule, task, config: the arguments of `Trainer`.
        optimizer: the optimiser of the parameters of `model`.
        counters: epochs, batches and updates so far, and the best epoch.
        ranks: the processes of the training run; call collective methods on all of them.
        device: device of the model and its batches.
        batches: batches per epoch, over all ranks.
        steps: batches in the whole training run.
        should_stop: set it to True to end the training after the current epoch.
    """

    model: nn.Module
    rule: Rule
    task: Task
    config: TrainingConfig
    optimizer: torch.optim.Optimizer
    counters: Counters
    ranks: Ranks
    batches: int
    steps: int
    should_stop: bool

    @property
    def device(self) -> torch.device: ...

    def autocast(self) -> AbstractContextManager[Any]:
        """Return a context in which torch computes in the training precision."""

    def log(self, event: str, **values: object) -> None:
        """Call `on_log` of every callback with an event."""

    def say(self, line: str, *, warning: bool = False) -> None:
        """Show a line to the user, and send it to the callbacks as the event "message"."""

    def seed_for(self, purpose: str) -> int:
        """Return a seed of 63 random bits for the current batch and rank; a resumed run gets the same seed."""

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return the content of a checkpoint: tensors, and a record of plain values."""


class Callback:
    """Base class for callbacks. By default, every method does nothing.

    A training run calls its callbacks in order, on every rank. To make a callback resume exactly, return all of its
    state from `state_dict` and seed its random numbers with `training.seed_for(purpose)`.

    >>> import hdlif, torch
    >>> from torch import nn
    >>> from hdlif.nn import HDLIF, Sequential
    >>> from hdlif.training import Averaging, Callback, Patience
    >>> class Printer(Callback):
    ...     def on_epoch_end(self, training, evaluation):
    ...         print(f"epoch {training.counters.epoch + 1}: {evaluation.n} samples")
    >>> model = Sequential(nn.Flatten(), nn.Linear(64, 8), HDLIF(time_steps=4), nn.Linear(8, 3))
    >>> task, config = hdlif.Classify(("a", "b", "c"), 4), hdlif.TrainingConfig(epochs=2, learning_rate=0.1)
    >>> data, callbacks = (torch.rand(12, 1, 8, 8), torch.arange(12) % 3), [Printer(), Averaging(0.9), Patience(5)]
    >>> trainer = hdlif.Trainer(model, rule=hdlif.SLTT(), task=task, config=config, callbacks=callbacks, batch_size=4)
    >>> fit = trainer.fit(data, data)
    epoch 1: 12 samples
    epoch 2: 12 samples
    """

    def on_train_start(self, training: Training) -> None:
        """Called before the first batch of this process, after `load_state_dict`."""

    def on_batch_start(self, training: Training, batch: Batch) -> Batch | None:
        """Called before each batch. Return a batch that replaces `batch`, or None to keep `batch`."""

    def on_update_end(self, training: Training) -> None:
        """Called after each optimiser step; a batch may take several steps, or share one step with other batches."""

    def on_batch_end(self, training: Training) -> None:
        """Called after each batch, once the counters include it."""

    def validation_context(self, training: Training) -> AbstractContextManager[None]:
        """Return a context for each validation; it may change the network, for example to use averaged weights."""
        return nullcontext()

    def on_validation_end(self, training: Training, evaluation: Evaluation, *, best: bool) -> None:
        """Called inside `validation_context` after a validation; `best` is True for the best epoch so far."""

    def on_epoch_end(self, training: Training, evaluation: Evaluation) -> None:
        """Called after each validation. `training.counters.epoch` does not yet include this epoch."""

    def on_train_end(self, training: Training) -> None:
        """Called after the last epoch."""

    def on_log(self, training: Training, event: Mapping[str, Any]) -> None:
        """Called with each event, a mapping with the keys "event" (the name), "epoch", "step", "seconds" and more.

        The event "message" has the keys "line" (text for the user) and "warning", which is True for warnings.
        """

    def teardown(self) -> None:
        """Called at the end of every training run, even if the run failed."""

    def state_dict(self) -> Mapping[str, Any]:
        """Return the state for checkpoints: tensors and JSON values, keyed by name."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the state when a run resumes; `state` is {} if the checkpoint contains none for this callback."""


def callback_states(callbacks: Sequence[Callback]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors and the plain values of all callbacks' states.

    Raises:
        TrainingError: a callback's state contains something other than tensors and JSON values.
    """
    tensors: dict[str, Tensor] = {}
    plain: dict[str, Any] = {}
    for name, callback in _named(callbacks):
        state = callback.state_dict()
        values = {key: value for key, value in state.items() if not isinstance(value, Tensor)}
        tensors |= {f"{_of(name)}{key}": value for key, value in state.items() if isinstance(value, Tensor)}
        try:
            json.dumps(values, allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            raise TrainingError(
                f"{name}: its state_dict cannot be stored in a checkpoint ({first_line(error)}); give tensors and "
                "plain JSON values"
            ) from error
        if values:
            plain[name] = values
    return tensors, plain


def load_callback_states(
    callbacks: Sequence[Callback], tensors: Mapping[str, Tensor], plain: Mapping[str, Mapping[str, Any]]
) -> None:
    """Restore every callback's state from a checkpoint."""
    for name, callback in _named(callbacks):
        prefix = _of(name)
        own = {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
        callback.load_state_dict({**plain.get(name, {}), **own})


def _named(callbacks: Sequence[Callback]) -> Iterator[tuple[str, Callback]]:
    """Yield each callback with a unique name: its class name, or "NAME 2" for a second callback of the same class."""
    seen: Counter[str] = Counter()
    for callback in callbacks:
        name = type(callback).__name__
        seen[name] += 1
        yield name if seen[name] == 1 else f"{name} {seen[name]}", callback


def _of(name: str) -> str:
    return f"callbacks.{name}."
