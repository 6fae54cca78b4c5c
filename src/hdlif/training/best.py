"""The network of the best epoch, where no file keeps it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from hdlif.tasks import Evaluation
from hdlif.training.callback import Callback

if TYPE_CHECKING:
    from hdlif.training.training import Training


class BestInMemory(Callback):
    """Keeps a copy of the best epoch's network, and puts it back at the end."""

    keeps_best = True

    def __init__(self) -> None:
        self._state: dict[str, Tensor] = {}

    def validated(self, training: Training, evaluation: Evaluation, *, best: bool) -> None:
        if best:
            self._state = {name: tensor.detach().clone() for name, tensor in training.model.state_dict().items()}

    def end(self, training: Training) -> None:
        # Where a training went on, its best epoch may lie before.
        if self._state:
            training.model.load_state_dict(self._state)
