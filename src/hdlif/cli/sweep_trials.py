"""Run a search's trials in any number of processes, and collect the results."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from optuna import Study, TrialPruned
from optuna.trial import FrozenTrial, Trial, TrialState
from torch import OutOfMemoryError

from hdlif.cli.training_run import TrainingOptions, train_in_one_process
from hdlif.errors import CheckpointError, DataError, InUseError, RecipeError, TrainingError
from hdlif.recipe import Recipe, builders
from hdlif.recipe.runs.files import write_json
from hdlif.recipe.runs.processes import check_alone
from hdlif.recipe.runs.recipe_data import Looks
from hdlif.recipe.runs.search_space import Space, built, load_space, override
from hdlif.recipe.runs.study import claimed, folder_of, open_study, trials_of
from hdlif.recipe.runs.summary import SweepResult, TrialResult
from hdlif.report.tables import score
from hdlif.training import Callback, Training
from hdlif.training.tasks import Evaluation

MEASURED = "measured"
"""Attribute of a trial for tasks other than classification: the name of the metric and its value in the best epoch."""


def search(
    recipe: str | Path,
    *,
    space: Path,
    trials: int,
    journal: Path | None,
    overrides: Sequence[str],
    data_root: Path | None,
    progress: bool,
    say: Callable[[str], None],
) -> SweepResult:
    """Train recipes from a search space until the study contains `trials` trials."""
    check_alone("hdlif sweep")
    look = Looks(data_root)
    base = built(recipe, overrides, look)
    dimensions = load_space(space, recipe, overrides, look)
    journal = journal or Path("runs") / f"{base.name}_sweep" / "study.journal"
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
                options = TrainingOptions(
                    data_root=data_root,
                    resume=None,
                    progress=progress,
                    memory_repeats=0,
                    callbacks=[_Reporting(trial)],
                )
                result = train_in_one_process(chosen, folder, options)
            except TrialPruned:
                shared.tell(trial, state=TrialState.PRUNED)
                say(f"{name}: pruned")
            except InUseError:
                # The user is resuming the run, so this process does not report it.
                raise
            except (TrainingError, RecipeError, CheckpointError, DataError, OutOfMemoryError) as error:
                if isinstance(error, DataError):
                    # Unavailable data do not count as a failed trial.
                    builders.build_data(base, data_root)
                trial.set_user_attr("error", str(error))
                shared.tell(trial, state=TrialState.FAIL)
                say(f"{name}: failed: {error}")
            else:
                if result.validation_score is None:
                    trial.set_user_attr("error", f"{result.metric} is not a number on validation")
                    shared.tell(trial, state=TrialState.FAIL)
                else:
                    shared.tell(trial, result.validation_score)
                say(f"{name}: {score(result)} on validation")
        _write(shared, base, dimensions, journal)


class _Reporting(Callback):
    """A callback that reports the result of each epoch, and raises `TrialPruned` if the study prunes the trial."""

    def __init__(self, trial: Trial) -> None:
        self._trial = trial

    def on_epoch_end(self, training: Training, evaluation: Evaluation) -> None:
        epoch, task, score = training.counters.epoch, training.task, training.task.better(evaluation)
        reported = _frozen(self._trial).intermediate_values
        # A resumed trial may have reported this epoch before.
        if epoch not in reported:
            if evaluation.accuracy != score and score >= max(reported.values(), default=-math.inf):
                # Store the metric itself too, because for some metrics smaller is better.
                self._trial.set_user_attr(MEASURED, [task.metric, evaluation.metrics[task.metric]])
            # Infinity stands for NaN, and JSON has no infinity.
            self._trial.report(score if math.isfinite(score) else -sys.float_info.max, epoch)
        if self._trial.should_prune():
            raise TrialPruned


def _frozen(trial: Trial) -> FrozenTrial:
    return trial.study.get_trials(deepcopy=False)[trial.number]


def _write(study: Study, base: Recipe, space: Space, journal: Path) -> SweepResult:
    """Write sweep.json and return its content."""
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
