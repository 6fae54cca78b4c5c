"""Access to model files, which must be regular files of bounded size."""

import json
import os
import stat
from pathlib import Path
from typing import BinaryIO

from hdlif.errors import AllocationError, ArtefactError, reason

METADATA_KEY = "hdlif"
MAX_FILE_BYTES = 2**31
MAX_HEADER_BYTES = 100_000_000
"""Largest header that the safetensors library accepts."""


def read_content(path: str | Path) -> bytes:
    """Return the bytes of a file that may contain a graph.

    Raises:
        ArtefactError: the file is missing, not a regular file, or too long.
        AllocationError: out of memory.
    """
    try:
        with _open_regular(path) as file:
            return file.read(os.fstat(file.fileno()).st_size + 1)
    except (OSError, ValueError) as error:
        raise ArtefactError(f"{path}: cannot be read ({reason(error)}); give the path of a model file") from error
    except MemoryError as error:
        raise AllocationError(f"{path}: the machine does not grant the memory to read it; free some") from error


def is_artefact(path: Path) -> bool:
    """Return whether a file begins with the header of a model file, without checking the rest of the file.

    Args:
        path: any file.
    """
    try:
        with _open_regular(path) as file:
            length = int.from_bytes(file.read(8), "little")
            header = file.read(length) if length <= min(MAX_HEADER_BYTES, os.fstat(file.fileno()).st_size) else b""
        return header.startswith(b"{") and "nodes" in json.loads(metadata_text(header))
    except (OSError, ValueError, ArtefactError, LookupError, TypeError, AttributeError, RecursionError):
        return False


def metadata_text(header: bytes) -> str:
    """Return the metadata text of a safetensors header."""
    text: str = json.loads(header)["__metadata__"][METADATA_KEY]
    return text


def _open_regular(path: str | Path) -> BinaryIO:
    """Open a regular file of bounded size. Other files are rejected, because opening them could block or change a
    device.

    Raises:
        OSError, ValueError: the file is missing, or the path is invalid.
        ArtefactError: the file is not a regular file, or is too long.
    """
    _check_kind(path, Path(path).stat())
    # The path may point to another file by now.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    file = os.fdopen(descriptor, "rb")
    try:
        _check_kind(path, os.fstat(descriptor))
    except ArtefactError:
        file.close()
        raise
    return file


def _check_kind(path: str | Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        kind = "a folder" if stat.S_ISDIR(status.st_mode) else "a device, a pipe or a socket"
        fix = "give the path of a model file"
        if stat.S_ISDIR(status.st_mode):
            fix += f"; to export a run folder, run `hdlif export {path} --out NAME.hdlif.safetensors`"
        raise ArtefactError(f"{path}: is {kind}; {fix}")
    if status.st_size > MAX_FILE_BYTES:
        raise ArtefactError(f"{path}: has {status.st_size} bytes; a model file has at most {MAX_FILE_BYTES}")
