"""A task, and a network for it, that a user may have written: a class at each pixel."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hdlif.data.in_memory import Images
from hdlif.graph.graph import TaskRecord
from hdlif.learning import Criterion, loss_over, mean_logits
from hdlif.nn import HDLIF, BatchNorm2d, Sequential
from hdlif.training.tasks import Evaluation, Measured, Tally, Target


@dataclass(frozen=True)
class Maps(Measured):
    """A class at each pixel: outputs [T, B, classes, H, W], targets int64 [B, H, W]."""

    target: ClassVar[Target] = "own"
    figures: ClassVar[Mapping[str, bool]] = {"pixels_right": True}

    @property
    def record(self) -> TaskRecord:
        return TaskRecord("segment")

    def criterion(self) -> Criterion:
        return F.cross_entropy

    def tally(self) -> Tally:
        return PixelTally(self)

    def drawing(self) -> "Nothing":
        return Nothing()

    def right(self, outputs: Tensor, steps: tuple[int, ...], target: Tensor) -> tuple[Tensor, int]:
        return (outputs.mean(0).argmax(1) == target).sum(), target.numel()

    def scored(self, outputs: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        return outputs.mean(0).softmax(1), target

    def noise(self, samples: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        classes = len(self.outputs)
        logits = torch.randn(samples, classes, 2, 2, generator=generator)
        return logits.softmax(1), torch.randint(classes, (samples, 2, 2), generator=generator)


class PixelTally(Tally):
    """The share of the pixels that have the right class."""

    def __init__(self, task: Maps) -> None:
        super().__init__(task.asked(), right=task.time_steps, pixels=1)

    def _loss(self, outputs: Tensor, target: Tensor) -> Tensor:
        return loss_over(F.cross_entropy, outputs, target, mean_logits)

    def _added(self, outputs: Tensor, target: Tensor) -> Mapping[str, Tensor]:
        right = outputs.cumsum(0).argmax(2) == target
        return {"right": right.flatten(1).sum(1), "pixels": torch.tensor([target.numel()])}

    def _score(self, sums: Mapping[str, Tensor]) -> float:
        return float(sums["right"][-1] / sums["pixels"])

    def _evaluation(self, sums: Mapping[str, Tensor], loss: float, n: int) -> Evaluation:
        per_step = tuple((sums["right"] / sums["pixels"]).tolist())
        return Evaluation(None, per_step, loss, n, {"pixels_right": per_step[-1]})


class Nothing:
    """A report draws nothing of it."""

    def __call__(self, outputs: Tensor, target: Tensor) -> None: ...

    def files(self) -> Mapping[str, Any]:
        return {}


def segmenter(time_steps: int, classes: int, width: int = 4) -> nn.Module:
    """Maps of the size of the images."""
    return Sequential(
        nn.Conv2d(1, width, 3, padding=1, bias=False),
        BatchNorm2d(width),
        HDLIF(time_steps),
        nn.Conv2d(width, classes, 1),
    )


def squares(count: int, *, seed: int = 0, side: int = 6) -> Images:
    """Grey pictures of one bright square each, which their map says the pixels of."""
    generator = torch.Generator().manual_seed(seed)
    maps = torch.zeros(count, side, side, dtype=torch.int64)
    for map_, (row, column) in zip(
        maps, torch.randint(side - 2, (count, 2), generator=generator).tolist(), strict=True
    ):
        map_[row : row + 3, column : column + 3] = 1
    noise = torch.randint(60, maps.shape, generator=generator)
    pixels = (120 * maps + noise).to(torch.uint8)[:, None]
    return Images(pixels, maps, mean=(0.2,), std=(0.2,))
