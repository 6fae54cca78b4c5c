"""The end of an update: clipping, the optimiser's step, and the average of the weights."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from hdlif.training.average import Average

if TYPE_CHECKING:
    from lightning_fabric import Fabric


class Stepper:
    """Steps an optimiser set up by `fabric` on the gradients that have gathered, and clears them.

    In float16, gradients are those of the scaled loss: they are unscaled once, before clipping, and where one of them
    is not finite the step is skipped and the scale lowered.

    Args:
        clip_norm: largest norm of the gradient over all parameters; None leaves it.
        average: takes the weights in after each step that is not skipped.
    Attributes:
        skipped: updates skipped so far.
    """

    def __init__(
        self,
        fabric: Fabric,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        *,
        clip_norm: float | None,
        average: Average | None,
    ) -> None:
        self._fabric, self._model, self._optimizer = fabric, model, optimizer
        self._clip_norm, self.average = clip_norm, average
        self.skipped = 0

    def __call__(self) -> None:
        if self._clip_norm is not None:
            # A gradient that is not finite is float16's to skip, or the loop's to find in the weights.
            self._fabric.clip_gradients(
                self._model, self._optimizer, max_norm=self._clip_norm, error_if_nonfinite=False
            )
        before = self._scale()
        self._optimizer.step()
        skipped = self._scale() < before
        self.skipped += skipped
        self._optimizer.zero_grad()
        if self.average is not None and not skipped:
            self.average.update()

    @property
    def averaged(self) -> AbstractContextManager[None]:
        """Inside, the model has its averaged weights, where weights are averaged."""
        return nullcontext() if self.average is None else self.average.in_place()

    def tensors(self) -> dict[str, Tensor]:
        """What a checkpoint keeps of this, beside `record`."""
        return {} if self.average is None else self.average.tensors()

    def record(self) -> dict[str, int]:
        """The counts that a checkpoint keeps."""
        updates = 0 if self.average is None else self.average.updates
        return {"skipped_updates": self.skipped, "averaged_updates": updates}

    def restore(self, tensors: Mapping[str, Tensor], record: Mapping[str, Any]) -> None:
        """Put `tensors` and `record` out of a checkpoint back; one that is older than the counts has none.

        Raises:
            CheckpointError: there is no average in it, and there should be.
        """
        self.skipped = int(record.get("skipped_updates", 0))
        if self.average is not None:
            self.average.restore(tensors, int(record.get("averaged_updates", 0)))

    @property
    def scaled(self) -> bool:
        """Whether losses are scaled, so that an update may be skipped."""
        return self._scaler() is not None

    def _scaler(self) -> torch.amp.GradScaler | None:
        return getattr(self._fabric.strategy.precision, "scaler", None)

    def _scale(self) -> float:
        scaler = self._scaler()
        return 1.0 if scaler is None else float(scaler.get_scale())
