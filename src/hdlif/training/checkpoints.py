"""The checkpoints in a run folder: the state from which a run resumes, and saved networks."""

import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from hdlif import run_folder
from hdlif.errors import CheckpointError, TrainingError, reason
from hdlif.training import checkpoint
from hdlif.training.callback import Callback, Training
from hdlif.training.ranks import Ranks
from hdlif.training.state_record import counters_of
from hdlif.training.tasks import Evaluation
from hdlif.whole_files import remove_left_over

_EPOCH = re.compile(re.escape(run_folder.EPOCH).replace(r"\{\}", "[0-9]+"))


@dataclass(frozen=True)
class SavedState:
    """An undamaged checkpoint; `damage` is the error that occurred when loading a newer checkpoint, if any."""

    path: Path
    tensors: dict[str, Tensor]
    record: dict[str, Any]
    damage: str | None = None


def newest_whole(newer: Path, older: Path) -> SavedState:
    """Load the checkpoint `newer`, or load `older` if `newer` is damaged or missing.

    A damaged `newer` is renamed to damaged.safetensors, so that it never replaces `older`.

    Raises:
        CheckpointError: both are damaged or missing.
    """
    try:
        return SavedState(newer, *checkpoint.load(newer))
    except CheckpointError as error:
        damage = error
    if not older.exists():
        raise damage
    try:
        found = SavedState(older, *checkpoint.load(older), damage=str(damage))
    except CheckpointError as error:
        raise CheckpointError(f"{damage}; the previous checkpoint is not usable either: {error}") from error
    if newer.exists():
        newer.replace(newer.with_name(run_folder.DAMAGED))
    return found


class RunFiles:
    """The files of a training run in `out`; if there are several ranks, only the first rank uses the files.

    Args:
        out: the run folder.
    Attributes:
        last: the state to resume from.
        previous: the earlier state, in case `last` is damaged.
        best: the network of the best epoch so far.
        final: the same network, after training has finished.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        names = (run_folder.LAST, run_folder.PREVIOUS, run_folder.BEST, run_folder.MODEL)
        self.last, self.previous, self.best, self.final = (out / name for name in names)

    def epoch(self, number: int) -> Path:
        """Return the path of the network saved after an epoch; epochs count from 1."""
        return self.out / run_folder.EPOCH.format(number)

    def exist(self) -> bool:
        """Return whether the folder contains a stopped or finished training run."""
        return any(map(os.path.lexists, (self.last, self.previous, self.final)))

    def begin(self, recipe: Mapping[str, Any], *, resume: bool) -> SavedState | None:
        """Return the state to resume from; if there is none or `resume` is False, clear the folder and return None.

        Args:
            recipe: the recipe with which the resumed training run was started.
        Raises:
            TrainingError: the folder cannot be created.
            CheckpointError: the training run cannot be resumed: a file is damaged, missing, or belongs to another
                recipe.
        """
        try:
            self.out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise TrainingError(
                f"{self.out}: cannot be created ({reason(error)}); free the path or choose another folder"
            ) from error
        remove_left_over(self.out, run_folder.WRITTEN)
        # A dangling link, for example to a disk that is not mounted, counts as a training run.
        begun = os.path.lexists(self.last) or os.path.lexists(self.previous)
        if resume and not begun and os.path.lexists(self.final):
            raise CheckpointError(
                f"{self.out}: has {run_folder.MODEL} but no {run_folder.LAST} to resume from; restore it, or train "
                "again without resuming"
            )
        if not (resume and begun):
            self.clear()
            return None
        found = newest_whole(self.last, self.previous)
        counters = counters_of(found.record, found.path)
        checkpoint.check_recipe(found.path, found.record, recipe)
        if counters.best_epoch:
            self._check_best(counters.best_epoch)
        return found

    def finish(self, model: nn.Module) -> None:
        """Rename the best epoch's file to model.safetensors and load this file into the model."""
        # The file is missing if a finished training run is resumed.
        if self.best.exists():
            self.best.replace(self.final)
        checkpoint.load_model(self.final, model)

    def kept(self) -> str:
        """Describe the state from which a failed training run can resume."""
        if not self.last.exists():
            return "no checkpoint was written yet"
        return f"{self.last} holds the last good state"

    def _check_best(self, epoch: int) -> None:
        """Raise `CheckpointError` unless the network of the best epoch exists and is undamaged."""
        try:
            checkpoint.load(self.best if self.best.exists() else self.final)
        except CheckpointError as error:
            state = "damaged" if self.best.exists() or self.final.exists() else "missing"
            raise CheckpointError(
                f"{self.best}: is {state}, and it was the best epoch so far, {epoch}; restore it, or train again "
                "without resuming"
            ) from error

    def left(self) -> list[Path]:
        """Return those files of a training run that exist."""
        return [path for path in self._all() if os.path.lexists(path)]

    def clear(self) -> None:
        """Remove the files of a training run and nothing else; links are removed, but not their targets."""
        for path in self.left():
            if path.name == run_folder.TENSORBOARD and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)

    def _all(self) -> Iterator[Path]:
        # Remove the state first, so a half-removed training run cannot be resumed.
        yield from (self.previous, self.last, self.best, self.final)
        yield self.out / run_folder.DAMAGED
        if self.out.is_dir():
            yield from sorted(path for path in self.out.iterdir() if _EPOCH.fullmatch(path.name))
        yield from (self.out / run_folder.METRICS, self.out / run_folder.TENSORBOARD)


