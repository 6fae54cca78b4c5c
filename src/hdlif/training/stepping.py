"""The end of an update: clipping and the optimiser's step."""

from collections.abc import Callable

import torch

from hdlif.training.accelerator import Accelerator
from hdlif.training.optim import OnePass


class Stepper:
    """Steps an optimiser on the gradients that have gathered, and clears them.

    In float16, gradients are those of the scaled loss: they are unscaled once, before clipping, and where one of them
    is not finite the step is skipped and the scale lowered.

    Args:
        accelerator: has the scaler, if there is one.
        clip_norm: largest norm of the gradient over all parameters; None leaves it.
        after: called after each step that is not skipped.
    Attributes:
        skipped: updates skipped so far.
    """

    def __init__(
        self,
        accelerator: Accelerator,
        optimizer: torch.optim.Optimizer,
        *,
        clip_norm: float | None,
        after: Callable[[], None] = lambda: None,
    ) -> None:
        self._scaler, self._optimizer, self._one_pass = accelerator.scaler, optimizer, OnePass(optimizer)
        self._clip_norm, self._after = clip_norm, after
        self.skipped = 0

    def __call__(self) -> None:
        scaler, optimizer = self._scaler, self._optimizer
        if self._clip_norm is not None:
            if scaler is not None:
                scaler.unscale_(optimizer)
            parameters = [one for group in optimizer.param_groups for one in group["params"]]
            # A gradient that is not finite is float16's to skip, or the loop's to find in the weights.
            torch.nn.utils.clip_grad_norm_(parameters, self._clip_norm, error_if_nonfinite=False)
        if scaler is None:
            self._one_pass.prepare()
            optimizer.step()
            skipped = False
        else:
            before = scaler.get_scale()
            scaler.step(optimizer)
            scaler.update()
            skipped = scaler.get_scale() < before
        self.skipped += skipped
        optimizer.zero_grad()
        if not skipped:
            self._after()

    @property
    def scaled(self) -> bool:
        """Whether losses are scaled, so that an update may be skipped."""
        return self._scaler is not None
