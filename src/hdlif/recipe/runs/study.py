"""A study in one journal file, shared by any number of processes on any number of machines: whose trial is whose.

Optuna's heartbeats, which tell a trial whose process is gone, need a database. Here each trial's folder has a file that
its process keeps locked (`locks`). A trial that is running and not locked was stopped; whoever finds it goes on with
it, from its last checkpoint, under its own number.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.samplers import TPESampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock
from optuna.trial import FrozenTrial, Trial, TrialState

from hdlif import run_folder
from hdlif.errors import RecipeError, brief, cut
from hdlif.recipe.runs.files import writing
from hdlif.recipe.runs.folders import locked
from hdlif.training.checkpoint import recipe_differences

WITHDRAWN = "withdrawn"
"""The attribute of a trial that was begun when there were enough, by processes that asked at the same moment."""
TAKEN_UP = "taken_up"
"""The attribute of a stopped trial: its last checkpoint, and how often it was resumed since that was written."""
MOST_STOPS = 3
"""A trial that was stopped so often without a new checkpoint has failed: it may never have room enough."""
_FIRST = b'{"op_code"'
"""What every journal of Optuna begins with."""


class _Journal(JournalFileBackend):
    """Optuna's journal; one that cannot be written is a `TrainingError`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with writing(path):
            super().__init__(str(path))

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        with writing(self._path):
            super().append_logs(logs)


def open_study(journal: Path, *, warmup_epochs: int, contents: Mapping[str, Any]) -> optuna.Study:
    """Return the study in `journal`, or a new one: it maximises, and prunes below the median after `warmup_epochs`.

    Args:
        contents: what all its trials have in common.
    Raises:
        RecipeError: the study that is there has other contents, or the file is none.
        TrainingError: the journal cannot be written.
    """
    if journal.is_symlink():
        raise RecipeError(f"{journal}: is a link, which is not followed; give the path of the journal itself")
    with writing(journal):
        _cut_unfinished_line(journal)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        study = optuna.create_study(
            study_name="sweep",
            storage=JournalStorage(_Journal(journal)),
            direction="maximize",
            pruner=optuna.pruners.MedianPruner(n_warmup_steps=warmup_epochs),
            load_if_exists=True,
        )
        kept = study.user_attrs.get("contents")
    # What Optuna does not expect in its own file it does not check.
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise RecipeError(f"{journal}: is a damaged journal ({cut(str(error))}); give a new file") from error
    if not kept:
        study.set_user_attr("contents", contents)
    elif not isinstance(kept, dict):
        raise RecipeError(f"{journal}: is not a journal of `hdlif sweep`; give a new file")
    elif differences := recipe_differences(kept, contents):
        seen = "; ".join(f"{cut(key)} = {brief(then)}, now {brief(now)}" for key, then, now in differences)
        raise RecipeError(f"{journal}: is a study with {seen}; give another --study, or the recipe and space it has")
    return study


def _cut_unfinished_line(journal: Path) -> None:
    """Cut what a full disk left of a last line: the next one would be written after it, and neither could be read."""
    if not journal.exists():
        return
    lock = JournalFileSymlinkLock(str(journal))
    lock.acquire()
    try:
        content = journal.read_bytes()
        if not _FIRST.startswith(content[: len(_FIRST)]):
            fix = "give a new file, or one that `hdlif sweep` wrote"
            raise RecipeError(f"{journal}: is not a journal of a study; {fix}")
        if not content.endswith(b"\n"):
            os.truncate(journal, content.rfind(b"\n") + 1)
    finally:
        lock.release()


def trials_of(study: optuna.Study) -> list[FrozenTrial]:
    """The trials by number, without those that were withdrawn."""
    return [trial for trial in study.get_trials(deepcopy=False) if not trial.user_attrs.get(WITHDRAWN)]


def folder_of(journal: Path, trial: Trial | FrozenTrial) -> Path:
    """The trial's run folder, beside the journal, where all who share the study find it."""
    return journal.parent / f"trial_{trial.number:04d}"


@contextmanager
def claimed(study: optuna.Study, journal: Path, *, most: int, seed: int) -> Iterator[Trial | None]:
    """A trial that is this process's inside: a stopped one, else a new one; None where the study has `most`.

    What a new one draws depends on `seed`, on its number, and on what is known of the others.
    """
    while True:
        for frozen in trials_of(study):
            if frozen.state is TrialState.RUNNING:
                with locked(folder_of(journal, frozen) / "lock") as mine:
                    # Looked at again: its process may have ended it just before it let go.
                    if mine and study.get_trials(deepcopy=False)[frozen.number].state is TrialState.RUNNING:
                        trial = Trial(study, frozen._trial_id)
                        if _stops(trial, folder_of(journal, frozen)) < MOST_STOPS:
                            yield _seeded(study, trial, seed)
                            return
                        trial.set_user_attr("error", f"stopped {MOST_STOPS} times without a new checkpoint")
                        study.tell(trial, state=TrialState.FAIL)
        if len(trials_of(study)) >= most:
            yield None
            return
        trial = study.ask()
        with locked(folder_of(journal, trial) / "lock") as mine:
            # Not mine where another process came between; it has the trial then.
            if mine:
                if sum(other.number < trial.number for other in trials_of(study)) < most:
                    yield _seeded(study, trial, seed)
                    return
                trial.set_user_attr(WITHDRAWN, True)
                study.tell(trial, state=TrialState.FAIL)


def _stops(trial: Trial, folder: Path) -> int:
    """How often a stopped trial was resumed since its last checkpoint, this time included."""
    last = folder / run_folder.LAST
    written = last.stat().st_mtime_ns if last.exists() else 0
    before, times = trial.user_attrs.get(TAKEN_UP, (written, 0))
    times = times + 1 if before == written else 1
    trial.set_user_attr(TAKEN_UP, (written, times))
    return times


def _seeded(study: optuna.Study, trial: Trial, seed: int) -> Trial:
    drawn = np.random.SeedSequence([seed, trial.number]).generate_state(1)
    # Running trials count as poor ones, so that processes do not all try the same.
    study.sampler = TPESampler(seed=int(drawn[0]), constant_liar=True)
    return trial
