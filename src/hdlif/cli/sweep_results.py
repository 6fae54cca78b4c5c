"""What a search has found."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class TrialResult:
    """One training of a search.

    Attributes:
        state: complete, pruned, failed, running or waiting.
        validation_accuracy: of a classification, in its best epoch.
        validation_score: what is searched for, the larger the better.
        metric, validation_metrics: of other tasks, the name of what they are measured by, and its value.
        parameters: what was drawn, by key.
        epochs: that were reported.
        error: why it failed.
    """

    number: int
    state: str
    validation_accuracy: float | None
    validation_score: float | None
    metric: str | None
    validation_metrics: Mapping[str, float] | None
    parameters: Mapping[str, Any]
    epochs: int
    folder: str
    error: str | None

    def as_dict(self) -> dict[str, Any]:
        """As sweep.json has it."""
        found = vars(self)
        of_task = ("metric", "validation_metrics")
        return {key: value for key, value in found.items() if key not in of_task or value is not None}


@dataclass(frozen=True)
class SweepResult:
    """A search.

    Attributes:
        recipe: its name.
        study: the journal.
        best: of the complete trials.
        overrides: by which the best is trained again.
    """

    recipe: str
    study: str
    trials: tuple[TrialResult, ...]
    best: TrialResult | None
    overrides: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """As sweep.json has it."""
        best = None if self.best is None else {**self.best.as_dict(), "overrides": list(self.overrides)}
        trials = [trial.as_dict() for trial in self.trials]
        return {"recipe": self.recipe, "study": self.study, "trials": trials, "best": best}
