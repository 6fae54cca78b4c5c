"""Files that are written whole or not at all, also by several processes at once, on one machine or on several."""

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to; it takes its place at the end, or vanishes where something is raised.

    Of several processes that write the same file, the last one's stays.
    """
    # Random, because processes of several containers that share a disk may have one number, and even one host name.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
