"""Determine the state of a run folder, check whether a new run may replace the folder's content, and lock files.

The kernel releases a process's locks when the process ends, even if SIGKILL ends it. Locks also work over NFS (version
4, or version 3 with its lock daemon).
"""

import contextlib
import errno
import fcntl
import json
import os
import socket
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from hdlif import run_folder
from hdlif.errors import ExistingRunError, InUseError, TrainingError, cut, reason, some
from hdlif.inputs.plain_yaml import MOST_BYTES, is_deeper
from hdlif.recipe import Recipe, dump_recipe
from hdlif.recipe.runs.files import writing
from hdlif.recipe.runs.summary import MOST_LEVELS, MOST_METRICS, MOST_SUMMARY, RESULT, TrainResult
from hdlif.training import RunFiles
from hdlif.whole_files import open_regular, read_regular

LOCK = ".lock"
"""Name of the lock file in a run folder, which remains after a training run has ended."""
MOST_HOLDER = 400
"""Maximum length of the text in a lock file, in bytes."""
_held: set[Path] = set()
"""Files locked by this process. The kernel would grant the process a second lock, and release both together."""


@contextlib.contextmanager
def locked(path: Path, *, without_locks: bool = False) -> Iterator[bool]:
    """Lock a file exclusively inside the context, write the process ID to it, and yield whether locking succeeded.

    Args:
        without_locks: whether to continue as if locked if the file system has no locks, instead of raising
            `TrainingError`. Links are not followed and always raise it.
    """
    path = path.parent.resolve() / path.name
    if path in _held:
        yield False
        return
    with writing(path):
        file = os.fdopen(open_regular(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW), "r+b", buffering=0)
    with file:
        # A hard link may be another file that somebody has put here.
        if os.fstat(file.fileno()).st_nlink > 1:
            raise TrainingError(f"{path}: has a second hard link, so it is not a lock of hdlif; remove it")
        mine = True
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            mine = error.errno not in (errno.EACCES, errno.EAGAIN)
            if mine and not without_locks:
                seen = f"{path}: cannot be locked ({reason(error)})"
                raise TrainingError(f"{seen}; choose a folder on a file system that supports locks") from None
        if not mine:
            yield False
            return
        _held.add(path)
        try:
            # The lock is held even if the disk is too full for the name. A buffer would be written again on closing.
            with contextlib.suppress(OSError):
                os.ftruncate(file.fileno(), 0)
                os.write(file.fileno(), f"process {os.getpid()} on {socket.gethostname()}".encode())
            yield True
        finally:
            _held.remove(path)


@contextlib.contextmanager
def training_alone(folder: Path) -> Iterator[None]:
    """Ensure that only the caller trains in the run folder, if the file system supports locks. Raises `InUseError`."""
    path = folder.resolve() / LOCK
    with locked(path, without_locks=True) as mine:
        if not mine:
            # Do not read the file if this process has locked it, because closing the file would release the lock.
            who = "this process" if path in _held else _holder(path)
            raise InUseError(f"{folder}: {who} is training there; wait for it to end, or choose another --out")
        yield


def _holder(path: Path) -> str:
    """Read the owner of a lock from the lock file."""
    try:
        return read_regular(path, most=MOST_HOLDER).decode("utf-8") or "another process"
    except (OSError, UnicodeDecodeError):
        return "another process"


FIGURES = {
    *("name", "seed", "accuracy", "validation_accuracy", "best_epoch", "train_seconds", "versions", "hardware"),
    *("params_mb", "stored_mb", "fp32_mb", "sops", "nops", "energy_mj", "energy_mj_honest"),
    *("saved_bytes", "peak_bytes"),
}
"""Figures in the result of a finished training run that are printed and averaged."""
MEASURED_OF_TASKS = {"task", "metric", "metrics", "per_step", "validation_metrics"}
"""Additional figures for tasks other than classification, which have no accuracies."""


def finished(folder: Path, recipe: Recipe) -> TrainResult | None:
    """Return the result of the recipe's finished training run, or None if the run or its network is missing."""
    if not (folder / run_folder.MODEL).exists():
        return None
    summary = _summary(folder)
    figures = FIGURES | (MEASURED_OF_TASKS if recipe.task.kind != "classify" else set())
    measured = summary.get("accuracy") is not None or recipe.task.kind != "classify"
    if not measured or not summary.keys() >= figures or summary.get("recipe") != recipe.model_dump(mode="json"):
        return None
    try:
        # Validate JSON text, because strict validation then accepts lists for tuples.
        return RESULT.validate_json(json.dumps(summary), strict=True)
    except ValidationError:
        return None


