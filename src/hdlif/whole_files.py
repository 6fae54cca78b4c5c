"""Files that are written whole or not at all, also by several processes at once, on one machine or on several.

None of it follows a link that somebody has put where a file is to be written. What is read is a regular file of at most
the size that the caller states: a FIFO would be waited for without end, and a device has none.
"""

import contextlib
import errno
import os
import re
import secrets
import stat
from collections.abc import Collection, Iterator
from pathlib import Path

# Windows has none of them: it opens what a link leads to, and waits for no FIFO.
NO_LINK = getattr(os, "O_NOFOLLOW", 0)
_NO_WAIT = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)


def open_regular(path: Path, flags: int) -> int:
    """A file descriptor of a regular file, opened with `flags`; never waits.

    Raises:
        OSError: what is at `path` is something else; with NO_LINK, a link.
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
            raise OSError(errno.EINVAL, "no regular file")
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def read_regular(path: Path, *, most: int) -> bytes:
    """The content of a regular file of at most `most` bytes.

    Raises:
        OSError: there is none, or a larger one.
    """
    with os.fdopen(open_regular(path, os.O_RDONLY), "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size > most:
            raise OSError(errno.EFBIG, f"larger than {most:,} bytes")
        # Not `most`: as much memory as is asked for is taken first. Of a file that grows meanwhile no more is read.
        return file.read(size)


@contextlib.contextmanager
def whole_file(path: Path, *, previous: Path | None = None) -> Iterator[Path]:
    """A path beside `path` to write to; it takes its place at the end, or vanishes where something is raised.

    Of several processes that write the same file, the last one's stays. A link at `path` is replaced, and what it
    points to stays as it is.

    Args:
        previous: the name that what `path` held before then gets. Between the two renamings nothing is at `path`.
    """
    # Random, because processes of several containers that share a disk may have one number, and even one host name.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | NO_LINK, 0o666))
    try:
        yield temporary
        # for writing, too, which Windows asks for before it flushes
        with temporary.open("r+b") as written:
            os.fsync(written.fileno())
        if previous is not None and path.exists():
            path.replace(previous)
        temporary.replace(path)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def remove_left_over(folder: Path, names: Collection[str]) -> None:
    """Remove what writers of files of these names left that were killed; the caller knows that none is at work."""
    for path in folder.iterdir():
        if (found := _TEMPORARY.fullmatch(path.name)) is not None and found[1] in names:
            path.unlink(missing_ok=True)


_TEMPORARY = re.compile(r"\.(.+)\.[0-9a-f]{16}\.tmp", re.DOTALL)
