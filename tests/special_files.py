"""Paths at which no readable file is, for tests that nothing waits for them or reads them without end."""

import os
import socket
from collections.abc import Callable
from contextlib import chdir, closing
from pathlib import Path


def as_folder(path: Path) -> None:
    path.mkdir()


def as_fifo(path: Path) -> None:
    os.mkfifo(path)


def as_socket(path: Path) -> None:
    # a socket's path is short
    with chdir(path.parent), closing(socket.socket(socket.AF_UNIX)) as one:
        one.bind(path.name)


def as_endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


def as_loop(path: Path) -> None:
    path.symlink_to(path.name)


def as_gigabytes(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(2**33)


def as_binary(path: Path) -> None:
    path.write_bytes(bytes(range(256)) * 4)


def as_utf_16(path: Path) -> None:
    path.write_text("seed: 1\n", "utf-16")


def as_nothing(path: Path) -> None:
    path.write_bytes(b"")


NO_FILES: dict[str, Callable[[Path], None]] = {
    name.removeprefix("as_"): make for name, make in dict(globals()).items() if name.startswith("as_")
}
"""Each puts something at a path that no reader of text takes, waits for, or reads to its end."""


def special_files(folder: Path, suffix: str) -> dict[str, Path]:
    """A FIFO, a socket, an endless device, a folder, links to some, and paths that are none; names end in `suffix`."""
    made = {kind: folder / f"{kind}{suffix}" for kind in ("fifo", "endless", "loop", "socket", "folder")}
    for kind, path in made.items():
        NO_FILES[kind](path)
    return {
        **made,
        "below a file": Path(__file__) / f"x{suffix}",
        "long": folder / f"{'x' * 5000}{suffix}",
        "nul": folder / f"a\0b{suffix}",
        "escape": folder / f"a\x1b[2J\nb{suffix}",
        "surrogate": folder / f"\udcff{suffix}",
    }
