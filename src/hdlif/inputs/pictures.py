"""Image files of a few formats, decoded by Pillow within stated limits.

Pillow reads dozens of formats and goes by the content of a file, whatever its name. Here it is asked for those alone
whose names are looked for in folders, and its decoders' errors, which are of nearly any type, are one.
"""

import contextlib
import functools
import io
import logging
import os
import threading
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hdlif.errors import reason
from hdlif.inputs import Unreadable

if TYPE_CHECKING:
    # imported where an image is read: a run on arrays has no use for it
    from PIL import Image

FORMATS = {
    ".bmp": "BMP",
    ".gif": "GIF",
    ".jpeg": "JPEG",
    ".jpg": "JPEG",
    ".pgm": "PPM",
    ".png": "PNG",
    ".ppm": "PPM",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".webp": "WEBP",
}
"""The formats that are read, by the ends of their files' names; a file is of any of them, whatever its name."""
MOST_PIXELS, MOST_SIDE = 80_000_000, 65_535
"""Of an image that is decoded: a few kilobytes can promise any number."""
_GREY = ("1", "L", "LA", "La")
_ONE_AT_A_TIME = threading.Lock()
"""Held while decoding: the filters of warnings and standard error are those of the whole process."""


def decode(content: bytes, mode: str, suffixes: Iterable[str] = FORMATS) -> "Image.Image":
    """The first frame of an image file in a mode of Pillow, "L" or "RGB".

    Pixels are taken as the file stores them: an orientation or a colour profile beside them is not applied,
    transparency is dropped, CMYK is converted by Pillow's plain formula, and 16 bits a colour channel are cut to the
    upper 8. Grey of more than 8 bits, and real numbers, would be clipped, and are refused.

    Args:
        suffixes: out of `FORMATS`; the formats that may be.
    Raises:
        Unreadable: it is no such image, is damaged, larger than `MOST_PIXELS` or `MOST_SIDE`, or has other than 8 bits.
    """
    with _opened(content, suffixes) as image, _silent_libtiff() if image.format == "TIFF" else contextlib.nullcontext():
        return image.convert(mode)


@dataclass(frozen=True)
class Header:
    """What an image file says of itself before its pixels: its size, and its mode of Pillow."""

    width: int
    height: int
    mode: str

    @property
    def channels(self) -> int:
        """1 of a grey picture, 3 of any other; a palette is taken for colours."""
        return 1 if self.mode in _GREY else 3


def header(content: bytes) -> Header:
    """The header of an image file that `decode` may read; raises `Unreadable` as it does, but for damage behind it."""
    with _opened(content, FORMATS) as image:
        return Header(*image.size, image.mode)


@contextlib.contextmanager
def _opened(content: bytes, suffixes: Iterable[str]) -> "Iterator[Image.Image]":
    """An image of a size and type that is read; what is raised in using it is `Unreadable`."""
    from PIL import Image, UnidentifiedImageError

    _silence_log()
    names = sorted({FORMATS[suffix] for suffix in suffixes})
    try:
        # Pillow warns of what it reads all the same, and of sizes that are checked here.
        with (
            _ONE_AT_A_TIME,
            warnings.catch_warnings(action="ignore"),
            Image.open(io.BytesIO(content), formats=names) as image,
        ):
            check_size(*image.size)
            if image.mode[0] in "IF":
                raise Unreadable(f"mode is {image.mode}, and 8 bits a channel are read")
            yield image
    except Unreadable:
        raise
    except UnidentifiedImageError as error:
        raise Unreadable(f"it is none of {', '.join(names)}, or damaged") from error
    # Its decoders raise nearly anything on damaged bytes.
    except Exception as error:
        raise Unreadable(reason(error)) from error


@functools.cache
def _silence_log() -> None:
    """What Pillow logs of damaged files goes to those who listen, and not to standard error where nobody does."""
    logging.getLogger("PIL").addHandler(logging.NullHandler())


@contextlib.contextmanager
def _silent_libtiff() -> Iterator[None]:
    """Standard error is closed to what libtiff, a library in C, writes there of damaged files by itself."""
    try:
        kept = os.dup(2)
    except OSError:
        yield
        return
    try:
        sink = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(sink, 2)
            yield
        finally:
            os.dup2(kept, 2)
            os.close(sink)
    finally:
        os.close(kept)


def check_size(width: int, height: int) -> None:
    """Raise `Unreadable` where an image of that size would take too much memory, to hold or to resize."""
    if width * height > MOST_PIXELS or max(width, height) > MOST_SIDE:
        raise Unreadable(
            f"it is {height}x{width}; at most {MOST_PIXELS // 10**6} million pixels and {MOST_SIDE} a side are read"
        )
