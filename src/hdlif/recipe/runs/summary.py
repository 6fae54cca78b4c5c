"""What a finished training or search is: its summary.json or sweep.json, written, printed and read as one type."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, ConfigDict, TypeAdapter, WrapValidator

# json.loads takes NaN and Infinity; a summary with either is damaged.
FINITE = ConfigDict(allow_inf_nan=False)
MOST_SUMMARY = 2**26
"""Bytes of summary.json and the other small files of a run."""
MOST_LEVELS = 64
"""Nesting depth of JSON objects and lists."""
MOST_METRICS = 2**30
"""Bytes of metrics.jsonl."""


def _printable(name: str) -> str:
    if not name or not name.isprintable():
        raise ValueError("a name is printable and not empty")
    return name


def _as_it_stands(value: Any, check: Callable[[Any], float]) -> float:
    checked = check(value)
    return value if type(value) is int else checked


Name = Annotated[str, AfterValidator(_printable)]
Real = Annotated[float, WrapValidator(_as_it_stands)]
"""A number; an integer stays one, so that it is written as it was read."""
Number = Real | None
"""None if it was not measured."""


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One row of a profile, per sample over all time steps.

    Attributes:
        shape: of its output, without batch.
        density: share of non-zero entries, of a synapse's input and of a neuron's output.
        spikes_in: whether a synapse's input is spikes.
    """

    name: Name
    kind: str | None = None
    shape: tuple[int, ...] | None = None
    params_mb: Number = None
    stored_mb: Number = None
    sops: Number = None
    nops: Number = None
    energy_mj: Number = None
    density: Number = None
    spikes_in: bool | None = None
    __pydantic_config__: ClassVar = FINITE


@dataclass(frozen=True, kw_only=True)
class Neuron:
    """The leak and the threshold of a neuron layer at each time step; a parallel neuron has no leak.

    Attributes:
        initial_leak, initial_threshold: before training, where that is known.
    """

    name: Name
    kind: str | None = None
    leak: tuple[Real, ...] | None = None
    threshold: tuple[Real, ...] | None = None
    initial_leak: tuple[Real, ...] | None = None
    initial_threshold: tuple[Real, ...] | None = None
    __pydantic_config__: ClassVar = FINITE


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """The outcome of a training; None is what was not measured, or what an earlier version did not write.

    An example is at `train`.

    Attributes:
        recipe: as JSON has it, everything stated.
        name: of the recipe; what is read for a report, and shown, has the run folder's.
        accuracy: of a classification on the test set, a fraction in 0..1; None of another task.
        accuracy_per_step: after each time step.
        test_samples: how many the test set has.
        metrics, per_step, task, metric: of another task, or where further metrics are measured, on the test set: all
            that is measured by name, the first of interest at or after each step, the section of the recipe, and the
            name of the first of interest.
        larger_is_better, parts: of further metrics, which way is better, None where that is not said; and of
            those that give several figures, one for each output say, their names.
        evaluation: how the test set was answered.
        params_mb, stored_mb: as published, and of the file.
        sops, nops, energy_mj, energy_mj_honest: per sample.
        parameters: how many numbers are learned.
        fp32_mb: the weights, 4 bytes each: the parameters but for those of the neurons.
        saved_bytes: for the backward pass of one loss, at the most.
        best_epoch: whose network is kept.
        validation_accuracy, validation_metrics: of that epoch; the second of other tasks.
        validation_score: what it was chosen by, the larger the better.
        peak_bytes: of training, above program and weights.
        ranks: processes that trained.
        seed: of everything that was drawn.
        layers, neurons: rows of the accounting, and of what the neurons have learned.
        versions, hardware: of the libraries, and of the machine.
        train_seconds: of the whole training.
        threads: PyTorch's, and how their number was chosen.
    """

    recipe: Any = None
    name: Name
    seed: int | None = None
    accuracy: Number
    accuracy_per_step: tuple[Real, ...]
    test_samples: int | None = None
    metrics: Mapping[Name, Number] | None = None
    per_step: tuple[Real, ...] | None = None
    task: Mapping[str, Any] | None = None
    metric: Name | None = None
    larger_is_better: Mapping[Name, bool | None] | None = None
    parts: Mapping[Name, tuple[Name, ...]] | None = None
    evaluation: Mapping[str, Any] | None = None
    params_mb: Number = None
    stored_mb: Number = None
    sops: Number = None
    nops: Number = None
    energy_mj: Number = None
    energy_mj_honest: Number = None
    layers: tuple[Layer, ...] = ()
    neurons: tuple[Neuron, ...] = ()
    parameters: int | None = None
    fp32_mb: Number = None
    saved_bytes: Number = None
    versions: Mapping[str, Any] | None = None
    hardware: Mapping[str, Any] | None = None
    best_epoch: int | None = None
    validation_accuracy: Number = None
    validation_metrics: Mapping[Name, Number] | None = None
    validation_score: Number = None
    train_seconds: Number = None
    threads: Mapping[str, Any] | None = None
    peak_bytes: Number = None
    ranks: int | None = None
    __pydantic_config__: ClassVar = FINITE

    @property
    def recipe_name(self) -> str | None:
        """The name of the recipe that the network was trained by, where that is stated."""
        name = self.recipe.get("name") if isinstance(self.recipe, dict) else self.recipe
        return name if isinstance(name, str) else None

    @property
    def first_figure(self) -> tuple[str, float | None]:
        """The name and the value of what is of first interest on the test set."""
        name = self.metric or "accuracy"
        return name, self.measured.get(name)

    @property
    def measured(self) -> Mapping[str, float | None]:
        """On the test set, by name: of a classification its accuracy."""
        if self.metrics is not None:
            return self.metrics
        return {} if self.accuracy is None else {"accuracy": self.accuracy}

    @property
    def beside_accuracy(self) -> Mapping[str, float | None]:
        """The metrics of one figure; of a classification without its accuracy, which stands for itself."""
        own = set() if self.accuracy is None else {"accuracy"}
        # One for each output would be a table of its own.
        own |= {name for names in (self.parts or {}).values() for name in names}
        return {name: value for name, value in (self.metrics or {}).items() if name not in own}

    @property
    def threads_used(self) -> int:
        """Of the training; 1 where an earlier version did not write it."""
        return int((self.threads or {}).get("count", 1))

    def as_dict(self) -> dict[str, Any]:
        """As summary.json has it; what is of other tasks than classification is not there if it is none."""
        found = {one.name: _plain(getattr(self, one.name)) for one in fields(self)}
        return {name: value for name, value in found.items() if name not in _OF_TASKS or value is not None}


_OF_TASKS = ("metrics", "per_step", "task", "metric", "larger_is_better", "parts", "validation_metrics")
RESULT = TypeAdapter(TrainResult)
"""Reads what `TrainResult.as_dict` has given, and whatever else there is in a file of that name."""


def _plain(value: Any) -> Any:
    if isinstance(value, Layer | Neuron):
        return {one.name: _plain(getattr(value, one.name)) for one in fields(value)}
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    return {key: _plain(one) for key, one in value.items()} if isinstance(value, Mapping) else value


def mean_and_std(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean and standard deviation (of the sample; None for one value)."""
    return statistics.mean(values), statistics.stdev(values) if len(values) > 1 else None


def in_percent(mean: float, std: float | None) -> str:
    """Of a fraction in 0..1: `94.54 ± 1.58`, without the second number where there is none."""
    return f"{100 * mean:.2f}" + ("" if std is None else f" ± {100 * std:.2f}")


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
