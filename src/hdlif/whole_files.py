"""Write files atomically, even from several processes on one or more machines.

If the path of a file to write is a link, hdlif does not follow it. Only regular files up to a given size are read,
because reading a FIFO could block forever and a device has no size.
"""

import contextlib
import errno
import os
import re
import secrets
import stat
from collections.abc import Collection, Iterator
from pathlib import Path

# Windows has neither flag: there, opening follows links, and no FIFO can block.
NO_LINK = getattr(os, "O_NOFOLLOW", 0)
_NO_WAIT = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)


def open_regular(path: Path, flags: int) -> int:
    """Open a regular file with `flags` without blocking and return the file descriptor.

    Raises:
        OSError: `path` is not a regular file, or is a link and `flags` include NO_LINK.
    """
    try:
        descriptor = os.open(path, flags | _NO_WAIT, 0o666)
    except ValueError:
        raise OSError(errno.EINVAL, "this is not a path") from None
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "not a regular file")
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def read_regular(path: Path, *, most: int) -> bytes:
    """Return the content of a regular file of at most `most` bytes.

    Raises:
        OSError: there is no such file, or it is larger.
    """
    with os.fdopen(open_regular(path, os.O_RDONLY), "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size > most:
            raise OSError(errno.EFBIG, f"larger than {most:,} bytes")
        # Not `most`: Python allocates the requested size first. If the file grows meanwhile, the rest is not read.
        return file.read(size)


@contextlib.contextmanager
def whole_file(path: Path, *, previous: Path | None = None) -> Iterator[Path]:
    """Yield a temporary path to write to; at the end, this file replaces `path` or, after an error, is removed.

    If several processes write the same file, the last write wins. A link at `path` is replaced, but its target stays
    unchanged.

    Args:
        previous: the new name of the old file at `path`. Between the two renamings, `path` does not exist.
    """
    # Random, because processes in containers that share a disk may have the same process ID and even the same host
    # name.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | NO_LINK, 0o666))
    try:
        yield temporary
        # Open the file for writing too, which Windows requires before a flush.
        with temporary.open("r+b") as written:
            os.fsync(written.fileno())
        if previous is not None and path.exists():
            path.replace(previous)
        temporary.replace(path)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def remove_left_over(folder: Path, names: Collection[str]) -> None:
    """Remove temporary files that killed processes left for `names`; meanwhile, no other process may write `names`."""
    for path in folder.iterdir():
        if (found := _TEMPORARY.fullmatch(path.name)) is not None and found[1] in names:
            path.unlink(missing_ok=True)


_TEMPORARY = re.compile(r"\.(.+)\.[0-9a-f]{16}\.tmp", re.DOTALL)
