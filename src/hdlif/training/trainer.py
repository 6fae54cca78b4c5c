"""`Trainer`, which trains a network with a rule, a task and callbacks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, is_dataclass, replace
from typing import TYPE_CHECKING, Any, cast

import torch
import torch.nn.functional as F
from torch import nn

from hdlif.config import TrainingConfig
from hdlif.data import Samples
from hdlif.errors import InputError
from hdlif.learning import Rule
from hdlif.training.accelerator import Accelerator
from hdlif.training.activity import ActivityPenalty
from hdlif.training.average import Averaging
from hdlif.training.callback import Callback, Training
from hdlif.training.checkpoints import Checkpoints
from hdlif.training.entry import check_parts, checked_samples
from hdlif.training.interruption import deferred_signals
from hdlif.training.loop import TrainingLoop
from hdlif.training.mixup import Mixing
from hdlif.training.optimization import OptimizerLike, SchedulerLike, optimization
from hdlif.training.ranks import Ranks, check_share
from hdlif.training.tasks import Evaluation, Task
from hdlif.training.threads import Threads, using_threads

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor
    from torch.utils.data import Dataset

    Array = Tensor | np.ndarray[Any, Any]
    Given = Dataset[Any] | tuple[Array, Array] | list[Array]
    """Type of the data for `fit`; `Samples` are a data set, too."""


@dataclass(frozen=True)
class Fit:
    """The result of a training run: its epoch with the best validation score, and the metrics of that epoch.

    See `Trainer` for an example.

    Attributes:
        score: score of the best epoch, by which it was chosen (`Task.better`); -infinity if it was not a number. Among
            epochs with equal scores, the one with the lowest validation loss is the best.
        metrics: metrics of the best epoch, by name; NaN if a metric is not a number.
        per_step: as in `Evaluation.per_step`.
        best_epoch: number of the best epoch, from 1.
        train_seconds: duration of the whole training run.
        steps: number of batches used for training.
        threads: number of PyTorch's threads, and the way it was chosen.
    """

    best_epoch: int
    score: float
    metrics: Mapping[str, float]
    per_step: tuple[float, ...]
    train_seconds: float
    steps: int
    threads: Threads


class Trainer:
    """A trainer for a network with a learning rule, a task and callbacks.

    >>> import hdlif, torch
    >>> from hdlif.data import digits
    >>> from hdlif.models import resnet
    >>> from hdlif.nn import HDLIF
    >>> _ = torch.manual_seed(0)
    >>> sets = digits(validation=200, augment=(), seed=0)
    >>> model = resnet(neuron=lambda place: HDLIF(4), blocks=[1], width=4, classes=10, in_channels=1)
    >>> task = hdlif.Classify(sets.classes, time_steps=4)
    >>> config = hdlif.TrainingConfig(epochs=4, learning_rate=0.1)
    >>> trainer = hdlif.Trainer(model, rule=hdlif.StochasticStep(k=1), task=task, config=config)
    >>> trainer.fit(sets.train, sets.validation).metrics["accuracy"] > 0.2
    True

    Args:
        model: `model(x, state, steps=...)` returns (outputs [K, B, n], state); `task.outputs` names its n outputs.
        rule: a learning rule; if its criterion is the default, it gets the task's criterion.
        task: the task to learn, which also defines the time steps.
        config: epochs, learning rate, precision and other settings of the loop; its `ema_decay` and `patience` are
            callbacks that come before the others.
        callbacks: additional callbacks, in this order: checkpoints, a log, a bar, mixing, a teacher, a penalty.
        batch_size: samples per update, over all processes; an incomplete last batch of an epoch is omitted.
        seed: seed of all random numbers, including the order of the samples.
        optimizer: an optimiser of torch, such as torch.optim.Adam(model.parameters(), lr=1e-3), or a function of the
            model that returns one; by default `config.optimizer`. An optimiser that you pass uses its own learning rate
            and weight decay, not those of `config`.
        scheduler: a function of (step, total), in updates, that returns the factor of the learning rates; a scheduler
            of torch.optim.lr_scheduler, which is stepped once per epoch; or a function of the optimiser that returns
            one. By default `config.schedule`.
        accelerator: device, processes and precision; by default this process on the GPU or the CPU, in
            `config.precision`.
        threads: number of PyTorch's threads meanwhile; by default the number of the resumed run, or PyTorch's own.
        cores: if not 0, the number of threads is chosen from 1, 2, 4, ... up to this number: the first updates, timed
            on a copy, decide (on a CPU, in one process).
        compile_backend: backend of torch.compile, if `config.compile` is set.
        log_every: batches between two training events.
    Raises:
        InputError: an argument is invalid, or two callbacks have a penalty.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        rule: Rule,
        task: Task,
        config: TrainingConfig,
        callbacks: Sequence[Callback] = (),
        batch_size: int = 64,
        seed: int = 42,
        optimizer: OptimizerLike | None = None,
        scheduler: SchedulerLike | None = None,
        accelerator: Accelerator | None = None,
        threads: int | None = None,
        cores: int = 0,
        compile_backend: str = "inductor",
        log_every: int = 20,
    ) -> None:
        counts = {"batch_size": batch_size, "seed": seed, "threads": threads, "cores": cores, "log_every": log_every}
        check_parts(model=model, rule=rule, task=task, config=config, callbacks=callbacks, **counts)
        self.model, self.task, self.config = model, task, config
        self.rule = with_criterion(rule, task)
        self.callbacks = [*_of_config(config), *callbacks]
        if not any(isinstance(one, Checkpoints | BestInMemory) for one in self.callbacks):
            self.callbacks.append(BestInMemory())
        penalties = [one.penalty for one in self.callbacks if isinstance(one, ActivityPenalty)]
        if len(penalties) > 1:
            raise InputError("two callbacks have a penalty on activity; give only one")
        self.penalty = penalties[0] if penalties else None
        self.batch_size, self.seed = batch_size, seed
        self.optimization = optimization(config, optimizer, scheduler)
        self._accelerator = accelerator
        self.samples: Samples | None = None
        """Training samples of the last call of `fit`."""
        self.threads, self.cores, self.compile_backend = threads, cores, compile_backend
        self.log_every = log_every

    def fit(self, train: Given, validation: Given) -> Fit:
        """Train the network, restore the weights with the best score on `validation`, and set the network to eval mode.

        Ctrl-C and SIGTERM stop training between two batches. In a training run with several processes, each process
        must call `fit` with the same arguments. Each process then trains on an equal share of every batch.

        Args:
            train, validation: a pair (x, target) of tensors or arrays, x [N, ...] shown at every step; a map-style
                data set of such pairs; or samples, such as `hdlif.data.TensorSamples` and `DatasetSamples`, whose
                `frames` show x [N, T, ...] step by step. Their order is a function of (seed, epoch).
        Raises:
            InputError, DataError, ShapeError: an argument is something else, or does not fit the task.
            TrainingError: the loss or a weight is not finite.
            RecipeError: the processes cannot share a batch equally.
            KeyboardInterrupt, SystemExit(143): after Ctrl-C or SIGTERM, respectively.
        """
        self.samples = checked_samples(train, "train", self.task)
        train, validation = self.samples, checked_samples(validation, "validation", self.task)
        accelerator = self._accelerator or Accelerator(precision=self.config.precision)
        ranks = Ranks(accelerator)
        check_share(self.batch_size, ranks.count, paired=any(isinstance(one, Mixing) for one in self.callbacks))
        cuda = [accelerator.device] if accelerator.device.type == "cuda" else []
        with (
            torch.random.fork_rng(devices=cuda),
            deferred_signals(ranks.highest) as pending,
            ranks.lost_ranks_named(),
            using_threads(),
            ExitStack() as until_done,
        ):
            for callback in self.callbacks:
                until_done.callback(callback.teardown)
            training = TrainingLoop(self, train, validation, ranks, pending)
            training.run()
        c, chosen = training.counters, training.chosen
        assert chosen is not None, "an epoch was run"
        score = -math.inf if c.best_score is None else c.best_score
        metrics = {name: math.nan if value is None else value for name, value in c.best_metrics.items()}
        return Fit(c.best_epoch, score, metrics, c.best_per_step, c.train_seconds, c.step, chosen)


