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

from hdlif.commands.files import writing
from hdlif.errors import InUseError, TrainingError

_held: set[Path] = set()
"""The files that this process has locked: the kernel would give it a second lock, and take both back at once."""


@contextlib.contextmanager
def locked(path: Path, *, without_locks: bool = False) -> Iterator[bool]:
    """Whether the lock of the file is held inside, by this caller alone; the file says by which process.

    Args:
        without_locks: go on as if it were held where the file system has no locks.
    Raises:
        TrainingError: the file system has no locks.
    """
    path = path.resolve()
    if path in _held:
        yield False
        return
    with writing(path):
        file = path.open("a+")
    with file:
        mine = True
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            mine = error.errno not in (errno.EACCES, errno.EAGAIN)
            if mine and not without_locks:
                raise TrainingError(
                    f"{path}: cannot be locked ({error.strerror}), so that processes could not tell what is in use; "
                    "choose a folder on a file system that has locks"
                ) from None
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
    """The run folder is the caller's to train in inside. Where a file system has no locks, it goes on without.

    Raises:
        InUseError: another training is at work there.
    """
    path = (folder / ".lock").resolve()
    with locked(path, without_locks=True) as mine:
        if not mine:
            # Of this process it is not read, since to close the file would give the lock up.
            who = "this process" if path in _held else path.read_text("utf-8") or "another process"
            raise InUseError(f"{folder}: {who} is training there; wait until it has ended, or choose another --out")
        yield
