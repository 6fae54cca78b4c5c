"""Choose the early-exit confidence of a model file on validation data."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hdlif.data import DataSets
from hdlif.errors import InputError
from hdlif.graph.artefact import Graph
from hdlif.report.evaluation import evaluate_deployed
from hdlif.training.tasks import Classify, task_of


@dataclass(frozen=True)
class EarlyExit:
    """The effect of early exit on the validation part.

    Attributes:
        confidence: the probability at which a sample is classified.
        steps, accuracy: mean time steps and accuracy with early exit.
        all_steps, accuracy_of_all: the same without early exit.
        samples: size of the validation part.
    """

    confidence: float
    steps: float
    accuracy: float
    all_steps: int
    accuracy_of_all: float
    samples: int

    def as_dict(self) -> dict[str, Any]:
        return dict(vars(self))

    def __str__(self) -> str:
        return (
            f"early exit: confidence {self.confidence:g}, accuracy {self.accuracy:.2%} after {self.steps:.2f} steps on "
            f"average; {self.accuracy_of_all:.2%} after all {self.all_steps} ({self.samples:,} validation samples)"
        )


def choose_on_validation(graph: Graph, sets: DataSets, source: Path | str, *, max_drop: float) -> EarlyExit:
    """Return the smallest confidence of `training.tasks.classify.CONFIDENCES` that keeps the accuracy of all steps.

    Args:
        source: the file of the graph, for messages.
        max_drop: percentage points of accuracy that may be lost on the validation part.
    Raises:
        InputError: there is no validation part, or nothing to save.
    """
    fix = "give --confidence a number, such as 0.95"
    if not len(sets.validation):
        raise InputError(f"{source}: its data have no validation part to choose a confidence on; {fix}")
    task = task_of(graph)
    assert isinstance(task, Classify)
    drawing = task.drawing()
    whole = evaluate_deployed(graph, sets.validation, task=task, observe=drawing)
    found, all_steps = drawing.early.as_dict(), whole.accuracy_per_step[-1]
    for confidence, steps, accuracy in zip(found["confidence"], found["steps"], found["accuracy"], strict=True):
        # Rounded because 0.94 - 0.935 is slightly more than 0.005 in floating point.
        if round(100 * (all_steps - accuracy), 9) <= max_drop:
            return EarlyExit(confidence, steps, accuracy, graph.time_steps, all_steps, whole.n)
    raise InputError(f"{source}: each confidence loses more than {max_drop:g} points of {all_steps:.2%}; {fix}")
