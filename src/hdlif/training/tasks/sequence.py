"""Sequence labelling: predict a class at each time step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from hdlif.graph.graph import TaskRecord
from hdlif.learning import Criterion
from hdlif.training.tasks.class_weights import ClassWeights, balanced_weights, checked_weights, cross_entropy
from hdlif.training.tasks.classify import Confusion
from hdlif.training.tasks.measured_task import Measured
from hdlif.training.tasks.task import Evaluation, LearnFrom, RightBy, Tally, Target, chosen_steps, timed


@dataclass(frozen=True)
class LabelSequence(Measured):
    """A task with a class at each time step: the argmax of the step's outputs.

    >>> import torch
    >>> from hdlif.training.tasks import LabelSequence
    >>> task = LabelSequence(("rest", "step"), time_steps=3, delay=1)
    >>> tally = task.tally()
    >>> outputs = torch.tensor([[[9.0, 0.0]], [[1.0, 0.0]], [[0.0, 1.0]]])
    >>> tally(outputs, torch.tensor([[0, 1, 0]]))
    >>> tally.evaluation().metrics[task.metric]
    1.0

    Args:
        outputs: the class names.
        time_steps: T.
        delay: the prediction for step t is read at step t + delay; the first `delay` outputs are ignored.
        learn_from: steps with a loss among those with a prediction, see `LearnFrom`.
        label_smoothing: label smoothing of the training loss.
        class_weights: class weights of the training loss; evaluation weights all steps equally.
        metrics, best: as in `Measured`; metrics receive probabilities [N, classes] and classes [N] of all steps.
    """

    delay: int = 0
    label_smoothing: float = 0.0
    learn_from: LearnFrom = "every"
    class_weights: ClassWeights | None = None

    target: ClassVar[Target] = "classes"
    figures: ClassVar[Mapping[str, bool]] = {"accuracy": True, "whole_sequences": True}
    right_by: ClassVar[RightBy] = "each"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_delay(self.delay, self.time_steps)
        object.__setattr__(self, "class_weights", checked_weights(self.class_weights, self.outputs))

    @property
    def record(self) -> TaskRecord:
        return TaskRecord("sequence", "each", self.delay)

    def counted(self, labels: Tensor) -> LabelSequence:
        """Return a copy whose `balanced_weights` come from training classes, int64 [N, T], at the steps with a loss."""
        answered = labels[:, : self.time_steps - self.delay]
        learned = answered[:, -1:] if self.learn_from == "last" else answered
        return replace(self, class_weights=balanced_weights(learned, len(self.outputs)))

    def criterion(self) -> Criterion:
        """Return the cross-entropy between each step's outputs and the step's own target."""
        return self.timed(cross_entropy(self.class_weights, self.label_smoothing))

    def timed(self, criterion: Criterion) -> Criterion:
        """Return a criterion that covers only the steps that have a loss, each with its own target."""
        steps = chosen_steps(self.learn_from, "each")
        return timed(criterion, steps, self.time_steps, first=self.delay, each=True)

    def tally(self) -> Tally:
        """Return a tally of the fraction of steps with a correct prediction."""
        return _Tally(self)

    def drawing(self) -> StepConfusion:
        """Return a collector of the confusion matrix over all steps."""
        return StepConfusion(self.outputs, self.delay)

    def right(self, outputs: Tensor, steps: tuple[int, ...], target: Tensor) -> tuple[Tensor, int]:
        if len(outputs) != len(steps):
            return torch.zeros(()), 0
        counted = [place for place, step in enumerate(steps) if step >= self.delay]
        wanted = target[:, [steps[place] - self.delay for place in counted]].T
        return (outputs[counted].argmax(-1) == wanted).sum(), wanted.numel()

    def scored(self, outputs: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        counted = outputs[self.delay :]
        return counted.double().softmax(-1).flatten(0, 1), target[:, : len(counted)].T.flatten()


def check_delay(delay: int, time_steps: int) -> None:
    """Raise `ValueError` if the delay is negative or leaves no prediction within the sample."""
    if not 0 <= delay < time_steps:
        raise ValueError(f"delay = {delay}; it must be at least 0, and less than time_steps = {time_steps}")


class _Tally(Tally):
    def __init__(self, task: LabelSequence) -> None:
        super().__init__(task.asked(), task.timed(F.cross_entropy), correct=task.time_steps - task.delay, whole=1)
        self._delay = task.delay

    def _added(self, outputs: Tensor, target: Tensor) -> Mapping[str, Tensor]:
        counted = outputs[self._delay :]
        right = counted.argmax(-1) == target[:, : len(counted)].T
        return {"correct": right.sum(1), "whole": right.all(0).sum()[None]}

    def _score(self, sums: Mapping[str, Tensor]) -> float:
        return float(sums["correct"].mean() / sums["seen"][1])

    def _evaluation(self, sums: Mapping[str, Tensor], loss: float, n: int) -> Evaluation:
        per_step = tuple(count / n for count in sums["correct"].tolist())
        whole = float(sums["whole"]) / n
        return Evaluation(None, per_step, loss, n, {"accuracy": self._score(sums), "whole_sequences": whole})


class StepConfusion(Confusion):
    """The number of time steps per true and predicted class."""

    def __init__(self, classes: tuple[str, ...], delay: int) -> None:
        super().__init__(classes)
        self._delay = delay

    def __call__(self, outputs: Tensor, target: Tensor) -> None:
        """Add a batch of outputs [T, B, classes] and targets [B, T]."""
        counted = outputs[self._delay :]
        self.add(target[:, : len(counted)].T.flatten().cpu(), counted.argmax(-1).flatten().cpu())

    def files(self) -> Mapping[str, Any]:
        """Return the data for confusion.json, with counts of steps."""
        confusion = super().files()["confusion"]
        return {"confusion": {**confusion, "of": "steps"}}
