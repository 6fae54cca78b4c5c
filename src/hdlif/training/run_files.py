"""The files that a training writes into its run folder, and which of them it goes on from."""

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
    """The files of a training in `out`; if it has several ranks, the first alone touches them.

    Args:
        out: the run folder.
    Attributes:
        last: the state to resume from.
        previous: the one before, should that be damaged.
        best: the network of the best epoch so far.
        final: the same, of a finished training.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        names = (run_folder.LAST, run_folder.PREVIOUS, run_folder.BEST, run_folder.MODEL)
        self.last, self.previous, self.best, self.final = (out / name for name in names)

    def epoch(self, number: int) -> Path:
        """The network of one epoch (from 1)."""
        return self.out / run_folder.EPOCH.format(number)

    def exist(self) -> bool:
        """Whether there is a training, stopped or finished."""
        return any(map(os.path.lexists, (self.last, self.previous, self.final)))

    def begin(self, recipe: Mapping[str, Any], *, resume: bool) -> SavedState | None:
        """The state to go on from; None, and the folder cleared, where there is none or none is wanted.

        Args:
            recipe: what a training that is resumed was started with.
        Raises:
            TrainingError: the folder cannot be made.
            CheckpointError: the training there cannot be resumed: a file is damaged, gone, or of another recipe.
        """
        try:
            self.out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise TrainingError(
                f"{self.out}: cannot be made ({reason(error)}); free the path or choose another folder"
            ) from error
        remove_left_over(self.out, run_folder.WRITTEN)
        # A link to what is not there, on a disk that is not mounted say, is a training all the same.
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
        """Let the best epoch's file become the final one, and its tensors the model's."""
        # It is gone where a finished training is resumed.
        if self.best.exists():
            self.best.replace(self.final)
        checkpoint.load_model(self.final, model)

    def kept(self) -> str:
        """What a training that fails leaves to resume from, in words."""
        if not self.last.exists():
            return "no checkpoint was written yet"
        return f"{self.last} holds the last good state"

    def _check_best(self, epoch: int) -> None:
        """Raise `CheckpointError` now, not after the last epoch, unless the best epoch's network is there and whole."""
        try:
            checkpoint.load(self.best if self.best.exists() else self.final)
        except CheckpointError as error:
            state = "damaged" if self.best.exists() or self.final.exists() else "gone"
            raise CheckpointError(
                f"{self.best}: is {state}, and with it the best epoch so far, {epoch}; "
                "put it back, or train again without resuming"
            ) from error

    def left(self) -> list[Path]:
        """What is there of the files that a training writes."""
        return [path for path in self._all() if os.path.lexists(path)]

    def clear(self) -> None:
        """Remove what a training writes, and nothing else; of a link, the link."""
        for path in self.left():
            if path.name == run_folder.TENSORBOARD and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)

    def _all(self) -> Iterator[Path]:
        # What is resumed from goes first: without it nothing half removed is.
        yield from (self.previous, self.last, self.best, self.final)
        yield self.out / run_folder.DAMAGED
        if self.out.is_dir():
            yield from sorted(path for path in self.out.iterdir() if _EPOCH.fullmatch(path.name))
        yield from (self.out / run_folder.METRICS, self.out / run_folder.TENSORBOARD)


_EPOCH = re.compile(re.escape(run_folder.EPOCH).replace(r"\{\}", "[0-9]+"))
