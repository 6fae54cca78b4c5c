"""The moving average of a network's weights."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from hdlif.errors import CheckpointError, brief
from hdlif.training.callback import Callback, Training
from hdlif.training.state_record import count_in

_PREFIX = "average."


class Average:
    """The average w̄ <- d·w̄ + (1 - d)·w of all parameters, computed after each optimiser update n = 1, 2, ....

    The factor d = min(decay, n/(n + 9)) is small at the start, so the initial weights quickly lose their influence.
    Batch-norm statistics are not averaged. They are re-estimated with the weights w̄ (`training.reestimate`).
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._parameters = dict(model.named_parameters())
        self._values = {name: parameter.detach().clone() for name, parameter in self._parameters.items()}
        self.decay, self.updates = decay, 0

    @torch.no_grad()
    def update(self) -> None:
        """Update the average with the current weights."""
        self.updates += 1
        share = 1 - min(self.decay, self.updates / (self.updates + 9))
        for name, value in self._values.items():
            value.lerp_(self._parameters[name], share)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Give the model the averaged weights inside the context, and restore its own weights afterwards."""
        own = {name: parameter.detach().clone() for name, parameter in self._parameters.items()}
        self._fill(self._values)
        try:
            yield
        finally:
            self._fill(own)

    def state_dict(self) -> dict[str, Any]:
        """Return the number of updates, and the average of each parameter under the key average.NAME."""
        return {"updates": self.updates} | {_PREFIX + name: value for name, value in self._values.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a `state_dict`.

        Raises:
            CheckpointError: an average is missing or has another shape or type, or the number of updates is invalid.
        """
        for name, value in self._values.items():
            if _PREFIX + name not in state:
                raise CheckpointError(f"the averaged weight of {name} is missing; train again without resuming")
            kept = state[_PREFIX + name]
            if not isinstance(kept, Tensor) or kept.shape != value.shape or not kept.is_floating_point():
                seen = f"{kept.dtype} {list(kept.shape)}" if isinstance(kept, Tensor) else brief(kept)
                raise CheckpointError(
                    f"the averaged weight of {name} is {seen}, but the model has {value.dtype} {list(value.shape)}; "
                    "train again without resuming"
                )
            value.copy_(kept)
        self.updates = count_in(state, "updates")

    @torch.no_grad()
    def _fill(self, values: Mapping[str, Tensor]) -> None:
        for name, parameter in self._parameters.items():
            parameter.copy_(values[name])


class Averaging(Callback):
    """A callback that validates and saves the network with the `Average` of its weights.

    See `Callback` for an example.

    Args:
        decay: upper limit of d, in 0..1.
    """

    def __init__(self, decay: float) -> None:
        self.decay = decay
        self._average: Average | None = None
        self._saved: Mapping[str, Any] | None = None

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._saved = state

    def on_train_start(self, training: Training) -> None:
        self._average = Average(training.model, self.decay)
        if self._saved is not None:
            training.ranks.together(partial(self._average.load_state_dict, self._saved))
        self._saved = None

    @property
    def average(self) -> Average:
        assert self._average is not None, "a training has begun"
        return self._average

    def on_update_end(self, training: Training) -> None:
        self.average.update()

    def validation_context(self, training: Training) -> AbstractContextManager[None]:
        return self.average.in_place()

    def state_dict(self) -> Mapping[str, Any]:
        return self.average.state_dict()
