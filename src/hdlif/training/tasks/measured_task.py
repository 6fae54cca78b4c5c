"""Common parts of shipped tasks: outputs, steps and metrics."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from hdlif.errors import InputError, did_you_mean
from hdlif.training.tasks.extra_metrics import ExtraMetrics, check_metrics, tried

if TYPE_CHECKING:
    from torchmetrics import Metric

    from hdlif.training.tasks.task import Evaluation


TRIED = 32
"""Smallest number of noise samples for testing metrics."""


@dataclass(frozen=True)
class Measured(ABC):
    """Base class of tasks with own `figures` and additional metrics.

    An example is at `Classify`.

    Args:
        outputs: the names of the network's outputs.
        time_steps: T.
        metrics: further measures, by name: any metrics of torchmetrics.
        best: what the best epoch is chosen by: one of the figures, or of the metrics if it says which way is better; by
            default the first figure.
    Raises:
        InputError: `metrics` has one that fails on noise, or `best` cannot choose.
    """

    outputs: tuple[str, ...]
    time_steps: int
    metrics: Mapping[str, Metric] = field(default_factory=dict, kw_only=True, hash=False)
    best: str | None = field(default=None, kw_only=True)

    figures: ClassVar[Mapping[str, bool]]
    """Names of the task's own metrics, and whether larger values are better."""
    states: ClassVar[torch.dtype] = torch.float32
    """Data type of the states of metrics."""

    def __post_init__(self) -> None:
        names = list(self.figures)
        if self.metrics:
            check_metrics(self.metrics, self.figures)
            samples = max(TRIED, 2 * len(self.outputs))
            names += tried(self.asked(), *self.noise(samples, torch.Generator().manual_seed(0)))
        if self.best is None:
            return
        if self.best not in names:
            raise InputError(f'task.best = "{self.best}" is not measured; {did_you_mean(self.best, names)}')
        if self.larger_is_better(self.best) is None:
            raise InputError(
                f'task.best = "{self.best}" does not say whether larger or smaller is better (its '
                "higher_is_better is None); choose the best epoch by another"
            )

    @property
    def output_count(self) -> int:
        """Number of the network's outputs."""
        return len(self.outputs)

    @property
    def metric(self) -> str:
        """What the best epoch is chosen by."""
        return self.best or next(iter(self.figures))

    def larger_is_better(self, name: str) -> bool | None:
        """Of a figure, or of a further metric; None where that does not state it."""
        if name in self.figures:
            return self.figures[name]
        # A metric's name may contain dots, and the part after the last dot may be the name of an output.
        asked = max((one for one in self.metrics if name == one or name.startswith(f"{one}.")), key=len)
        return self.metrics[asked].higher_is_better

    def better(self, evaluation: Evaluation) -> float:
        """The value of `metric`, or minus it: the larger the better, and the least of all if it is no number."""
        value = evaluation.metrics[self.metric]
        if math.isnan(value):
            return -math.inf
        return value if self.larger_is_better(self.metric) else -value

    def asked(self) -> ExtraMetrics:
        """What adds up the further metrics."""
        return ExtraMetrics(self.metrics, self.scored, self.outputs, dtype=self.states)

    @abstractmethod
    def scored(self, outputs: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """What metrics are updated with, of outputs [T, B, n] and a target [B, ...] on the CPU."""

    def noise(self, samples: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Random samples of the result of `scored`.

        By default probabilities of classes, float64 [N, classes], and classes [N], with every class present.
        """
        logits = torch.randn(samples, len(self.outputs), generator=generator, dtype=torch.float64)
        return logits.softmax(-1), torch.arange(samples) % len(self.outputs)
