"""What a run folder says of the training in it."""

import json
from pathlib import Path
from typing import Any

from hdlif.config import Recipe, dump_recipe


def finished(folder: Path, recipe: Recipe) -> dict[str, Any] | None:
    """The summary of a finished training of this recipe whose network is there; None where there is none."""
    if not (folder / "model.safetensors").exists():
        return None
    try:
        summary: dict[str, Any] = json.loads((folder / "summary.json").read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return summary if summary.get("recipe") == recipe.model_dump(mode="json") else None


def begun(folder: Path, recipe: Recipe) -> bool:
    """Whether the folder holds a stopped training of this recipe."""
    try:
        return (folder / "recipe.yaml").read_text("utf-8") == dump_recipe(recipe)
    except OSError:
        return False
