"""The user's own modules that a recipe names, and which they were when its training began."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hdlif.builders.imported import imported, is_own
from hdlif.config import Recipe
from hdlif.errors import CheckpointError
from hdlif.runs.files import write_json
from hdlif.whole_files import read_regular

PARTS = "parts.json"
MOST = 2**20
"""Bytes of parts.json."""


def own_parts(recipe: Recipe) -> dict[str, dict[str, str]]:
    """By module: its file's name and SHA-256, and its `__version__`, as far as it has them.

    Raises:
        RecipeError: one cannot be imported.
    """
    found: dict[str, dict[str, str]] = {}
    for key, kind in _kinds(recipe.model_dump(mode="json"), ""):
        imported(kind, key)
        name = kind.partition(":")[0]
        module = sys.modules[name]
        file = getattr(module, "__file__", None)
        stated = {"file": Path(file).name, "sha256": _digest(Path(file))} if file else {}
        version = getattr(module, "__version__", None) or getattr(sys.modules[name.split(".")[0]], "__version__", None)
        found[name] = stated | ({"version": str(version)} if version else {})
    return dict(sorted(found.items()))


def keep_parts(recipe: Recipe, out: Path) -> None:
    """Write OUT/parts.json where the recipe names modules of the user's."""
    if parts := own_parts(recipe):
        write_json(out / PARTS, parts)


def check_parts(recipe: Recipe, out: Path) -> None:
    """Raise `CheckpointError`, which names the file, where a module is another than when the training in OUT began."""
    if not (out / PARTS).exists():
        return
    try:
        before = json.loads(read_regular(out / PARTS, most=MOST))
        known = {name: dict(stated) for name, stated in before.items()}
    except (OSError, ValueError, AttributeError, TypeError, RecursionError):
        raise CheckpointError(f"{out / PARTS}: is damaged; start anew with --overwrite, or in another folder") from None
    for name, stated in own_parts(recipe).items():
        was = known.get(name, stated)
        if was != stated:
            what = stated.get("file", name)
            seen = f"version {was.get('version')}, now {stated.get('version')}" if _same_file(was, stated) else "edited"
            raise CheckpointError(
                f"{out}: {what} ({name}) is another than when this training began ({seen}), so that it would end with "
                "other bytes; put it back, or start anew with --overwrite"
            )


def _same_file(one: dict[str, str], other: dict[str, str]) -> bool:
    return one.get("sha256") == other.get("sha256")


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _kinds(section: dict[str, Any], key: str) -> Iterator[tuple[str, str]]:
    """The places of a recipe that name something of the user's, and what they name."""
    for name, value in section.items():
        place = f"{key}.{name}" if key else name
        if isinstance(value, dict):
            yield from _kinds(value, place)
        elif name in ("kind", "of") and is_own(value):
            yield place, value
