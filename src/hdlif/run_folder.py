"""The names of the files in a run folder, and the command that resumes its training run."""

import shlex
from pathlib import Path

RECIPE = "recipe.yaml"
DATA_FILES = "data_files.json"
"""The user's own files that were trained on, by part."""
PARTS = "parts.json"
"""The versions of the user's own modules and of installed packages."""
BUDGET = "budget.json"
"""What the layers of a training were chosen for, and the choices."""
METRICS = "metrics.jsonl"
TENSORBOARD = "tensorboard"

LAST = "last.safetensors"
"""The state to resume from."""
PREVIOUS = "previous.safetensors"
"""The one before, should that be damaged."""
BEST = "best.safetensors"
"""The network of the best epoch so far."""
MODEL = "model.safetensors"
"""The same, of a finished training."""
DAMAGED = "damaged.safetensors"
"""A state that could not be read."""
EPOCH = "epoch_{}.safetensors"
"""The network of one epoch, from 1."""

SUMMARY = "summary.json"
CONFUSION = "confusion.json"
EARLY = "early.json"
ERRORS = "errors.json"
LABELS = "labels.json"
GALLERY = "gallery.json"
COHERENCE = "coherence.json"
REPORT = "report.html"

BEGUN = {RECIPE, DATA_FILES, PARTS, BUDGET, METRICS, TENSORBOARD}
"""Files that a training writes before its first update."""
MEASURED = (SUMMARY, CONFUSION, EARLY, ERRORS, LABELS, COHERENCE, GALLERY, REPORT, DATA_FILES)
"""Measurements of a run and of its data, which do not hold for the next one."""
WRITTEN = (LAST, BEST, MODEL, SUMMARY, CONFUSION, EARLY, ERRORS, LABELS, GALLERY, RECIPE, DATA_FILES)
"""Files whose writing may have been killed."""


def resuming(folder: Path) -> str:
    """Return the command that resumes the training run in a folder with the recipe that is stored there.

    >>> resuming(Path("runs/my net"))
    "hdlif train 'runs/my net/recipe.yaml' --out 'runs/my net' --resume"
    """
    return shlex.join(["hdlif", "train", str(folder / RECIPE), "--out", str(folder), "--resume"])
