"""Write small files and folders atomically."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hdlif.errors import InputError, OutputError, TrainingError, reason
from hdlif.graph.artefact import is_artefact
from hdlif.whole_files import whole_file

ARTEFACT_SUFFIX = ".hdlif.safetensors"


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Create the parent folder of `path`, and raise `TrainingError` if writing inside the context fails."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TrainingError(f"{path.parent}: cannot be created ({reason(error)}); choose another --out") from error
    try:
        yield
    except OSError as error:
        fix = "free space or choose another --out"
        raise TrainingError(f"{path}: cannot be written ({reason(error)}); {fix}") from error


def write_text(path: Path, text: str) -> None:
    """Write text to a file atomically."""
    with writing(path), whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write `value` to a file atomically as indented JSON."""
    write_text(path, json.dumps(value, indent=1) + "\n")


def names_artefact(path: Path) -> bool:
    """Return whether a path has the suffix of a model file, or the file at the path has the content of one."""
    return path.name.endswith(ARTEFACT_SUFFIX) or is_artefact(path)


def existing(path: Path) -> Path:
    """Return `path`, or raise `InputError` if it does not exist."""
    if not os.path.lexists(path) or not path.exists():  # lexists() is False for names that are too long.
        raise InputError(f"{path}: there is no such file or folder; check the path")
    return path


def check_new_folder(folder: Path) -> None:
    """Raise `InputError` if `folder` exists and is not an empty folder."""
    if os.path.lexists(folder) and not (folder.is_dir() and not any(folder.iterdir())):
        raise InputError(f"{folder}: already exists; give the name of a new folder")


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder that is renamed to `folder` at the end, or removed after an exception.

    Raises `InputError` if `folder` exists and is not an empty folder.
    """
    check_new_folder(folder)
    temporary = None
    try:
        folder.absolute().parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.absolute().parent))
        yield temporary
        temporary.chmod(0o755)
        temporary.replace(folder)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written ({reason(error)}); choose another place") from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
