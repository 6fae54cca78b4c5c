"""The base class of hdlif's tasks, which defines outputs, time steps and metrics."""

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
    """Base class for tasks that have their own metrics, `figures`, and additional metrics.

    See `Classify` for an example.

    Args:
        outputs: the names of the network's outputs.
        time_steps: T.
        metrics: additional torchmetrics metrics by name.
        best: figure or metric that selects the best epoch, by default the first figure; a metric must define
            `higher_is_better`.
    Raises:
        InputError: a metric fails on noise, or `best` cannot select an epoch.
    """

    outputs: tuple[str, ...]
    time_steps: int
    metrics: Mapping[str, Metric] = field(default_factory=dict, kw_only=True, hash=False)
    best: str | None = field(default=None, kw_only=True)

    figures: ClassVar[Mapping[str, bool]]
    """The task's own figures by name, and whether larger is better."""
    states: ClassVar[torch.dtype] = torch.float32
    """Dtype of the metrics' states."""

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
                f'task.best = "{self.best}" does not define whether larger or smaller is better '
                "(its higher_is_better is None); select the best epoch by another"
            )

    @property
    def output_count(self) -> int:
        """The number of the network's outputs."""
        return len(self.outputs)

    @property
    def metric(self) -> str:
        """The name of the figure or metric that selects the best epoch."""
        return self.best or next(iter(self.figures))

    def larger_is_better(self, name: str) -> bool | None:
        """Return whether a larger value of a figure or metric is better, or None if the metric does not define this."""
        if name in self.figures:
            return self.figures[name]
        # A metric's name may contain dots itself, and an output's name may follow it.
        asked = max((one for one in self.metrics if name == one or name.startswith(f"{one}.")), key=len)
        return self.metrics[asked].higher_is_better

    def better(self, evaluation: Evaluation) -> float:
        """Return the value of `metric`, negated if smaller values are better, or -inf if it is NaN."""
        value = evaluation.metrics[self.metric]
        if math.isnan(value):
            return -math.inf
        return value if self.larger_is_better(self.metric) else -value

    def asked(self) -> ExtraMetrics:
        """Return an accumulator for the additional metrics."""
        return ExtraMetrics(self.metrics, self.scored, self.outputs, dtype=self.states)

    @abstractmethod
    def scored(self, outputs: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the arguments for a metric's `update` from outputs [T, B, n] and a target [B, ...] on the CPU."""

    def noise(self, samples: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw random samples in the format of `scored`.

        By default, return class probabilities, float64 [N, classes], and true classes [N], among which every class
        occurs.
        """
        logits = torch.randn(samples, len(self.outputs), generator=generator, dtype=torch.float64)
        return logits.softmax(-1), torch.arange(samples) % len(self.outputs)
