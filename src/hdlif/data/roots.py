"""Where a set that is not bundled lies, and the text files in it."""

from pathlib import Path

from hdlif.errors import DataError


def given_root(name: str, root: Path | None, where: str) -> Path:
    """`root`; raises `DataError` where none is given, and says where the set is had from."""
    if root is None:
        raise DataError(f"{name}: no folder is given; give its parent with --data-root; it is had from {where}")
    return root


def text_of(path: Path, layout: str) -> str:
    """A text file of a set; raises `DataError`, which ends in the accepted `layout`, where it cannot be read."""
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read ({error}); {layout}") from error
