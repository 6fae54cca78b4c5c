"""A file that one process has to itself, which tells others what is in use.

The kernel gives the lock up however its process ends, SIGKILL included, and over NFS too (version 4, or 3 with its lock
daemon).
"""

import contextlib
import errno
import fcntl
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from hdlif.errors import InUseError, TrainingError, reason
from hdlif.recipe.runs.files import writing
from hdlif.whole_files import open_regular, read_regular

LOCK = ".lock"
"""In a run folder: the lock of whoever trains there, and of a training that has ended what it leaves."""
MOST_HOLDER = 400
"""Bytes of what a lock's file says."""
_held: set[Path] = set()
"""The files that this process has locked: the kernel would give it a second lock, and take both back at once."""


@contextlib.contextmanager
def locked(path: Path, *, without_locks: bool = False) -> Iterator[bool]:
    """Return whether the lock of the file is held inside, by this caller alone; the file names its process.

    Args:
        without_locks: go on as if it were held if the file system has no locks; otherwise that is a `TrainingError`,
            and so is a link, which is not followed.
    """
    path = path.parent.resolve() / path.name
    if path in _held:
        yield False
        return
    with writing(path):
        file = os.fdopen(open_regular(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW), "r+b", buffering=0)
    with file:
        # A second name is another file's that somebody has put here.
        if os.fstat(file.fileno()).st_nlink > 1:
            raise TrainingError(f"{path}: has a second name, which no lock has; remove it")
        mine = True
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            mine = error.errno not in (errno.EACCES, errno.EAGAIN)
            if mine and not without_locks:
                seen = f"{path}: cannot be locked ({reason(error)})"
                raise TrainingError(f"{seen}; choose a folder on a file system that has locks") from None
        if not mine:
            yield False
            return
        _held.add(path)
        try:
            # A disk without room for a name has its lock all the same. Unbuffered: closing would try once more.
            with contextlib.suppress(OSError):
                os.ftruncate(file.fileno(), 0)
                os.write(file.fileno(), f"process {os.getpid()} on {socket.gethostname()}".encode())
            yield True
        finally:
            _held.remove(path)


@contextlib.contextmanager
def training_alone(folder: Path) -> Iterator[None]:
    """Let the caller alone train in the run folder, if the file system has locks. Raises `InUseError`."""
    path = folder.resolve() / LOCK
    with locked(path, without_locks=True) as mine:
        if not mine:
            # Of this process it is not read, since to close the file would give the lock up.
            who = "this process" if path in _held else _holder(path)
            raise InUseError(f"{folder}: {who} is training there; wait until it has ended, or choose another --out")
        yield


def _holder(path: Path) -> str:
    """Who says in the file that the lock is theirs."""
    try:
        return read_regular(path, most=MOST_HOLDER).decode("utf-8") or "another process"
    except (OSError, UnicodeDecodeError):
        return "another process"
