"""Read inputs from files, or from bytes in memory that replace a file."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from hdlif.errors import InputError
from hdlif.inputs import MOST_BYTES
from hdlif.whole_files import read_regular


@dataclass(frozen=True)
class Given:
    """Bytes in memory that replace an input file, such as the body of a request.

    Functions of the runtime that read input files accept a `Given` in place of a path.

    Attributes:
        name: name for errors and predictions.
        suffix: suffix of a file with this content, such as ".png", which determines the format.
        ended: function that returns whether nobody waits for the result any more, which stops reading.
    """

    name: str
    suffix: str
    content: bytes = field(repr=False)
    ended: Callable[[], bool] | None = field(default=None, repr=False)

    def __str__(self) -> str:
        return self.name


def content_of(path: Path | Given) -> bytes:
    """Return the content of an input file, or the given bytes in memory.

    Raises:
        InputError: there is no such file.
        OSError: the file cannot be read, or is larger than `inputs.MOST_BYTES`.
    """
    if isinstance(path, Given):
        return path.content
    try:
        return read_regular(path, most=MOST_BYTES)
    except FileNotFoundError as error:
        raise InputError(f"{path}: there is no such file; check the path") from error
