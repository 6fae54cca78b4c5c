"""Early stopping, and keeping the best epoch's network in memory."""

from torch import Tensor

from hdlif.training.callback import Callback, Training
from hdlif.training.tasks import Evaluation


class Patience(Callback):
    """Stops a training after so many epochs in a row without a better validation score.

    An equal score with a smaller loss is not better. `Callback` has an example.

    Args:
        epochs: patience, at least 1.
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


class BestInMemory(Callback):
    """Keeps a copy of the best epoch's network, and restores it at the end."""

    def __init__(self) -> None:
        self._state: dict[str, Tensor] = {}

    def on_validation_end(self, training: Training, evaluation: Evaluation, *, best: bool) -> None:
        if best:
            self._state = {name: tensor.detach().clone() for name, tensor in training.model.state_dict().items()}

    def on_train_end(self, training: Training) -> None:
        # The best epoch of a resumed training may have been in an earlier process.
        if self._state:
            training.model.load_state_dict(self._state)
