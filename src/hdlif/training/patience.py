"""Stopping early."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hdlif.training.callback import Callback

if TYPE_CHECKING:
    from hdlif.training.training import Training


class Patience(Callback):
    """Stops a training after so many epochs in a row without a better score on validation; one with an equal score and
    less loss is none.

    An example is at `Callback`.

    Args:
        epochs: how many, at least 1.
    Raises:
        ValueError: it is less.
    """

    def __init__(self, epochs: int) -> None:
        if epochs < 1:
            raise ValueError(f"epochs = {epochs}; patience is of 1 epoch or more")
        self.epochs = epochs

    def stops(self, training: Training) -> bool:
        return training.counters.epoch - training.counters.score_epoch >= self.epochs
