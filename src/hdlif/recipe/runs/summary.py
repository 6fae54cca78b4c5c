"""Types of the results in summary.json and sweep.json, which finished training runs and searches write."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, ConfigDict, TypeAdapter, WrapValidator

# json.loads accepts NaN and Infinity; a summary with either is damaged.
FINITE = ConfigDict(allow_inf_nan=False)
MOST_SUMMARY = 2**26
"""Maximum size of summary.json or another small file of a run, in bytes."""
MOST_LEVELS = 64
"""Maximum nesting depth of JSON objects and lists."""
MOST_METRICS = 2**30
"""Maximum size of metrics.jsonl in bytes."""


def _printable(name: str) -> str:
    if not name or not name.isprintable():
        raise ValueError("a name is printable and not empty")
    return name


def _as_it_stands(value: Any, check: Callable[[Any], float]) -> float:
    checked = check(value)
    return value if type(value) is int else checked


Name = Annotated[str, AfterValidator(_printable)]
Real = Annotated[float, WrapValidator(_as_it_stands)]
"""A number; integers stay integers, so files round-trip."""
Number = Real | None
"""A number, or None if it was not measured."""


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A layer's row in a profile. Operations and energy are per sample, summed over all time steps.

    Attributes:
        shape: shape of the layer's output, without batch.
        density: fraction of non-zero entries in a synapse's input or a neuron's output.
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
    """The leak and threshold of a neuron layer at each time step; a parallel neuron has no leak.

    Attributes:
        initial_leak, initial_threshold: values before training, if known.
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
    """The result of a training run. None marks values that were not measured or that an earlier hdlif did not record.

    See `train` for an example.

    Attributes:
        recipe: the complete recipe as JSON.
        name: name of the recipe; in a report, name of the run folder.
        accuracy: accuracy of a classification on the test set, in 0..1; None for other tasks.
        accuracy_per_step: accuracy after each time step.
        test_samples: size of the test set.
        metrics, per_step, task, metric: for other tasks or with additional metrics: all test metrics by name, the first
            metric at or after each step, the recipe's section `task`, and the name of the first metric.
        mean_rmse: for values, the rmse of always predicting the training mean.
        larger_is_better, parts: for additional metrics: whether larger is better, or None if unknown; and the names of
            the values of metrics with several values, such as one per output.
        evaluation: how the test set was evaluated.
        params_mb, stored_mb: size of the parameters as published, and size of the file.
        sops, nops, energy_mj, energy_mj_honest: operations and energy per sample.
        parameters: number of trained values.
        fp32_mb: size of the weights at 4 bytes each: all parameters except the neurons'.
        saved_bytes: peak number of bytes saved for the backward pass of one loss.
        best_epoch: epoch of the saved network.
        validation_accuracy, validation_metrics: validation results of that epoch; the second is for other tasks.
        validation_score: criterion for the best epoch; larger is better.
        peak_bytes: peak memory of training, in addition to program and weights.
        ranks: number of training processes.
        seed: seed of all random numbers.
        layers, neurons: rows of the accounting, and rows of the neurons' learned parameters.
        versions, hardware: versions of the libraries, and description of the machine.
        train_seconds: duration of the entire training.
        threads: number of PyTorch's threads, and how it was chosen.
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
    mean_rmse: Number = None
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
        """Return the name and the value of the first metric on the test set."""
        name = self.metric or "accuracy"
        return name, self.measured.get(name)

    @property
    def measured(self) -> Mapping[str, float | None]:
        """Return the test metrics, keyed by name; a plain classification has only the accuracy."""
        if self.metrics is not None:
            return self.metrics
        return {} if self.accuracy is None else {"accuracy": self.accuracy}

    @property
    def beside_accuracy(self) -> Mapping[str, float | None]:
        """Return the metrics with a single value, except a classification's accuracy, which is shown separately."""
        own = set() if self.accuracy is None else {"accuracy"}
        # Metrics with a value per output would need their own table.
        own |= {name for names in (self.parts or {}).values() for name in names}
        return {name: value for name, value in (self.metrics or {}).items() if name not in own}

    @property
    def threads_used(self) -> int:
        """Return the number of threads used for training, or 1 for results of earlier versions, which lack this
        value."""
        return int((self.threads or {}).get("count", 1))

    def as_dict(self) -> dict[str, Any]:
        """Return the content of summary.json; a classification has no keys for other tasks."""
        found = {one.name: _plain(getattr(self, one.name)) for one in fields(self)}
        return {name: value for name, value in found.items() if name not in _OF_TASKS or value is not None}


_OF_TASKS = ("metrics", "per_step", "task", "metric", "mean_rmse", "larger_is_better", "parts", "validation_metrics")
RESULT = TypeAdapter(TrainResult)
"""Validator for the output of `TrainResult.as_dict` in untrusted files."""


def _plain(value: Any) -> Any:
    if isinstance(value, Layer | Neuron):
        return {one.name: _plain(getattr(value, one.name)) for one in fields(value)}
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    return {key: _plain(one) for key, one in value.items()} if isinstance(value, Mapping) else value


def mean_and_std(values: Sequence[float]) -> tuple[float, float | None]:
    """Return the mean and the sample standard deviation, which is None for a single value."""
    return statistics.mean(values), statistics.stdev(values) if len(values) > 1 else None


def in_percent(mean: float, std: float | None) -> str:
    """Format a fraction in 0..1 as a percentage, such as `94.54 ± 1.58`, or `94.54` if there is no deviation."""
    return f"{100 * mean:.2f}" + ("" if std is None else f" ± {100 * std:.2f}")


@dataclass(frozen=True)
class TrialResult:
    """One training run in a search.

    Attributes:
        state: complete, pruned, failed, running or waiting.
        validation_accuracy: accuracy of a classification in its best epoch.
        validation_score: objective of the search; larger is better.
        metric, validation_metrics: name and value of the metric, for other tasks.
        parameters: drawn values by key.
        epochs: number of reported epochs.
        error: reason for a failure.
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
        """Return the trial in the format of sweep.json."""
        found = vars(self)
        of_task = ("metric", "validation_metrics")
        return {key: value for key, value in found.items() if key not in of_task or value is not None}


@dataclass(frozen=True)
class SweepResult:
    """The result of a search.

    Attributes:
        recipe: name of the recipe.
        study: path of the journal.
        best: best complete trial.
        overrides: `--set` values that repeat the best trial.
    """

    recipe: str
    study: str
    trials: tuple[TrialResult, ...]
    best: TrialResult | None
    overrides: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return the search in the format of sweep.json."""
        best = None if self.best is None else {**self.best.as_dict(), "overrides": list(self.overrides)}
        trials = [trial.as_dict() for trial in self.trials]
        return {"recipe": self.recipe, "study": self.study, "trials": trials, "best": best}
