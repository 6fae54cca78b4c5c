"""The bytes of an input file."""

from pathlib import Path

from hdlif.errors import InputError
from hdlif.inputs import MOST_BYTES
from hdlif.whole_files import read_regular


def content_of(path: Path) -> bytes:
    """The content of a file.

    Raises:
        InputError: there is none.
        OSError: it cannot be read, or is larger than `inputs.MOST_BYTES`.
    """
    try:
        return read_regular(path, most=MOST_BYTES)
    except FileNotFoundError as error:
        raise InputError(f"{path}: there is no such file; check the path") from error
