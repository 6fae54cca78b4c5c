"""Whether a network does as well in eval mode, as it is deployed, as in train mode, as its training prints it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from hdlif.nn import BatchNorm2d, evaluation_mode
from hdlif.nn.modes import left_as_it_was
from hdlif.training.tasks import Measured, Task

_FAR = 0.1
"""A difference of accuracy that is worth a word, unless chance alone makes as much."""


def compared_modes(
    model: nn.Module, batches: Sequence[tuple[Tensor, Tensor]], *, task: Task, device: torch.device
) -> str | None:
    """Return a warning if the accuracy in eval mode is far below that in train mode; None if it is not.

    Far is 0.1, and at least three standard errors. The network's buffers and the random state stay as they are.

    Args:
        batches: of training samples, (x, target).
        task: one whose first figure is no accuracy is not compared.
    """
    if not isinstance(task, Measured) or next(iter(task.figures)) != "accuracy":
        return None
    with torch.no_grad():
        # First, since a batch norm in train mode changes what it normalises by in eval mode.
        with evaluation_mode(model):
            in_eval = _accuracy(model, batches, task)
        with left_as_it_was(model, device):
            model.train()
            in_train = _accuracy(model, batches, task)
    samples = sum(len(target) for _, target in batches)
    if in_train - in_eval <= max(_FAR, 3 * math.sqrt(in_train * (1 - in_train) / samples)):
        return None
    return (
        f"of {samples} training samples, {in_eval:.1%} are classified correctly in eval mode, as deployed, and "
        f"{in_train:.1%} in train mode: {_cause(model)}"
    )


def _accuracy(model: nn.Module, batches: Sequence[tuple[Tensor, Tensor]], task: Task) -> float:
    tally = task.tally()
    for x, target in batches:
        outputs, _ = model(x, steps=range(task.time_steps))
        tally(outputs, target)
    return tally.score


def _cause(model: nn.Module) -> str:
    """Why the modes differ, and what to set."""
    norms = [module for module in model.modules() if isinstance(module, BatchNorm2d)]
    if any(norm.time_steps is None for norm in norms):
        return (
            "batch norm normalises each time step by its own batch in training, and all steps by shared statistics "
            "afterwards; set norm={kind: affine}, or norm={kind: batch_norm, per_step: true}"
        )
    if norms:
        return (
            "batch norm normalises by the batch in training, and by running statistics afterwards; set a larger "
            "data.batch_size, or norm={kind: affine}"
        )
    return "a layer, such as dropout, differs between the modes; lower its rate, or take it out"
