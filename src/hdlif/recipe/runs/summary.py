"""Results of finished trainings and searches: types of summary.json and sweep.json."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, ConfigDict, TypeAdapter, WrapValidator

# json.loads takes NaN and Infinity; a summary with either is damaged.
FINITE = ConfigDict(allow_inf_nan=False)
MOST_SUMMARY = 2**26
"""Largest summary.json or other small file of a run, in bytes."""
MOST_LEVELS = 64
"""Largest nesting depth of JSON objects and lists."""
MOST_METRICS = 2**30
"""Largest metrics.jsonl, in bytes."""


def _printable(name: str) -> str:
    if not name or not name.isprintable():
        raise ValueError("a name is printable and not empty")
    return name


def _as_it_stands(value: Any, check: Callable[[Any], float]) -> float:
    checked = check(value)
    return value if type(value) is int else checked


Name = Annotated[str, AfterValidator(_printable)]
Real = Annotated[float, WrapValidator(_as_it_stands)]
"""A number; integers stay integers, so that files round-trip."""
Number = Real | None
"""A number, or None if it was not measured."""


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One row of a profile, per sample over all time steps.

    Attributes:
        shape: of its output, without batch.
        density: fraction of non-zero entries, of a synapse's input and of a neuron's output.
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
    """Leak and threshold of a neuron layer at each time step; a parallel neuron has no leak.

    Attributes:
        initial_leak, initial_threshold: before training, if known.
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
    """Result of a training; None for values not measured or not written by an earlier version.

    An example is at `train`.

    Attributes:
        recipe: the complete recipe as JSON.
        name: of the recipe; in a report, that of the run folder.
        accuracy: of a classification on the test set, a fraction in 0..1; None of another task.
        accuracy_per_step: after each time step.
        test_samples: size of the test set.
        metrics, per_step, task, metric: for other tasks or with further metrics, on the test set: all metrics by name,
            the first one at or after each step, the recipe's section, and the name of the
            first one.
        larger_is_better, parts: for further metrics, the better direction, None if unknown; and, for those with
            several figures, such as one per output, their names.
        evaluation: how the test set was evaluated.
        params_mb, stored_mb: size as published, and of the file.
        sops, nops, energy_mj, energy_mj_honest: per sample.
        parameters: number of trained values.
        fp32_mb: the weights at 4 bytes each: all parameters except the neurons'.
        saved_bytes: most bytes saved for the backward pass of one loss.
        best_epoch: epoch of the saved network.
        validation_accuracy, validation_metrics: of that epoch; the second for other tasks.
        validation_score: criterion of the best epoch, larger is better.
        peak_bytes: of training, above program and weights.
        ranks: number of training processes.
        seed: of all random numbers.
        layers, neurons: rows of the accounting, and of the neurons' learned parameters.
        versions, hardware: of the libraries, and of the machine.
        train_seconds: of the whole training.
        threads: PyTorch's threads, and how their number was chosen.
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
        """Return the name of the network's recipe, if known."""
        name = self.recipe.get("name") if isinstance(self.recipe, dict) else self.recipe
        return name if isinstance(name, str) else None

    @property
    def first_figure(self) -> tuple[str, float | None]:
        """Return name and value of the first metric on the test set."""
        name = self.metric or "accuracy"
        return name, self.measured.get(name)

    @property
    def measured(self) -> Mapping[str, float | None]:
        """Return the test metrics by name: for a classification, its accuracy."""
        if self.metrics is not None:
            return self.metrics
        return {} if self.accuracy is None else {"accuracy": self.accuracy}

    @property
    def beside_accuracy(self) -> Mapping[str, float | None]:
        """Return the metrics with one figure; for a classification without accuracy, which is shown separately."""
        own = set() if self.accuracy is None else {"accuracy"}
        # One figure per output would need its own table.
        own |= {name for names in (self.parts or {}).values() for name in names}
        return {name: value for name, value in (self.metrics or {}).items() if name not in own}

    @property
    def threads_used(self) -> int:
        """Return the ranks of the training; 1 if an earlier version did not write them."""
        return int((self.threads or {}).get("count", 1))

    def as_dict(self) -> dict[str, Any]:
        """Return the content of summary.json; keys for other tasks are omitted for a classification."""
        found = {one.name: _plain(getattr(self, one.name)) for one in fields(self)}
        return {name: value for name, value in found.items() if name not in _OF_TASKS or value is not None}


_OF_TASKS = ("metrics", "per_step", "task", "metric", "larger_is_better", "parts", "validation_metrics")
RESULT = TypeAdapter(TrainResult)
"""Validator of `TrainResult.as_dict`, for untrusted files."""


def _plain(value: Any) -> Any:
    if isinstance(value, Layer | Neuron):
        return {one.name: _plain(getattr(value, one.name)) for one in fields(value)}
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    return {key: _plain(one) for key, one in value.items()} if isinstance(value, Mapping) else value


def mean_and_std(values: Sequence[float]) -> tuple[float, float | None]:
    """Return mean and sample standard deviation (None for one value)."""
    return statistics.mean(values), statistics.stdev(values) if len(values) > 1 else None


def in_percent(mean: float, std: float | None) -> str:
    """Format a fraction in 0..1 as `94.54 ± 1.58`; without a deviation, as one number."""
    return f"{100 * mean:.2f}" + ("" if std is None else f" ± {100 * std:.2f}")


@dataclass(frozen=True)
class TrialResult:
    """One training of a search.

    Attributes:
        state: complete, pruned, failed, running or waiting.
        validation_accuracy: for a classification, in its best epoch.
        validation_score: objective of the search, larger is better.
        metric, validation_metrics: for other tasks, the name of the metric, and its value.
        parameters: drawn values, by key.
        epochs: number of reported epochs.
        error: reason of a failure.
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
        """Return the trial as in sweep.json."""
        found = vars(self)
        of_task = ("metric", "validation_metrics")
        return {key: value for key, value in found.items() if key not in of_task or value is not None}


@dataclass(frozen=True)
class SweepResult:
    """A search.

    Attributes:
        recipe: its name.
        study: path of the journal.
        best: best complete trial.
        overrides: `--set` values that train the best one again.
    """

    recipe: str
    study: str
    trials: tuple[TrialResult, ...]
    best: TrialResult | None
    overrides: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return the search as in sweep.json."""
        best = None if self.best is None else {**self.best.as_dict(), "overrides": list(self.overrides)}
        trials = [trial.as_dict() for trial in self.trials]
        return {"recipe": self.recipe, "study": self.study, "trials": trials, "best": best}
