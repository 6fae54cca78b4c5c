"""The answers of a training batch, counted as its steps run."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from hdlif.tasks.task import Task

RightBy = Literal["all", "mean", "each"]
"""How `Task.right` reads the outputs of several steps: "mean", those from `Task.first` on by their mean; "each", every
step's by itself; "all", as it likes, so that they are kept until the batch ends."""


class AnswerCounter:
    """Takes the outputs of the steps that were learned from, in their order, and counts how many answers are right.

    For a task with the attribute `right_by`, which states how outputs are read, what is kept does not grow with the
    number of steps.

    Args:
        steps: that are learned from.
        target: of the batch, as `Task.right` takes it.
        task: whose `right` counts.
    Attributes:
        losses: how often it was called, once for each loss.
    """

    def __init__(self, task: Task, steps: tuple[int, ...], target: Tensor) -> None:
        self._task, self._steps, self._target = task, steps, target
        self._by: RightBy = getattr(task, "right_by", "all")
        self._begin = counted_from(steps, getattr(task, "first", 0))
        self._kept: list[Tensor] = []
        self._right = torch.zeros((), dtype=torch.int64, device=target.device)
        self._heard = self._counted = self._of = 0
        self.losses = 0

    def __call__(self, outputs: Tensor) -> None:
        """Hear the outputs [K, B, n] of the next K steps."""
        self.losses += 1
        start, self._heard = self._heard, self._heard + len(outputs)
        if self._by == "all":
            self._kept.append(outputs)
        elif self._by == "each":
            self._count(outputs, self._steps[start : self._heard])
        else:
            self._add(outputs[max(0, self._begin - start) :])

    def right(self) -> tuple[int, int]:
        """How many answers of the batch are right, and out of how many; of values, 0 out of 0."""
        if self._by == "each":
            # Of another number of outputs than steps it is not known whose they are.
            return (int(self._right), self._of) if self._heard == len(self._steps) else (0, 0)
        if not self._kept:
            return 0, 0
        if self._by == "all":
            right, of = self._task.right(torch.cat(self._kept), self._steps, self._target)
        else:
            right, of = self._task.right(self._kept[0][None] / self._counted, self._steps[-1:], self._target)
        return int(right), of

    def _count(self, outputs: Tensor, steps: tuple[int, ...]) -> None:
        if len(steps) != len(outputs):
            return
        right, of = self._task.right(outputs, steps, self._target)
        self._right, self._of = self._right + right, self._of + of

    def _add(self, outputs: Tensor) -> None:
        if len(outputs):
            total = outputs.sum(0, dtype=torch.promote_types(outputs.dtype, torch.float32))
            self._kept = [total if not self._kept else self._kept[0] + total]
            self._counted += len(outputs)


def counted_from(steps: tuple[int, ...], first: int) -> int:
    """The place of the first step that counts, among steps that were learned from."""
    return next((place for place, step in enumerate(steps) if step >= first), 0)
