"""What the user says of where data of their own lie, checked."""

import os
from collections.abc import Sequence
from pathlib import Path

_LONGEST_PATH = 4096


def own_place(root: Path | None, path: str, what: str = "data") -> Path:
    """The absolute path of data; a relative one starts from `root`, or the working folder. Raises `ValueError`."""
    if not 0 < len(path) <= _LONGEST_PATH:
        raise ValueError(f"path has {len(path):,} characters; give {what}, in 1 to {_LONGEST_PATH:,}")
    return Path(os.path.abspath(path if root is None else root / path))  # noqa: PTH100 - links stay in it


def checked_columns(columns: Sequence[str] | None) -> None:
    """Raise `ValueError` on a choice of columns that has none, or one twice."""
    if columns is not None and (not columns or len(set(columns)) < len(columns)):
        raise ValueError(f"columns = {list(columns)} is refused; name one or more, each once")
