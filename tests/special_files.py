"""Paths at which no regular file is, for tests that nothing waits for them or reads them without end."""

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import FrameType


def special_files(folder: Path, suffix: str) -> dict[str, Path]:
    """A FIFO, a socket, an endless device, a folder, links to some, and paths that are none; names end in `suffix`."""
    fifo, folder_itself, zero, loop = (folder / f"{name}{suffix}" for name in ("fifo", "folder", "zero", "loop"))
    os.mkfifo(fifo)
    folder_itself.mkdir()
    zero.symlink_to("/dev/zero")
    loop.symlink_to(loop)
    bound = folder / f"socket{suffix}"
    before = Path.cwd()
    os.chdir(folder)  # a socket's path is short
    with closing(socket.socket(socket.AF_UNIX)) as one:
        one.bind(bound.name)
    os.chdir(before)
    return {
        "fifo": fifo,
        "device": zero,
        "loop": loop,
        "socket": bound,
        "folder": folder_itself,
        "below a file": Path(__file__) / f"x{suffix}",
        "long": folder / f"{'x' * 5000}{suffix}",
        "nul": folder / f"a\0b{suffix}",
        "escape": folder / f"a\x1b[2J\nb{suffix}",
        "surrogate": folder / f"\udcff{suffix}",
    }


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Fails where the block takes longer, also where it waits in a system call."""

    def late(number: int, frame: FrameType | None) -> None:
        raise AssertionError(f"took more than {seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
