"""Early stopping."""

from hdlif.tasks import Evaluation
from hdlif.training.callback import Callback, Training


class Patience(Callback):
    """Stops a training after this many epochs in a row without a better score on validation.

    An equal score with a smaller loss is not better. `Callback` has an example.

    Args:
        epochs: how many, at least 1.
    Raises:
        ValueError: `epochs` is less than 1.
    """

    def __init__(self, epochs: int) -> None:
        if epochs < 1:
            raise ValueError(f"epochs = {epochs}; patience is of 1 epoch or more")
        self.epochs = epochs

    def on_train_start(self, training: Training) -> None:
        self._check(training, training.counters.epoch)

    def on_epoch_end(self, training: Training, evaluation: Evaluation) -> None:
        self._check(training, training.counters.epoch + 1)

    def _check(self, training: Training, epochs: int) -> None:
        if epochs - training.counters.score_epoch >= self.epochs:
            training.should_stop = True
