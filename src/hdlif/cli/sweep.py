"""Implement `hdlif sweep`, which searches a space of recipes with any number of processes."""

import json
import math
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from hdlif.cli.names import RECIPE
from hdlif.cli.options import DataRoot, Settings, argument, subcommand
from hdlif.cli.output import saying_how_to_go_on
from hdlif.errors import InputError, MissingExtraError, say_nothing
from hdlif.recipe.runs.summary import SweepResult, TrialResult
from hdlif.report.tables import aligned, score


def sweep(
    recipe: Annotated["str | Path", argument(type=RECIPE)],
    *,
    space: Path,
    trials: int,
    out: Path | None = None,
    study: Path | None = None,
    overrides: Settings = (),
    data_root: DataRoot = None,
    progress: bool = False,
    say: Callable[[str], None] = say_nothing,
) -> SweepResult:
    """Search a space of recipes derived from RECIPE for the best validation accuracy.

    To use several processes, run the same command several times, on any machines with access to the study's folder.
    `hdlif sweep` prunes trials that are worse than the median trial. If a process stops, another process resumes its
    trial from the last checkpoint. `hdlif sweep` needs the extra hdlif[sweep].

    \b
    An example of a space:
      training.learning_rate: {kind: float, low: 0.01, high: 0.3, log: true}
      model.width: {kind: int, low: 8, high: 32}
      neuron: {kind: choice, values: [{kind: lif}, {kind: hdlif}]}

    \f
    A trial that is interrupted three times without a new checkpoint counts as failed. The search does not use the test
    set.

    Args:
        space: YAML file with keys of the recipe and the values of each.
        trials: Total number of trials in the study.
        out: Folder of the study and all its runs.  [default: runs/NAME_sweep]
        study: Shared journal in a separate folder.  [default: OUT/study.journal]
        overrides: Replace one value in all trials; repeatable.
    Returns:
        the content of sweep.json.
    Raises:
        MissingExtraError: Optuna is not installed.
        InputError: both `out` and `study` are given.
        RecipeError: the space does not fit the recipe, or the study belongs to another recipe or space.
    """
    if out is not None and study is not None:
        raise InputError(
            f"--out {out} and --study {study} cannot be combined: the runs go next to the journal; use one of them"
        )
    try:
        import optuna  # noqa: F401
    except ModuleNotFoundError as error:
        raise MissingExtraError.of(error.name, "sweep") from error
    from hdlif.cli import sweep_trials

    with saying_how_to_go_on():
        return sweep_trials.search(
            recipe,
            space=space,
            trials=trials,
            journal=study or (None if out is None else out / "study.journal"),
            overrides=overrides,
            data_root=None if data_root is None else Path(data_root),
            progress=progress,
            say=say,
        )


def trials_table(result: SweepResult) -> str:
    """Format a table of trials, with the best trial first, and the overrides that reproduce the best trial."""

    def rank(trial: TrialResult) -> tuple[bool, float]:
        score = trial.validation_score
        return trial.state != "complete", math.inf if score is None else -score

    trials = sorted(result.trials, key=rank)
    keys = list(dict.fromkeys(key for trial in trials for key in trial.parameters))
    rows = [
        [
            str(trial.number),
            trial.state,
            score(trial),
            str(trial.epochs),
            *(_parameter(trial.parameters.get(key)) for key in keys),
        ]
        for trial in trials
    ]
    table = aligned(["trial", "state", "validation", "epochs", *keys], rows)
    if (best := result.best) is None:
        return f"{table}\n\nno trial is complete"
    settings = " ".join(f"--set {shlex.quote(setting)}" for setting in result.overrides)
    return f"{table}\n\nbest, in {best.folder}: {settings}"


def _parameter(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else json.dumps(value)


COMMAND = subcommand(
    sweep,
    ("hdlif sweep digits_hdlif --space space.yaml --trials 20", "the study and its runs, in runs/digits_hdlif_sweep"),
    (
        "hdlif sweep digits_hdlif --space space.yaml --trials 20 --set training.epochs=3",
        "the same, with short training runs",
    ),
    text=trials_table,
)
