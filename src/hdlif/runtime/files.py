"""The bytes of an input file, or of what came in the place of one."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from hdlif.errors import InputError
from hdlif.inputs import MOST_BYTES
from hdlif.whole_files import read_regular


@dataclass(frozen=True)
class Given:
    """What a file would hold, where there is none: the body of a request, or bytes of the caller's own.

    Whatever reads files takes it in the place of a path.

    Attributes:
        name: what errors and answers call it.
        suffix: the end that its file's name would have, such as ".png": it says the format.
        ended: whether nobody waits for it any more, so that reading it ends.
    """

    name: str
    suffix: str
    content: bytes = field(repr=False)
    ended: Callable[[], bool] | None = field(default=None, repr=False)

    def __str__(self) -> str:
        return self.name


def content_of(path: Path | Given) -> bytes:
    """The content of a file.

    Raises:
        InputError: there is none.
        OSError: it cannot be read, or is larger than `inputs.MOST_BYTES`.
    """
    if isinstance(path, Given):
        return path.content
    try:
        return read_regular(path, most=MOST_BYTES)
    except FileNotFoundError as error:
        raise InputError(f"{path}: there is no such file; check the path") from error
