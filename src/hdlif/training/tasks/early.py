"""What answering early saves, and what it costs: accuracy against the time steps that are used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from hdlif.training.tasks.sums import so_far

CONFIDENCES = (
    *(0.0, 0.3, 0.4, 0.5, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85),
    *(0.9, 0.93, 0.95, 0.97, 0.98, 0.99, 0.995, 0.999, 1.0),
)
"""Of the answer so far, from which it is given: 0 after the first step."""


class EarlyAnswers:
    """Counts of steps and right classes where a sample is answered for at the first step that is confident enough.

    With z_t the sum of the outputs that count up to step t over their number, it is answered for at the first t with
    max softmax(z_t) >= c, or after the last step, by the largest of z_t; as `hdlif run --stream --confidence c` does.

    Args:
        time_steps: T.
        first: the first step whose outputs count; before it an answer is of the step's own.
    """

    def __init__(self, time_steps: int, first: int = 0) -> None:
        self._time_steps, self._first, self._n = time_steps, first, 0
        self._steps = torch.zeros(len(CONFIDENCES), dtype=torch.int64)
        self._right = torch.zeros(len(CONFIDENCES), dtype=torch.int64)

    def __call__(self, outputs: Tensor, target: Tensor) -> None:
        """Add a batch: outputs [T, B, classes], target [B]."""
        sums = so_far(outputs, self._first)
        counted = (torch.arange(len(outputs), device=outputs.device) - self._first).clamp(min=0) + 1
        sure = (sums / counted[:, None, None]).softmax(-1).amax(-1)
        right = sums.argmax(-1) == target
        last = torch.full_like(target, len(outputs) - 1)
        for place, confidence in enumerate(CONFIDENCES):
            reached = sure >= confidence
            step = torch.where(reached.any(0), reached.byte().argmax(0), last)
            self._steps[place] += int(step.sum()) + len(step)
            self._right[place] += int(right.gather(0, step[None]).sum())
        self._n += len(target)

    def as_dict(self) -> dict[str, Any]:
        """Of each confidence, the mean of the steps used and the accuracy."""
        return {
            "time_steps": self._time_steps,
            "confidence": list(CONFIDENCES),
            "steps": [steps / self._n for steps in self._steps.tolist()],
            "accuracy": [right / self._n for right in self._right.tolist()],
        }

    def files(self) -> Mapping[str, Any]:
        """early.json; none of a single step, which there is nothing to save of, nor without a sample."""
        return {"early": self.as_dict()} if self._time_steps > 1 and self._n else {}
