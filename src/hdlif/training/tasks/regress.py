"""Regression: one or more values per sample or per time step."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from hdlif.graph.graph import TaskRecord
from hdlif.learning import Criterion
from hdlif.training.tasks.measured_task import Measured
from hdlif.training.tasks.sequence import check_delay
from hdlif.training.tasks.task import Evaluation, LearnFrom, RightBy, Tally, Target, chosen_steps, timed

Loss = Literal["squared", "absolute", "huber"]
_LOSSES: Mapping[Loss, Criterion] = {"squared": F.mse_loss, "absolute": F.l1_loss, "huber": F.smooth_l1_loss}
_DRAWN = 1000
"""Most pairs of true and predicted values per output in a report."""


@dataclass(frozen=True)
class Regress(Measured):
    """A task that predicts normalised values from the outputs' mean over time, the last step or each step.

    >>> import torch
    >>> from hdlif.training.tasks import Regress
    >>> task = Regress(("degrees",), time_steps=2, mean=[20.0], std=[5.0])
    >>> tally = task.tally()
    >>> tally(torch.tensor([[[1.0], [0.5]], [[1.0], [0.0]]]), torch.tensor([[1.0], [0.0]]))
    >>> tally.evaluation().metrics["mae"]
    0.625

    Args:
        outputs: the names of the values.
        time_steps: T.
        mean, std: mean and standard deviation of each value; targets and outputs are (value - mean)/std.
        combine: "mean", "last", or "each" for targets [T, V].
        delay: number of steps between a step and its prediction, for "each".
        ahead: number of steps between a step and the future values that it predicts, for forecasts of the input.
        learn_from: as in `Classify`; for "each", it selects among the steps with a prediction.
        loss: "squared", "absolute", or "huber" (squared up to one standard deviation).
        metrics, best: as in `Measured`; metrics receive predicted and true values in their units, float64 [N, V], or
            [N] for a single value. With "each", N includes all steps.
    """

    mean: Sequence[float]
    std: Sequence[float]
    combine: Literal["mean", "last", "each"] = "mean"
    delay: int = 0
    loss: Loss = "squared"
    ahead: int = 0
    learn_from: LearnFrom | None = None

    figures: ClassVar[Mapping[str, bool]] = {"rmse": False, "mae": False, "r2": True}
    right_by: ClassVar[RightBy] = "each"
    states: ClassVar[torch.dtype] = torch.float64
    """Float64, because values have units and may be far from 0."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_delay(self.delay, self.time_steps)
        if self.delay and self.combine != "each":
            raise ValueError(
                f'delay = {self.delay} applies only to values at each step; remove it, or set combine to "each"'
            )

    @property
    def target(self) -> Target:
        return "values_each" if self.combine == "each" else "values"

    @property
    def record(self) -> TaskRecord:
        return TaskRecord("regress", self.combine, self.delay, tuple(self.mean), tuple(self.std), self.ahead)

    @property
    def first(self) -> int:
        """The first step that contributes to predictions."""
        return self.time_steps - 1 if self.combine == "last" else self.delay

    def criterion(self) -> Criterion:
        """Return the loss between normalised values."""
        steps, each = chosen_steps(self.learn_from, self.combine), self.combine == "each"
        return timed(_LOSSES[self.loss], steps, self.time_steps, first=self.delay, each=each)

    def tally(self) -> Tally:
        """Return a tally of the errors, in the units of the values."""
        return _Tally(self)

    def drawing(self) -> Errors:
        """Return a collector of true and predicted values."""
        return Errors(self)

    def right(self, outputs: Tensor, steps: tuple[int, ...], target: Tensor) -> tuple[Tensor, int]:
        return torch.zeros(()), 0

    def pairs(self, outputs: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Return predictions and true values in their units, float64 [T', B, V], for the T' steps from `first` on.

        Unless `combine` is "each", these are the predictions after each step, and the true values have shape [1, B, V].
        """
        scale, shift = (torch.tensor(list(v), dtype=torch.float64) for v in (self.std, self.mean))
        counted, wanted = outputs[self.first :].double().cpu(), target.double().cpu()
        if self.combine == "each":
            wanted = wanted[:, : len(counted)].transpose(0, 1)
        else:
            steps = torch.arange(1, len(counted) + 1, dtype=torch.float64)[:, None, None]
            counted, wanted = counted.cumsum(0) / steps, wanted[None]
        return counted * scale + shift, wanted * scale + shift

    def answers(self, outputs: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Return the part of `pairs` to evaluate: all steps if `combine` is "each", otherwise only the last step."""
        predicted, true = self.pairs(outputs, target)
        return predicted if self.combine == "each" else predicted[-1:], true

    def scored(self, outputs: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        predicted, true = (values.flatten(0, 1) for values in self.answers(outputs, target))
        return (predicted[:, 0], true[:, 0]) if len(self.outputs) == 1 else (predicted, true)

    def noise(self, samples: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        shape = (2, samples) if len(self.outputs) == 1 else (2, samples, len(self.outputs))
        predicted, true = torch.randn(shape, generator=generator, dtype=torch.float64)
        return predicted, true


class _Tally(Tally):
    """A tally of rmse and mae over all values, and of r2, the fraction of explained variance, averaged over outputs."""

    def __init__(self, task: Regress) -> None:
        values, steps = len(task.outputs), task.time_steps - task.first
        super().__init__(task.asked(), task.criterion(), squares=steps, sums=5 * values)
        self._task = task

    def _added(self, outputs: Tensor, target: Tensor) -> Mapping[str, Tensor]:
        predicted, true = self._task.pairs(outputs, target)
        squares = (predicted - true).square().mean(-1).sum(1)
        if self._task.combine != "each":
            predicted = predicted[-1:]
        # Subtract the training mean; otherwise the variance would be a difference of large numbers.
        shifted = true - torch.tensor(list(self._task.mean), dtype=torch.float64)
        of_each = [
            (predicted - true).square(),
            (predicted - true).abs(),
            shifted,
            shifted.square(),
            torch.ones_like(true),
        ]
        return {"squares": squares, "sums": torch.cat([part.sum((0, 1)) for part in of_each])}

    def _score(self, sums: Mapping[str, Tensor]) -> float:
        squares, _, _, _, counts = sums["sums"].chunk(5)
        return math.sqrt(float(squares.sum() / counts.sum()))

    def _evaluation(self, sums: Mapping[str, Tensor], loss: float, n: int) -> Evaluation:
        squares, errors, shifted, powers, counts = sums["sums"].chunk(5)
        variance = powers - shifted.square() / counts
        r2 = torch.where(variance > 0, 1 - squares / variance.clamp_min(1e-300), torch.zeros(()).double())
        metrics = {"rmse": self._score(sums), "mae": float(errors.sum() / counts.sum()), "r2": float(r2.mean())}
        per_step = tuple(math.sqrt(total / n) for total in sums["squares"].tolist())
        mean_rmse = math.sqrt(float(powers.sum() / counts.sum()))
        return Evaluation(None, per_step, loss, n, metrics, mean_rmse)


class Errors:
    """True and predicted values of the first samples, and the mean and standard deviation of each output's error."""

    def __init__(self, task: Regress) -> None:
        self._task, self._pairs = task, (list[Tensor](), list[Tensor]())
        self._sums = torch.zeros(3, len(task.outputs), dtype=torch.float64)

    def __call__(self, outputs: Tensor, target: Tensor) -> None:
        """Add a batch of outputs [T, B, V] and targets [B, V] or [B, T, V]."""
        predicted, true = self._task.answers(outputs, target)
        errors = predicted - true
        self._sums += torch.stack([part.sum((0, 1)) for part in (torch.ones_like(errors), errors, errors.square())])
        if sum(map(len, self._pairs[0])) < _DRAWN:
            for kept, part in zip(self._pairs, (true, predicted), strict=True):
                # Keep the steps of a sample together and in order.
                kept.append(part.transpose(0, 1).flatten(0, 1))

    def files(self) -> Mapping[str, Any]:
        """Return the data for errors.json."""
        count, errors, squares = self._sums
        mean = errors / count.clamp_min(1)
        deviation = (squares / count.clamp_min(1) - mean.square()).clamp_min(0).sqrt()
        true, predicted = (torch.cat(kept)[:_DRAWN] if kept else torch.zeros(0, len(mean)) for kept in self._pairs)
        return {
            "errors": {
                "names": list(self._task.outputs),
                "mean": mean.tolist(),
                "deviation": deviation.tolist(),
                "true": true.T.tolist(),
                "predicted": predicted.T.tolist(),
            }
        }
