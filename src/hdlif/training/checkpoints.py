"""Checkpoints of a training: the state to resume from, and saved networks."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hdlif.errors import TrainingError
from hdlif.training import checkpoint
from hdlif.training.callback import Callback, Training
from hdlif.training.fallback import SavedState
from hdlif.training.finite import not_finite
from hdlif.training.ranks import Ranks
from hdlif.training.run_files import RunFiles
from hdlif.training.tasks import Evaluation


class Checkpoints(Callback):
    """Writes checkpoints into `out` on the first rank, and resumes from them.

    last.safetensors is the state to resume from, and previous.safetensors the one before, in case that is damaged.
    model.safetensors is the validated network of the best epoch (of equal scores, the one with the lowest validation
    loss). With `config.keep_every`, epoch_N.safetensors holds both for epoch N.

    Args:
        recipe: recipe of the training; it is stored in the checkpoints, and resuming requires the same one.
        resume: continue from last.safetensors, or start if there is none. Otherwise files of an earlier training in
            `out` are removed first.
        every: seconds between two writings of last.safetensors within an epoch.
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
        """Return the state to resume from, if any, and otherwise clear the folder."""
        return ranks.led(lambda: self.files.begin(self.recipe, resume=self.resume))

    def is_due(self) -> bool:
        """Return whether `every` seconds have passed since the first call, or since the last checkpoint."""
        now = time.monotonic()
        # Count from the first batch: callbacks take time to start.
        self._saved = now if self._saved is None else self._saved
        return now - self._saved >= self.every

    def save(self, training: Training) -> None:
        """Write last.safetensors, unless a weight is NaN or infinite; the earlier file becomes previous.safetensors."""
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
        """Write the validated network."""
        measured = {"accuracy": evaluation.accuracy} if evaluation.accuracy is not None else evaluation.as_dict()
        record = {"recipe": self.recipe, "epoch": training.counters.epoch + 1, **measured}
        training.ranks.led(lambda: checkpoint.save_model(path, training.model, record))
