"""Metrics that a user may have written."""

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric


class Sure(Metric):
    """How sure the network is: the mean of the largest probability."""

    higher_is_better = True

    def __init__(self, num_classes: int, power: float = 1.0, **common: Any) -> None:
        super().__init__(**common)
        self.num_classes, self.power = num_classes, power
        self.add_state("sure", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, predicted: Tensor, true: Tensor) -> None:
        assert predicted.shape == (len(true), self.num_classes)
        self.sure += (predicted.amax(-1) ** self.power).sum()
        self.count += len(true)

    def compute(self) -> Tensor:
        return self.sure / self.count


def no_metric(outputs: tuple[str, ...]) -> str:
    return ", ".join(outputs)