def with_criterion(rule: Rule, task: Task) -> Rule:
    """Return the rule; if its criterion is the default, the task's criterion replaces it."""
    given: Any = rule
    if getattr(given, "criterion", None) is not F.cross_entropy or not is_dataclass(given):
        return rule
    changed: Any = replace(given, criterion=task.criterion())  # type: ignore[type-var]
    return cast(Rule, changed)


def _of_config(config: TrainingConfig) -> list[Callback]:
    averaging = [] if config.ema_decay is None else [Averaging(config.ema_decay)]
    patience = [] if config.patience is None else [Patience(config.patience)]
    return [*averaging, *patience]


class Patience(Callback):
    """A callback that stops training after `epochs` consecutive epochs without a better validation score.

    An equal score with a smaller loss does not count as an improvement. See `Callback` for an example.

    Args:
        epochs: number of epochs, at least 1.
    Raises:
        ValueError: `epochs` is less than 1.
    """

    def __init__(self, epochs: int) -> None:
        if epochs < 1:
            raise ValueError(f"epochs = {epochs}; patience must be at least 1 epoch")
        self.epochs = epochs

    def on_train_start(self, training: Training) -> None:
        self._check(training, training.counters.epoch)

    def on_epoch_end(self, training: Training, evaluation: Evaluation) -> None:
        self._check(training, training.counters.epoch + 1)

    def _check(self, training: Training, epochs: int) -> None:
        if epochs - training.counters.score_epoch >= self.epochs:
            training.should_stop = True


class BestInMemory(Callback):
    """A callback that keeps a copy of the best epoch's network, and restores this copy at the end."""

    def __init__(self) -> None:
        self._state: dict[str, Tensor] = {}

    def on_validation_end(self, training: Training, evaluation: Evaluation, *, best: bool) -> None:
        if best:
            self._state = {name: tensor.detach().clone() for name, tensor in training.model.state_dict().items()}

    def on_train_end(self, training: Training) -> None:
        # The best epoch of a resumed training may have been in an earlier process.
        if self._state:
            training.model.load_state_dict(self._state)
