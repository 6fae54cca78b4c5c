"""Implement `hdlif train --seeds N`, which repeats training with N seeds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hdlif.cli.training_run import TrainingOptions, train_in_one_process
from hdlif.errors import say_nothing
from hdlif.recipe import builders
from hdlif.recipe.runs.files import write_json
from hdlif.recipe.runs.folders import begun, check_free, finished
from hdlif.recipe.runs.processes import check_alone
from hdlif.recipe.runs.recipe_data import load_recipe_to_train, seeds_from, with_class_weights
from hdlif.recipe.runs.summary import TrainResult, in_percent, mean_and_std
from hdlif.report.runs import run_name
from hdlif.report.tables import figure, measured
from hdlif.training import RunFiles


@dataclass(frozen=True)
class Spread:
    """Statistics of one quantity, such as the accuracy, over several seeds.

    Attributes:
        mean, std: None if a value is None; the sample standard deviation is also None for a single seed.
        values: the value of each seed.
    """

    mean: float | None
    std: float | None
    values: tuple[float | None, ...]

    @classmethod
    def of(cls, values: Sequence[float | None]) -> Spread:
        """Compute statistics from one value per seed."""
        known = [value for value in values if value is not None]
        mean, std = mean_and_std(known) if known and len(known) == len(values) else (None, None)
        return cls(mean, std, tuple(values))

    def as_dict(self) -> dict[str, Any]:
        """Return the statistics as a JSON-serialisable dict."""
        return {"mean": self.mean, "std": self.std, "values": list(self.values)}


FIGURES = ("accuracy", "validation_accuracy", "sops", "energy_mj", "train_seconds")


@dataclass(frozen=True)
class SeedsResult:
    """The results of training one recipe with several seeds.

    Attributes:
        name: name of the recipe.
        metrics: metrics by name, for tasks other than classification and on request.
        versions, hardware: versions and hardware of the last run.
    """

    name: str
    seeds: tuple[int | None, ...]
    accuracy: Spread
    validation_accuracy: Spread
    sops: Spread
    energy_mj: Spread
    train_seconds: Spread
    metrics: Mapping[str, Spread]
    versions: Mapping[str, Any] | None
    hardware: Mapping[str, Any] | None

    @classmethod
    def of(cls, name: str, runs: Sequence[TrainResult]) -> SeedsResult:
        """Summarise the training runs for one recipe."""
        return cls(
            name=name,
            seeds=tuple(run.seed for run in runs),
            **{key: Spread.of([getattr(run, key) for run in runs]) for key in FIGURES},
            metrics={one: Spread.of([(run.metrics or {})[one] for run in runs]) for one in runs[0].metrics or ()},
            versions=runs[-1].versions,
            hardware=runs[-1].hardware,
        )

    @property
    def n(self) -> int:
        """Return the number of training runs."""
        return len(self.seeds)

    def as_dict(self) -> dict[str, Any]:
        """Return the content of OUT/seeds.json."""
        metrics = {name: spread.as_dict() for name, spread in self.metrics.items()}
        return {
            "name": self.name,
            "n": self.n,
            "seeds": list(self.seeds),
            **{key: getattr(self, key).as_dict() for key in FIGURES},
            **({"metrics": metrics} if metrics else {}),
            "versions": self.versions,
            "hardware": self.hardware,
        }

    def text(self, out: Path | None = None) -> str:
        """Format the result as one line that begins with the name of the folder."""
        return str(self if out is None else replace(self, name=run_name(out, self.name)))

    def __str__(self) -> str:
        """Format the test accuracy or the metrics as mean ± standard deviation (n)."""
        said = [] if self.accuracy.mean is None else [f"{in_percent(self.accuracy.mean, self.accuracy.std)} %"]
        for name, one in self.metrics.items():
            if name != "accuracy" or not said:
                spread = "" if one.std is None else f" ± {one.std:.2g}"
                said.append(f"{name} {figure(one.mean, '.4g')}{spread}")
        return f"{self.name}: {', '.join(said)} ({self.n})"


def train_seeds(
    recipe: str | Path | None,
    *,
    seeds: int,
    overrides: Sequence[str] = (),
    data: str | None = None,
    out: Path | None = None,
    stream: bool = False,
    twin: builders.Twin | None = None,
    start: str | None = None,
    say: Callable[[str], None] = say_nothing,
    **options: Any,
) -> SeedsResult:
    """Train a recipe with `seeds` consecutive seeds and write OUT/seeds.json after each seed.

    The first seed is the recipe's seed, and the run folders are OUT/seed_S. Finished runs of the same recipe are
    skipped, and interrupted runs are resumed.

    Args:
        overrides, data, stream, twin, start: as in `hdlif.train`.
        out: runs/NAME by default. A run of another recipe in a seed's folder raises an error, unless `overwrite` is
            set, which trains all seeds again.
        say: called with one line per seed.
        options: fields of `TrainingOptions`.
    Raises:
        RecipeError: several processes are requested, torchrun has started this one, or a seed is too large.
        ExistingRunError: a folder contains a run of another recipe.
        CheckpointError: a folder contains a run of another recipe, and `resume` is set.
    """
    check_alone("--seeds", options.get("devices"), options.get("nodes"))
    given = TrainingOptions(**options)
    root = given.data_root
    first, found = load_recipe_to_train(
        recipe,
        overrides=overrides,
        data=data,
        data_root=root,
        stream=stream,
        twin=twin,
        start=start,
        say=say if recipe is None else say_nothing,
    )
    first = with_class_weights(first, root, found, say=say)
    out = out or Path("runs") / first.name
    runs: list[TrainResult] = []
    for seed in seeds_from(first.seed, seeds):
        chosen = first.model_copy(update={"seed": seed})
        folder = out / f"seed_{seed}"
        run = None if given.overwrite else finished(folder, chosen)
        if run is None:
            say(f"seed {seed}: training")
            resume: bool | None = None
            if given.overwrite:
                resume = bool(given.resume)
            elif given.resume and RunFiles(folder).exist():
                # With an explicit `resume`, another recipe raises an error that lists the differences.
                resume = True
            elif not begun(folder, chosen):
                check_free(folder)
            own = replace(given, resume=resume, say=say_nothing if runs else say)
            run = train_in_one_process(chosen, folder, own)
        say(f"seed {seed}: {measured(run)}")
        runs.append(run)
        write_json(out / "seeds.json", SeedsResult.of(first.name, runs).as_dict())
    return SeedsResult.of(first.name, runs)
