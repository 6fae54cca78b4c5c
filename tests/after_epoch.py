"""A callback that a test looks at, or stops, a training with."""

from collections.abc import Callable
from dataclasses import dataclass

from hdlif.tasks import Evaluation
from hdlif.training import Callback, Training


@dataclass
class AfterEpoch(Callback):
    """Gets each epoch (from 1) and its validation, before the checkpoint of that epoch is written."""

    function: Callable[[int, Evaluation], None]

    def on_epoch_end(self, training: Training, evaluation: Evaluation) -> None:
        self.function(training.counters.epoch + 1, evaluation)
