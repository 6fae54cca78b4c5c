"""Whether a network does as well in eval mode, as it is deployed, as in train mode, as its training prints it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from hdlif.nn import BatchNorm2d
from hdlif.nn.modes import left_as_it_was
from hdlif.tasks import Evaluation, Task
from hdlif.training.evaluate import evaluate
from hdlif.training.ranks import Ranks

_FAR = 0.1
"""A difference of accuracy that is worth a word, unless chance alone makes as much."""


def compared_modes(
    model: nn.Module,
    batches: Sequence[tuple[Tensor, Tensor]],
    *,
    task: Task,
    ranks: Ranks,
    device: torch.device,
) -> str | None:
    """A warning where the accuracy in eval mode is far below that in train mode; None where it is not.

    Far is 0.1, and at least three standard errors. The network's buffers and the random state stay as they are.

    Args:
        batches: of training samples, (x, target).
    """
    in_eval = _accuracy(evaluate(model, batches, task=task, total=ranks.sum))
    if in_eval is None:
        return None
    tally = task.tally()
    with left_as_it_was(model, device), torch.no_grad():
        model.train()
        for x, target in batches:
            outputs, _ = model(x, steps=range(task.time_steps))
            tally(outputs, target)
    measured = tally.evaluation(ranks.sum)
    in_train = _accuracy(measured)
    assert in_train is not None, "a task measures the same in both modes"
    far = max(_FAR, 3 * math.sqrt(in_train * (1 - in_train) / measured.n))
    if in_train - in_eval <= far:
        return None
    return (
        f"of {measured.n} training samples, {in_eval:.1%} are classified correctly in eval mode, as deployed, and "
        f"{in_train:.1%} in train mode: {_cause(model)}"
    )


def _accuracy(evaluation: Evaluation) -> float | None:
    return evaluation.metrics.get("accuracy")


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
