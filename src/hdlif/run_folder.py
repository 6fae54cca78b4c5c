"""The names of the files in a run folder, and the command that resumes the training run."""

import shlex
from pathlib import Path

RECIPE = "recipe.yaml"
DATA_FILES = "data_files.json"
"""List of the user's files that training used, by part."""
PARTS = "parts.json"
"""Versions of the user's own modules and of installed packages."""
BUDGET = "budget.json"
"""Limits for which the layers of a training run were chosen, and the choices."""
METRICS = "metrics.jsonl"
TENSORBOARD = "tensorboard"

LAST = "last.safetensors"
"""Last checkpoint, from which training resumes."""
PREVIOUS = "previous.safetensors"
"""Checkpoint before the last, which replaces it if it is damaged."""
BEST = "best.safetensors"
"""Network of the best epoch so far."""
MODEL = "model.safetensors"
"""Network of the best epoch of a finished training run."""
DAMAGED = "damaged.safetensors"
"""Checkpoint that could not be read."""
EPOCH = "epoch_{}.safetensors"
"""Network of one epoch; epochs count from 1."""

SUMMARY = "summary.json"
CONFUSION = "confusion.json"
EARLY = "early.json"
ERRORS = "errors.json"
LABELS = "labels.json"
GALLERY = "gallery.json"
COHERENCE = "coherence.json"
REPORT = "report.html"

BEGUN = {RECIPE, DATA_FILES, PARTS, BUDGET, METRICS, TENSORBOARD}
"""Files that a training run writes before its first update."""
MEASURED = (SUMMARY, CONFUSION, EARLY, ERRORS, LABELS, COHERENCE, GALLERY, REPORT, DATA_FILES)
"""Measurements of a run and its data, which are invalid for the next run."""
WRITTEN = (LAST, BEST, MODEL, SUMMARY, CONFUSION, EARLY, ERRORS, LABELS, GALLERY, RECIPE, DATA_FILES)
"""Files whose writing may have been interrupted."""


def resuming(folder: Path) -> str:
    """Return the command that resumes the training run in a folder with the folder's own recipe.

    >>> resuming(Path("runs/my net"))
    "hdlif train 'runs/my net/recipe.yaml' --out 'runs/my net' --resume"
    """
    return shlex.join(["hdlif", "train", str(folder / RECIPE), "--out", str(folder), "--resume"])
