"""The end of an update: clipping and the optimiser's step."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import nn

from hdlif.training.optim import OnePass

if TYPE_CHECKING:
    from lightning_fabric import Fabric


class Stepper:
    """Steps an optimiser set up by `fabric` on the gradients that have gathered, and clears them.

    In float16, gradients are those of the scaled loss: they are unscaled once, before clipping, and where one of them
    is not finite the step is skipped and the scale lowered.

    Args:
        one_pass: of the optimiser.
        clip_norm: largest norm of the gradient over all parameters; None leaves it.
        after: called after each step that is not skipped.
    Attributes:
        skipped: updates skipped so far.
    """

    def __init__(
        self,
        fabric: Fabric,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        one_pass: OnePass,
        *,
        clip_norm: float | None,
        after: Callable[[], None] = lambda: None,
    ) -> None:
        self._fabric, self._model, self._optimizer = fabric, model, optimizer
        self._one_pass, self._clip_norm, self._after = one_pass, clip_norm, after
        self.skipped = 0

    def __call__(self) -> None:
        if self._clip_norm is not None:
            # A gradient that is not finite is float16's to skip, or the loop's to find in the weights.
            self._fabric.clip_gradients(
                self._model, self._optimizer, max_norm=self._clip_norm, error_if_nonfinite=False
            )
        before = self._scale()
        if not self.scaled:
            self._one_pass.prepare()
        self._optimizer.step()
        skipped = self._scale() < before
        self.skipped += skipped
        self._optimizer.zero_grad()
        if not skipped:
            self._after()

    @property
    def scaled(self) -> bool:
        """Whether losses are scaled, so that an update may be skipped."""
        return self._scaler() is not None

    def _scaler(self) -> torch.amp.GradScaler | None:
        return getattr(self._fabric.strategy.precision, "scaler", None)

    def _scale(self) -> float:
        scaler = self._scaler()
        return 1.0 if scaler is None else float(scaler.get_scale())
