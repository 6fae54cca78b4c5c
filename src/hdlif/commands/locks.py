"""A file that one process has to itself, which tells others what is in use.

The kernel gives the lock up however its process ends, SIGKILL included, and over NFS too (version 4, or 3 with its lock
daemon). Where a file system has no locks, all goes on without.
"""

import contextlib
import errno
import fcntl
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from hdlif.commands.files import writing
from hdlif.errors import InUseError


@contextlib.contextmanager
def locked(path: Path) -> Iterator[bool]:
    """Whether this process has the lock of the file inside; False where another one has it.

    The file says whose it is. A process must not open it a second time meanwhile: closing it there gives the lock up.
    """
    with writing(path):
        file = path.open("a+")
    with file:
        mine = True
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            mine = error.errno not in (errno.EACCES, errno.EAGAIN)
        if mine:
            # A disk without room for a name has its lock all the same.
            with contextlib.suppress(OSError):
                file.truncate(0)
                file.write(f"process {os.getpid()} on {socket.gethostname()}")
                file.flush()
        yield mine


@contextlib.contextmanager
def training_alone(folder: Path) -> Iterator[None]:
    """The run folder is this process's to train in inside.

    Raises:
        InUseError: another process trains there.
    """
    path = folder / ".lock"
    with locked(path) as mine:
        if not mine:
            who = path.read_text("utf-8") or "another process"
            raise InUseError(f"{folder}: {who} is training there; wait until it has ended, or choose another --out")
        yield
