"""Accuracy after every time step."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hdlif.errors import DataError
from hdlif.learning import Criterion
from hdlif.nn import evaluation_mode

Batches = Iterable[tuple[Tensor, Tensor]]
"""(x [T or 1, B, ...], target [B])."""


@dataclass(frozen=True)
class Evaluation:
    """What a network does on a data set; accuracies are fractions in 0..1.

    Attributes:
        accuracy: after the last step.
        accuracy_per_step: after each step, [T].
        loss: of the mean of the logits over time, mean over images.
        n: images.
    """

    accuracy: float
    accuracy_per_step: tuple[float, ...]
    loss: float
    n: int


def evaluate(
    model: nn.Module,
    batches: Batches,
    *,
    time_steps: int,
    criterion: Criterion,
    observe: Callable[[Tensor, Tensor], None] | None = None,
    total: Callable[[Tensor], Tensor] = lambda sums: sums,
    device: torch.device | None = None,
) -> Evaluation:
    """Classify every image after each step t by argmax of Σ_{i<=t} logits_i; modules keep their modes.

    Args:
        observe: gets the logits [T, B, classes] and the target [B] of every batch.
        total: the sum over ranks, where each has its own part of the images.
        device: the model's, where batches are to be moved there.
    Raises:
        DataError: there is no image.
    """
    correct = torch.zeros(time_steps, dtype=torch.int64)
    loss, n = 0.0, 0
    # no_grad, not inference_mode: a tensor that a module keeps could never be trained through again.
    with evaluation_mode(model), torch.no_grad():
        for batch in batches:
            x, target = (tensor.to(device) for tensor in batch)
            logits, _ = model(x, steps=range(time_steps))
            correct += (logits.cumsum(0).argmax(-1) == target).sum(1).cpu()
            loss += float(criterion(logits.mean(0), target)) * len(target)
            n += len(target)
            if observe is not None:
                observe(logits, target)
    *counts, loss, seen = total(torch.tensor([*correct, loss, n], dtype=torch.float64)).tolist()
    n = int(seen)
    if n == 0:
        raise DataError("there is no image to evaluate; give at least one")
    # Counts, not torchmetrics: its accuracy is float32, and 0.955 would be reported as 0.9549999833106995.
    per_step = tuple(count / n for count in counts)
    return Evaluation(per_step[-1], per_step, loss / n, n)
