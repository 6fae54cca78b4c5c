"""Knowledge distillation: learning from a teacher's logits beside the labels (Hinton et al. 2015)."""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from hdlif.learning.criterion import Criterion


@dataclass(frozen=True)
class Distillation:
    """(1 - w)·criterion(z, y) + w·τ²·KL(softmax(u/τ) ‖ softmax(z/τ)), z the logits and u the teacher's.

    A criterion like any other, so that every rule learns by it; its target is [B, 2·classes], the labels y as
    probabilities beside u. τ² keeps the gradient's size where τ changes.

    >>> import torch
    >>> import torch.nn.functional as F
    >>> from hdlif.learning import Distillation
    >>> criterion = Distillation(F.cross_entropy, temperature=2.0, weight=1.0)
    >>> logits = torch.tensor([[1.0, -1.0]])
    >>> teacher = torch.cat([torch.tensor([[1.0, 0.0]]), logits], 1)
    >>> criterion(logits, teacher).item()
    0.0

    Args:
        criterion: of the labels.
        temperature: τ, above 0.
        weight: w, in 0..1.
    """

    criterion: Criterion
    temperature: float
    weight: float

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ValueError(f"temperature = {self.temperature}; it must be above 0")
        if not 0 <= self.weight <= 1:
            raise ValueError(f"weight = {self.weight}; it must lie in 0..1")

    def __call__(self, logits: Tensor, target: Tensor) -> Tensor:
        labels, taught = target.to(logits.dtype).chunk(2, dim=1)
        soft, soft_taught = (F.log_softmax(z / self.temperature, dim=1) for z in (logits, taught))
        divergence = F.kl_div(soft, soft_taught, log_target=True, reduction="batchmean")
        return (1 - self.weight) * self.criterion(logits, labels) + self.weight * self.temperature**2 * divergence
