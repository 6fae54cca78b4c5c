"""Interfaces of a training run: the settings, and the run in progress."""

from __future__ import annotations

from typing import NoReturn, Protocol

import torch
from torch import nn

from hdlif.config import TrainingConfig
from hdlif.data import Samples
from hdlif.learning import Rule
from hdlif.training.activity import Penalty
from hdlif.training.callback import Callback, Training
from hdlif.training.checkpoints import Checkpoints
from hdlif.training.interruption import Pending
from hdlif.training.optimization import Optimization
from hdlif.training.streaming import Streams
from hdlif.training.tasks import Task
from hdlif.training.update import InPrecision, Updater


class Settings(Protocol):
    """Settings of a training run, as documented for `Trainer`."""

    model: nn.Module
    rule: Rule
    task: Task
    config: TrainingConfig
    callbacks: list[Callback]
    batch_size: int
    seed: int
    optimization: Optimization
    penalty: Penalty | None
    threads: int | None
    cores: int
    compile_backend: str
    log_every: int


class InnerTraining(Training, Protocol):
    """The interface that a training run offers to the learner and the validation.

    Attributes:
        network: the model in the form that is called, compiled and shared by ranks.
        train, validation: samples.
        pending: signals that end the training.
    """

    network: InPrecision
    updater: Updater
    train: Samples
    validation: Samples
    callbacks: list[Callback]
    checkpoints: list[Checkpoints]
    batch_size: int
    pending: Pending
    streams: Streams | None

    def generator(self, purpose: str, index: int) -> torch.Generator:
        """Return a random generator whose seed depends on a purpose and an index."""

    def fail(self, message: str) -> NoReturn:
        """Raise `TrainingError`."""
