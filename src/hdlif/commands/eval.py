"""`hdlif eval`: accuracy of a checkpoint or an artefact on a test set."""

from pathlib import Path
from typing import Any

import numpy as np
import torch.nn.functional as F

from hdlif import builders
from hdlif.artefact.io import load
from hdlif.commands.checkpoints import load_trained
from hdlif.commands.files import ARTEFACT_SUFFIX, existing
from hdlif.data import ImageSets
from hdlif.errors import DataError, did_you_mean
from hdlif.runtime import Session, normalise
from hdlif.runtime.images import fit_images
from hdlif.training import evaluate


def evaluate_path(path: Path, *, data: str | None = None, data_root: Path | None = None) -> dict[str, Any]:
    """{"accuracy", "accuracy_per_step", "n"} on the test set.

    Args:
        path: a checkpoint, a run folder, or an artefact (NAME.hdlif.safetensors, run by the compiled runtime).
        data: the data set's name; a checkpoint's own by default.
    """
    if path.name.endswith(ARTEFACT_SUFFIX):
        return _evaluate_artefact(existing(path), sets_named(data, data_root, path))
    trained = load_trained(path)
    recipe = trained.recipe
    sets = sets_named(data, data_root, path) if data else builders.build_data(recipe, data_root)
    batches = sets.test.sequences(recipe.data.batch_size)
    result = evaluate(trained.network, batches, time_steps=recipe.time_steps, criterion=F.cross_entropy)
    return {"accuracy": result.accuracy, "accuracy_per_step": list(result.accuracy_per_step), "n": result.n}


def sets_named(data: str | None, data_root: Path | None, path: Path) -> ImageSets:
    """A data set by name, for a file that does not say which it was trained on."""
    if data is None or data not in builders.DATA:
        seen = "it does not say which data set it is for" if data is None else f'--data "{data}" is unknown'
        raise DataError(f"{path}: {seen}; give --data NAME, {did_you_mean(data or '', builders.DATA)}")
    return builders.DATA[data].load(data_root, validation=100, augment=(), seed=0)


def session_logits(
    session: Session, pixels: np.ndarray[Any, np.dtype[np.uint8]], *, batch: int = 64
) -> np.ndarray[Any, Any]:
    """Logits [T, N, classes] of images uint8 [N, C, H, W], resized and normalised as the artefact's record says."""
    parts = [
        session.run(normalise(fit_images(pixels[first : first + batch], session.input), session.input)[None])
        for first in range(0, len(pixels), batch)
    ]
    return np.concatenate(parts, axis=1)


def _evaluate_artefact(path: Path, sets: ImageSets) -> dict[str, Any]:
    session = Session(load(path))
    logits = session_logits(session, sets.test.pixels.numpy())
    running = np.cumsum(logits, axis=0)
    correct = (running.argmax(-1) == sets.test.labels.numpy()).mean(-1)
    return {"accuracy": float(correct[-1]), "accuracy_per_step": correct.tolist(), "n": len(sets.test)}
