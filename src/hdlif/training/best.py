"""The network of the best epoch, kept in memory."""

from torch import Tensor

from hdlif.tasks import Evaluation
from hdlif.training.callback import Callback, Training


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
