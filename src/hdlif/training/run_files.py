"""Files of a training in its run folder, and the choice of the one to resume from."""

import os
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import nn

from hdlif import run_folder
from hdlif.errors import CheckpointError, TrainingError, reason
from hdlif.training import checkpoint
from hdlif.training.fallback import SavedState, newest_whole
from hdlif.training.state_record import counters_of
from hdlif.whole_files import remove_left_over


class RunFiles:
    """The files of a training in `out`; with several ranks, only the first uses them.

    Args:
        out: the run folder.
    Attributes:
        last: the state to resume from.
        previous: the one before, in case `last` is damaged.
        best: the network of the best epoch so far.
        final: the same, of a finished training.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        names = (run_folder.LAST, run_folder.PREVIOUS, run_folder.BEST, run_folder.MODEL)
        self.last, self.previous, self.best, self.final = (out / name for name in names)

    def epoch(self, number: int) -> Path:
        """Return the file of the network of one epoch (from 1)."""
        return self.out / run_folder.EPOCH.format(number)

    def exist(self) -> bool:
        """Return whether there is a training, stopped or finished."""
        return any(map(os.path.lexists, (self.last, self.previous, self.final)))

    def begin(self, recipe: Mapping[str, Any], *, resume: bool) -> SavedState | None:
        """Return the state to resume from; None if there is none or none is wanted, after clearing the folder.

        Args:
            recipe: the recipe that the resumed training was started with.
        Raises:
            TrainingError: the folder cannot be made.
            CheckpointError: the training there cannot be resumed: a file is damaged, missing, or of another recipe.
        """
        try:
            self.out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise TrainingError(
                f"{self.out}: cannot be made ({reason(error)}); free the path or choose another folder"
            ) from error
        remove_left_over(self.out, run_folder.WRITTEN)
        # A dangling link, for example to a disk that is not mounted, counts as a training.
        begun = os.path.lexists(self.last) or os.path.lexists(self.previous)
        if resume and not begun and os.path.lexists(self.final):
            raise CheckpointError(
                f"{self.out}: has {run_folder.MODEL} but no {run_folder.LAST} to resume from; "
                "put it back, or train again without resuming"
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
        """Rename the best epoch's file to the final one, and load it into the model."""
        # It is missing if a finished training is resumed.
        if self.best.exists():
            self.best.replace(self.final)
        checkpoint.load_model(self.final, model)

    def kept(self) -> str:
        """Describe the state that a failed training leaves to resume from."""
        if not self.last.exists():
            return "no checkpoint was written yet"
        return f"{self.last} holds the last good state"

    def _check_best(self, epoch: int) -> None:
        """Raise `CheckpointError` now, not after the last epoch, unless the best epoch's network is there undamaged."""
        try:
            checkpoint.load(self.best if self.best.exists() else self.final)
        except CheckpointError as error:
            state = "damaged" if self.best.exists() or self.final.exists() else "gone"
            raise CheckpointError(
                f"{self.best}: is {state}, and with it the best epoch so far, {epoch}; "
                "put it back, or train again without resuming"
            ) from error

    def left(self) -> list[Path]:
        """Return the files of a training that are there."""
        return [path for path in self._all() if os.path.lexists(path)]

    def clear(self) -> None:
        """Remove the files of a training and nothing else; links are removed, not their targets."""
        for path in self.left():
            if path.name == run_folder.TENSORBOARD and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)

    def _all(self) -> Iterator[Path]:
        # Remove the state first, so that a half-removed training cannot be resumed.
        yield from (self.previous, self.last, self.best, self.final)
        yield self.out / run_folder.DAMAGED
        if self.out.is_dir():
            yield from sorted(path for path in self.out.iterdir() if _EPOCH.fullmatch(path.name))
        yield from (self.out / run_folder.METRICS, self.out / run_folder.TENSORBOARD)


_EPOCH = re.compile(re.escape(run_folder.EPOCH).replace(r"\{\}", "[0-9]+"))
