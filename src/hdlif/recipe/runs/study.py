"""Store the study of a sweep in a journal file that processes on any number of machines share.

Optuna's heartbeats detect trials whose process has died, but require a database. hdlif uses locks instead. Each trial's
process locks a file in the trial's folder with `folders.locked`. If a running trial has no lock, the trial's process
has stopped. Another process then resumes the trial from its last checkpoint, and the trial keeps its number.
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
"""Attribute of surplus trials, which several processes began at the same moment."""
TAKEN_UP = "taken_up"
"""Attribute of a stopped trial: the time of its last checkpoint, and how often it has been resumed since."""
MOST_STOPS = 3
"""Number of stops without a new checkpoint after which a trial counts as failed; it may lack memory."""
_FIRST = b'{"op_code"'
"""First bytes of every Optuna journal."""


class _Journal(JournalFileBackend):
    """An Optuna journal that raises `TrainingError` if writing fails."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with writing(path):
            super().__init__(str(path))

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        with writing(self._path):
            super().append_logs(logs)


def open_study(journal: Path, *, warmup_epochs: int, contents: Mapping[str, Any]) -> optuna.Study:
    """Return the study in `journal`, or a new study that maximises its score and prunes with Optuna's median rule.

    Args:
        warmup_epochs: number of epochs before a trial can be pruned.
        contents: settings shared by all trials.
    Raises:
        RecipeError: the existing study has other contents, or the file is not a study.
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
    # Optuna does not validate its own file.
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise RecipeError(f"{journal}: is a damaged journal ({cut(str(error))}); give a new file") from error
    if not kept:
        study.set_user_attr("contents", contents)
    elif not isinstance(kept, dict):
        raise RecipeError(f"{journal}: is not a journal of `hdlif sweep`; give a new file")
    elif differences := recipe_differences(kept, contents):
        seen = "; ".join(f"{cut(key)} = {brief(then)}, now {brief(now)}" for key, then, now in differences)
        raise RecipeError(f"{journal}: is a study with {seen}; give another --study, or its recipe and search space")
    return study


def _cut_unfinished_line(journal: Path) -> None:
    """Remove an incomplete last line, which a full disk can leave, so that the next entry starts on a new line."""
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
    """Return all trials in the order of their numbers, except withdrawn ones."""
    return [trial for trial in study.get_trials(deepcopy=False) if not trial.user_attrs.get(WITHDRAWN)]


def folder_of(journal: Path, trial: Trial | FrozenTrial) -> Path:
    """Return the trial's run folder, next to the journal that all processes share."""
    return journal.parent / f"trial_{trial.number:04d}"


@contextmanager
def claimed(study: optuna.Study, journal: Path, *, most: int, seed: int) -> Iterator[Trial | None]:
    """Claim a stopped trial, or else a new one, for this process and yield it; yield None if there are `most` trials.

    The parameters of a new trial depend on `seed`, on the trial's number, and on the results of other trials.
    """
    while True:
        for frozen in trials_of(study):
            if frozen.state is TrialState.RUNNING:
                with locked(folder_of(journal, frozen) / "lock") as mine:
                    # Check again, because the trial's process may have ended the trial just before releasing the lock.
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
            # Another process may have taken the trial in between.
            if mine:
                if sum(other.number < trial.number for other in trials_of(study)) < most:
                    yield _seeded(study, trial, seed)
                    return
                trial.set_user_attr(WITHDRAWN, True)
                study.tell(trial, state=TrialState.FAIL)


def _stops(trial: Trial, folder: Path) -> int:
    """Return how many times a trial has been resumed since its last checkpoint, including the current resumption."""
    last = folder / run_folder.LAST
    written = last.stat().st_mtime_ns if last.exists() else 0
    before, times = trial.user_attrs.get(TAKEN_UP, (written, 0))
    times = times + 1 if before == written else 1
    trial.set_user_attr(TAKEN_UP, (written, times))
    return times


def _seeded(study: optuna.Study, trial: Trial, seed: int) -> Trial:
    drawn = np.random.SeedSequence([seed, trial.number]).generate_state(1)
    # Running trials count as poor ones, so processes do not all try the same values.
    study.sampler = TPESampler(seed=int(drawn[0]), constant_liar=True)
    return trial
