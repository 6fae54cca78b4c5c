"""Which class is taken for which."""

import torch
from torch import Tensor


class Confusion:
    """Counts of images, [classes, classes]: row the true class, column the one chosen after all time steps."""

    def __init__(self, classes: int) -> None:
        self.counts = torch.zeros(classes, classes, dtype=torch.int64)

    def __call__(self, logits: Tensor, target: Tensor) -> None:
        """Add a batch: logits [T, B, classes], target [B]."""
        # Added in the order of the steps, as `evaluate` does: rounded otherwise, a tie could go another way.
        place = target.cpu(), logits.cumsum(0)[-1].argmax(-1).cpu()
        self.counts.index_put_(place, torch.ones(len(target), dtype=torch.int64), accumulate=True)

    @property
    def accuracy_per_class(self) -> list[float | None]:
        """The share of each class's images that is classified right; None of a class without images."""
        shown = self.counts.sum(1).tolist()
        right = self.counts.diagonal().tolist()
        return [hits / n if n else None for hits, n in zip(right, shown, strict=True)]
