"""`hdlif sweep`: search a space of recipes for the best validation accuracy, with any number of processes."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import OutOfMemoryError

from hdlif.commands.search_space import Space, built, load_space, override
from hdlif.commands.tables import score
from hdlif.commands.train import in_one_process, train
from hdlif.errors import (
    CheckpointError,
    DataError,
    InputError,
    InUseError,
    MissingExtraError,
    RecipeError,
    TrainingError,
)
from hdlif.recipe import Recipe, builders
from hdlif.recipe.runs.files import write_json
from hdlif.recipe.runs.processes import check_alone
from hdlif.recipe.runs.recipe_data import Looks
from hdlif.training import Callback, Training
from hdlif.training.tasks import Evaluation

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial, Trial

MEASURED = "measured"
"""The attribute of a trial of another task than classification: its metric's name, and the value in its best epoch."""


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


def sweep(
    recipe: str | Path,
    *,
    space: Path,
    trials: int,
    out: Path | None = None,
    study: Path | None = None,
    overrides: Sequence[str] = (),
    data_root: Path | None = None,
    progress: bool = False,
    say: Callable[[str], None] = lambda line: None,
) -> SweepResult:
    """Train recipes of a space until the study has `trials` of them.

    Run it again to go on, in as many processes at once as there is room for: a trial that was stopped, in whatever
    way, goes on from its checkpoint; one that is stopped three times without a new checkpoint has failed. A trial
    below the median of the others at the same epoch is pruned. The test set decides nothing.

    Args:
        space: a file as `search_space` reads it.
        trials: of the whole study, whichever process ran them; failed and pruned ones count.
        out: the folder of the run folders, trial_0000 and so on, and of sweep.json; runs/NAME_sweep by default.
        study: the journal that all processes share, by default OUT/study.journal; where it is given, its folder is
            OUT.
        overrides: for all trials, before those of the space.
        progress: show a bar for each training.
        say: gets a line for every trial.
    Returns:
        what sweep.json has.
    Raises:
        MissingExtraError: Optuna is not installed.
        InputError: both `out` and `study` are given.
        RecipeError: the space does not fit the recipe, or the study is another recipe's or another space's.
    """
    if out is not None and study is not None:
        raise InputError(f"--out {out} and --study {study}: the runs lie beside the journal; give one of the two")
    try:
        from optuna import TrialPruned
        from optuna.trial import TrialState

        from hdlif.recipe.runs.study import claimed, folder_of, open_study
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"{error.name} is not installed; install it with: pip install 'hdlif[sweep]'"
        ) from error

    check_alone("hdlif sweep")
    look = Looks(data_root)
    base = built(recipe, overrides, look)
    dimensions = load_space(space, recipe, overrides, look)
    journal = study or (out or Path("runs") / f"{base.name}_sweep") / "study.journal"
    shared = open_study(
        journal,
        warmup_epochs=base.training.warmup_epochs,
        contents={
            "recipe": base.model_dump(mode="json"),
            "space": {key: dimension.model_dump(mode="json") for key, dimension in dimensions.items()},
        },
    )
    while True:
        with claimed(shared, journal, most=trials, seed=base.seed) as trial:
            if trial is None:
                return _write(shared, base, dimensions, journal)
            given = [override(key, dimension.suggest(trial, key)) for key, dimension in dimensions.items()]
            folder, name = folder_of(journal, trial), f"trial {trial.number}"
            say(f"{name}: {', '.join(given)}")
            try:
                chosen = built(recipe, [*overrides, *given], look)
                trained = train(
                    chosen,
                    data_root=data_root,
                    out=folder,
                    resume=None,
                    progress=progress,
                    memory_repeats=0,
                    callbacks=[_Reporting(trial, TrialPruned)],
                )
            except TrialPruned:
                shared.tell(trial, state=TrialState.PRUNED)
                say(f"{name}: pruned")
            except InUseError:
                # Somebody goes on with it by hand: this process does not report on it.
                raise
            except (TrainingError, RecipeError, CheckpointError, DataError, OutOfMemoryError) as error:
                if isinstance(error, DataError):
                    # Where the data cannot be had at all, no trial is to blame.
                    builders.build_data(base, data_root)
                trial.set_user_attr("error", str(error))
                shared.tell(trial, state=TrialState.FAIL)
                say(f"{name}: failed: {error}")
            else:
                result = in_one_process(trained)
                if result.validation_score is None:
                    trial.set_user_attr("error", f"{result.metric} is not a number on validation")
                    shared.tell(trial, state=TrialState.FAIL)
                else:
                    shared.tell(trial, result.validation_score)
                say(f"{name}: {score(result)} on validation")
        _write(shared, base, dimensions, journal)


class _Reporting(Callback):
    """Tells the study of every epoch; raises `pruned` where the others were better at that epoch."""

    def __init__(self, trial: Trial, pruned: type[Exception]) -> None:
        self._trial, self._pruned = trial, pruned

    def on_epoch_end(self, training: Training, evaluation: Evaluation) -> None:
        epoch, task, score = training.counters.epoch, training.task, training.task.better(evaluation)
        reported = _frozen(self._trial).intermediate_values
        # An epoch of a trial that was resumed may have been reported before.
        if epoch not in reported:
            if evaluation.accuracy != score and score >= max(reported.values(), default=-math.inf):
                # What the score is made of, which may be the smaller the better.
                self._trial.set_user_attr(MEASURED, [task.metric, evaluation.metrics[task.metric]])
            # JSON has no infinity, which stands for what is not a number.
            self._trial.report(score if math.isfinite(score) else -sys.float_info.max, epoch)
        if self._trial.should_prune():
            raise self._pruned


def _frozen(trial: Trial) -> FrozenTrial:
    return trial.study.get_trials(deepcopy=False)[trial.number]


def _write(study: Study, base: Recipe, space: Space, journal: Path) -> SweepResult:
    """Write sweep.json and return what it has."""
    from hdlif.recipe.runs.study import folder_of, trials_of

    classifies = base.task.kind == "classify" and base.task.arguments.get("best", "accuracy") == "accuracy"
    trials = tuple(_result(trial, space, folder_of(journal, trial), classifies) for trial in trials_of(study))
    done = [
        (one.validation_score, one) for one in trials if one.state == "complete" and one.validation_score is not None
    ]
    best = max(done, key=lambda one: one[0])[1] if done else None
    overrides = tuple(override(key, value) for key, value in best.parameters.items()) if best else ()
    result = SweepResult(base.name, str(journal), trials, best, overrides)
    write_json(journal.with_name("sweep.json"), result.as_dict())
    return result


def _result(trial: FrozenTrial, space: Space, folder: Path, classifies: bool) -> TrialResult:
    reported = trial.intermediate_values
    score = max(reported.values(), default=None) if trial.value is None else trial.value
    metric, value = trial.user_attrs.get(MEASURED, (None, None))
    return TrialResult(
        number=trial.number,
        state={"FAIL": "failed"}.get(trial.state.name, trial.state.name.lower()),
        validation_accuracy=score if classifies else None,
        validation_score=score,
        metric=metric,
        validation_metrics=None if metric is None else {metric: value},
        parameters={key: space[key].value_of(value) for key, value in trial.params.items()},
        epochs=len(reported),
        folder=str(folder),
        error=trial.user_attrs.get("error"),
    )
