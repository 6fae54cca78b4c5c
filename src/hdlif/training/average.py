"""The moving average of a network's weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from hdlif.errors import CheckpointError
from hdlif.training.callback import Callback

if TYPE_CHECKING:
    from hdlif.training.training import Training

_PREFIX = "average."


class Average:
    """w̄ <- d·w̄ + (1 - d)·w after each update n = 1, 2, ..., with d = min(decay, n/(n + 9)), of all parameters.

    The smaller d of the beginning forgets where training began. Batch norm's statistics are not averaged: they are
    measured again with w̄ (`training.reestimate`).
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._parameters = dict(model.named_parameters())
        self._values = {name: parameter.detach().clone() for name, parameter in self._parameters.items()}
        self.decay, self.updates = decay, 0

    @torch.no_grad()
    def update(self) -> None:
        """Take the weights in as they are after one more update."""
        self.updates += 1
        share = 1 - min(self.decay, self.updates / (self.updates + 9))
        for name, value in self._values.items():
            value.lerp_(self._parameters[name], share)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The model has the averaged weights inside, its own again outside."""
        own = {name: parameter.detach().clone() for name, parameter in self._parameters.items()}
        self._fill(self._values)
        try:
            yield
        finally:
            self._fill(own)

    def tensors(self) -> dict[str, Tensor]:
        """What a checkpoint keeps, beside `updates`: average.NAME of each parameter."""
        return {_PREFIX + name: value for name, value in self._values.items()}

    def restore(self, tensors: Mapping[str, Tensor], updates: int) -> None:
        """Put `tensors` out of a checkpoint back, made after so many updates.

        Raises:
            CheckpointError: one is missing, or of another shape or type.
        """
        for name, value in self._values.items():
            if _PREFIX + name not in tensors:
                raise CheckpointError(f"the averaged weight of {name} is missing; train again without resuming")
            kept = tensors[_PREFIX + name]
            if kept.shape != value.shape or not kept.is_floating_point():
                raise CheckpointError(
                    f"the averaged weight of {name} is {kept.dtype} {list(kept.shape)}, where the model has "
                    f"{value.dtype} {list(value.shape)}; train again without resuming"
                )
            value.copy_(kept)
        self.updates = updates

    @torch.no_grad()
    def _fill(self, values: Mapping[str, Tensor]) -> None:
        for name, parameter in self._parameters.items():
            parameter.copy_(values[name])


class Averaging(Callback):
    """Measures and keeps the network with the `Average` of its weights.

    An example is at `Callback`.

    Args:
        decay: d at the most, in 0..1.
    """

    def __init__(self, decay: float) -> None:
        self.decay = decay
        self._average: Average | None = None
        self._kept: tuple[Mapping[str, Tensor], int] | None = None

    def restore(self, tensors: Mapping[str, Tensor], record: Mapping[str, Any]) -> None:
        self._kept = tensors, int(record.get("averaged_updates", 0))

    def begin(self, training: Training) -> None:
        self._average = Average(training.model, self.decay)
        if self._kept is not None:
            training.ranks.together(partial(self._average.restore, *self._kept))
        self._kept = None

    @property
    def average(self) -> Average:
        assert self._average is not None, "a training has begun"
        return self._average

    def updated(self, training: Training) -> None:
        self.average.update()

    def validating(self, training: Training) -> AbstractContextManager[None]:
        return self.average.in_place()

    def tensors(self) -> Mapping[str, Tensor]:
        return self.average.tensors()

    def record(self) -> Mapping[str, Any]:
        return {"averaged_updates": self.average.updates}
