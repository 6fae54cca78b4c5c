"""Small files that commands write whole or not at all."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hdlif.errors import InputError, TrainingError

ARTEFACT_SUFFIX = ".hdlif.safetensors"


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Make the folder of `path`; whatever keeps it from being written inside is one `TrainingError`."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise TrainingError(
            f"{path}: cannot be written ({error.strerror}); free space or choose another --out"
        ) from error


def write_text(path: Path, text: str) -> None:
    """Write to a temporary name beside `path`, then rename."""
    temporary = path.with_name(f"{path.name}.tmp")
    with writing(path):
        try:
            temporary.write_text(text, encoding="utf-8")
            temporary.replace(path)
        except OSError:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, whole or not at all."""
    write_text(path, json.dumps(value, indent=1) + "\n")


def existing(path: Path) -> Path:
    """`path`, or `InputError` where nothing is there."""
    if not path.exists():
        raise InputError(f"{path}: there is no such file or folder; check the path")
    return path