def begun(folder: Path, recipe: Recipe) -> bool:
    """Return whether the folder contains a training run of the recipe that has begun."""
    return _recipe_text(folder) == dump_recipe(recipe)


def left_by_a_run(folder: Path) -> list[Path]:
    """Return the files in the folder that a training run would remove or replace."""
    names = (run_folder.RECIPE, run_folder.PARTS, run_folder.BUDGET, *run_folder.MEASURED)
    return [*RunFiles(folder).left(), *(folder / name for name in names if os.path.lexists(folder / name))]


def is_demo(folder: Path) -> bool:
    """Return whether the folder contains results of `hdlif demo` and no training run."""
    return "networks" in _summary(folder) and not RunFiles(folder).left()


def only_begun(folder: Path, *, again: bool = False) -> bool:
    """Return whether the folder contains a training run that ended before its first checkpoint.

    If the user wrote the recipe.yaml, return False. Also return False if the log contains a validation, because the
    networks of such a run have been removed. If `again` is true, the log may contain one validation, because the run
    may have ended between its first validation and its first checkpoint.
    """
    left = {path.name for path in left_by_a_run(folder)}
    first = {run_folder.RECIPE, run_folder.METRICS}
    begun = run_folder.BEGUN | ({run_folder.BEST} if again else set())
    if not first <= left <= begun or not os.path.lexists(folder / LOCK):
        return False
    try:
        validations = read_regular(folder / run_folder.METRICS, most=MOST_METRICS).count(b'"event": "validation"')
    except OSError:
        return False
    return validations <= again


def forget_begun(folder: Path) -> None:
    """Remove the files of a training run that was rejected before its first update."""
    left = {path.name for path in left_by_a_run(folder)}
    log = folder / run_folder.METRICS
    empty = not os.path.lexists(log) or (not log.is_symlink() and log.stat().st_size == 0)
    if empty and left <= run_folder.BEGUN:
        RunFiles(folder).clear()
        for name in (run_folder.RECIPE, run_folder.DATA_FILES, run_folder.PARTS, run_folder.BUDGET):
            (folder / name).unlink(missing_ok=True)


def check_free(folder: Path, *, again: bool = False) -> None:
    """Raise `ExistingRunError` if the folder contains a run that is not `only_begun`."""
    if (left := left_by_a_run(folder)) and not only_begun(folder, again=again):
        seen = some([path.name for path in left], 3)
        go_on = "resume it (--resume)" if RunFiles(folder).exist() else "it has no checkpoint"
        seen = f"{folder}: contains a run{_described(folder)} ({seen})"
        raise ExistingRunError(f"{seen}; {go_on}, replace it (--overwrite), or choose another folder (--out)")


def _described(folder: Path) -> str:
    """Describe a run by its recipe and completion time, if known."""
    summary = _summary(folder)
    name = summary.get("name")
    if not isinstance(name, str):
        lines = (_recipe_text(folder) or "").splitlines()
        name = next((line.removeprefix("name:").strip() for line in lines if line.startswith("name:")), None)
    of = f" of {cut(name)}" if name else ""
    if not summary:
        return f"{of} that is not finished"
    when = datetime.fromtimestamp((folder / run_folder.SUMMARY).stat().st_mtime)
    return f"{of}, finished on {when:%Y-%m-%d at %H:%M}"


def _summary(folder: Path) -> dict[str, Any]:
    """Return the content of summary.json, or {} if the file is missing or does not contain a JSON object."""
    try:
        summary = json.loads(read_regular(folder / run_folder.SUMMARY, most=MOST_SUMMARY))
    except (OSError, ValueError, RecursionError):
        return {}
    return summary if isinstance(summary, dict) and not is_deeper(summary, MOST_LEVELS) else {}


def _recipe_text(folder: Path) -> str | None:
    try:
        return read_regular(folder / run_folder.RECIPE, most=MOST_BYTES).decode("utf-8")
    except (OSError, UnicodeDecodeError):
        return None
