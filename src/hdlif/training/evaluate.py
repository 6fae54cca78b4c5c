"""Accuracy after every time step."""

import math
from collections.abc import Callable, Iterable, Iterator
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


class Tally:
    """Counts right answers after each step, of batches of logits."""

    def __init__(self, time_steps: int, criterion: Criterion) -> None:
        self._correct = torch.zeros(time_steps, dtype=torch.int64)
        self._criterion = criterion
        self._loss, self._n = 0.0, 0

    def __call__(self, logits: Tensor, target: Tensor) -> None:
        """Add a batch: logits [T, B, classes], target [B]."""
        self._correct += (logits.cumsum(0).argmax(-1) == target).sum(1).cpu()
        self._loss += float(self._criterion(logits.mean(0), target)) * len(target)
        self._n += len(target)

    @property
    def accuracy(self) -> float:
        """After the last step, of the images so far."""
        return float(self._correct[-1]) / self._n if self._n else math.nan

    @property
    def loss(self) -> float:
        """The mean over the images so far."""
        return self._loss / self._n if self._n else math.nan

    def evaluation(self, total: Callable[[Tensor], Tensor] = lambda sums: sums) -> Evaluation:
        """What was counted.

        Args:
            total: the sum over ranks, where each has its own part of the images.
        Raises:
            DataError: there was no image.
        """
        sums = total(torch.tensor([*self._correct, self._loss, self._n], dtype=torch.float64))
        *counts, loss, seen = sums.tolist()
        n = int(seen)
        if n == 0:
            raise DataError("there is no image to evaluate; give at least one")
        # Counts, not torchmetrics: its accuracy is float32, and 0.955 would be reported as 0.9549999833106995.
        per_step = tuple(count / n for count in counts)
        return Evaluation(per_step[-1], per_step, loss / n, n)


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
    tally = Tally(time_steps, criterion)
    for logits, target in classified(model, batches, time_steps=time_steps, device=device):
        tally(logits, target)
        if observe is not None:
            observe(logits, target)
    return tally.evaluation(total)


def classified(
    model: nn.Module, batches: Batches, *, time_steps: int, device: torch.device | None = None
) -> Iterator[tuple[Tensor, Tensor]]:
    """The logits [T, B, classes] and the target [B] of every batch, in eval mode; modules keep their modes."""
    for batch in batches:
        x, target = (tensor.to(device) for tensor in batch)
        # no_grad, not inference_mode: a tensor that a module keeps could never be trained through again.
        with evaluation_mode(model), torch.no_grad():
            logits, _ = model(x, steps=range(time_steps))
        yield logits, target