class Checkpoints(Callback):
    """A callback that writes checkpoints into `out` on the first rank and resumes from them.

    The folder contains:

    - last.safetensors: the state to resume from
    - previous.safetensors: the earlier state, in case the last state is damaged
    - model.safetensors: the validated network of the best epoch; the lowest validation loss breaks ties
    - epoch_N.safetensors: the validated network of epoch N, if `config.keep_every` is set

    Args:
        recipe: recipe of the training run; it is stored in the checkpoints, and resuming requires the same recipe.
        resume: continue from last.safetensors, or start if there is none. Otherwise the files of an earlier training
            run in `out` are removed first.
        every: seconds between two writes of last.safetensors within an epoch.
        out: the run folder.
    Raises:
        CheckpointError: `out` cannot be resumed: a file is damaged, missing, or belongs to another recipe.
        TrainingError: a weight is not finite, or a file cannot be written.
    """

    def __init__(
        self, out: Path | str, *, recipe: Mapping[str, Any], resume: bool = False, every: float = 60.0
    ) -> None:
        self.files, self.recipe, self.resume, self.every = RunFiles(Path(out)), recipe, resume, every
        self._saved: float | None = None

    def on_train_start(self, training: Training) -> None:
        self._saved = None

    def on_validation_end(self, training: Training, evaluation: Evaluation, *, best: bool) -> None:
        epoch, every = training.counters.epoch + 1, training.config.keep_every
        if every is not None and epoch % every == 0:
            self._keep(training, self.files.epoch(epoch), evaluation)
        if best:
            self._keep(training, self.files.best, evaluation)

    def on_train_end(self, training: Training) -> None:
        training.ranks.led(lambda: self.files.finish(training.model))

    def saved_state(self, ranks: Ranks) -> SavedState | None:
        """Return the state to resume from, if any; otherwise clear the folder."""
        return ranks.led(lambda: self.files.begin(self.recipe, resume=self.resume))

    def is_due(self) -> bool:
        """Return whether `every` seconds have passed since the last checkpoint or, if there is none, the first call."""
        now = time.monotonic()
        # Count from the first batch, because callbacks take time to start.
        self._saved = now if self._saved is None else self._saved
        return now - self._saved >= self.every

    def save(self, training: Training) -> None:
        """Write last.safetensors and keep the earlier file as previous.safetensors; raise if a weight is not finite."""
        training.ranks.led(lambda: self._save(training))

    def _save(self, training: Training) -> None:
        if (name := not_finite(training.model)) is not None:
            raise TrainingError(
                f"step {training.counters.step}: {name} is not finite; lower learning_rate; {self.files.kept()}"
            )
        tensors, record = training.state()
        checkpoint.save(
            self.files.last, tensors=tensors, record={"recipe": self.recipe, **record}, previous=self.files.previous
        )
        self._saved = time.monotonic()

    def _keep(self, training: Training, path: Path, evaluation: Evaluation) -> None:
        """Save the validated network."""
        measured = {"accuracy": evaluation.accuracy} if evaluation.accuracy is not None else evaluation.as_dict()
        record = {"recipe": self.recipe, "epoch": training.counters.epoch + 1, **measured}
        training.ranks.led(lambda: checkpoint.save_model(path, training.model, record))


def not_finite(model: nn.Module) -> str | None:
    """Return the name of the first parameter or buffer that contains NaN or infinity, if any."""
    return next((name for name, tensor in model.state_dict().items() if not tensor.isfinite().all()), None)
