"""Decode image files with Pillow, within fixed limits.

Pillow identifies the format of a file by content, not by name. Errors from Pillow's decoders are converted to
`Unreadable`.
"""

import contextlib
import functools
import io
import logging
import math
import os
import re
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hdlif.errors import reason
from hdlif.inputs import Unreadable

if TYPE_CHECKING:
    # Import Pillow only when it is used: a run on arrays does not need it.
    from numpy.typing import NDArray
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
"""Accepted formats by suffix; a file may have any of these formats, whatever its name."""
MOST_PIXELS, MOST_SIDE = 80_000_000, 65_535
"""Maximum number of pixels and maximum side of a decoded image; a file of a few kilobytes can declare any size."""
MOST_SCANS, MOST_SEGMENTS = 100, 4096
"""Maximum scans and segments of a JPEG file: a scan of a few bytes covers all pixels. libtiff has the same limit."""
_NUMBERS = ("1", "L", "P", "I;16", "I;16B", "I")
"""Pillow's modes with one number per pixel."""
_GREY = ("1", "L", "LA", "La")
_PIXEL_BYTES = {"JPEG": 13, "MPO": 13, "WEBP": 17}
"""Measured peak bytes per pixel for decoding and converting; other formats take `_OTHER_PIXEL_BYTES`."""
_OTHER_PIXEL_BYTES = 10
_TILE_WIDTH, _TILE_LENGTH = 322, 323
"""TIFF tags for the width and length of a tile."""
_MARKER = re.compile(rb"\xff([^\x00\x01\xd0-\xd7\xff])", re.DOTALL)
"""Matches a JPEG marker with a length. In entropy-coded data, 0 or a restart (0xd0 to 0xd7) follows each 0xff."""
_ONE_AT_A_TIME = threading.Lock()
"""Lock held while a TIFF is decoded, because standard error belongs to the entire process."""


def decode(
    content: bytes, mode: str, suffixes: Iterable[str] = FORMATS, *, ended: Callable[[], bool] | None = None
) -> "Image.Image":
    """Return the first frame of an image file, converted to Pillow's mode "L" or "RGB".

    Orientation, colour profile and transparency are ignored. CMYK is converted to RGB with Pillow's simple formula.
    Only the upper 8 bits of 16-bit colour channels are used.

    Args:
        suffixes: suffixes of the accepted formats, from `FORMATS`.
        ended: called before each part of the content is read; decoding stops if it returns True.
    Raises:
        Unreadable: the image has another format, is damaged, is larger than `MOST_PIXELS` or `MOST_SIDE`, has greyscale
            with over 8 bits or real numbers, or has more than `MOST_SCANS` scans; or `ended` returns True.
    """
    with (
        _opened(content, suffixes, ended) as image,
        _silent_libtiff() if image.format == "TIFF" else contextlib.nullcontext(),
    ):
        return image.convert(mode)


def decode_numbers(content: bytes) -> "NDArray[np.int32]":
    """Return the pixel values [h, w] of a PNG file with 8 or 16 bits per pixel, or palette indices if it has a palette.

    Raises:
        Unreadable: the file is not a PNG file, is damaged, is too large, or is in colour.
    """
    with _opened(content, (".png",), None, deep=True) as image:
        if image.mode not in _NUMBERS:
            raise Unreadable(f"its mode is {image.mode}; expected one number of 8 or 16 bits per pixel")
        return np.asarray(image).astype(np.int32)


@dataclass(frozen=True)
class Header:
    """The header of an image file.

    Attributes:
        mode: mode of the image in Pillow.
        decoding_bytes: the most memory that `decode` takes in addition to the content.
    """

    width: int
    height: int
    mode: str
    decoding_bytes: int

    @property
    def channels(self) -> int:
        """The number of channels: 1 for greyscale images, and 3 for all others, including palette images."""
        return 1 if self.mode in _GREY else 3


def header(content: bytes, *, ended: Callable[[], bool] | None = None) -> Header:
    """Return the header of an image file, which must be in an accepted format. Raises `Unreadable`."""
    with _opened(content, FORMATS, ended) as image:
        pixel_bytes = _PIXEL_BYTES.get(str(image.format), _OTHER_PIXEL_BYTES)
        return Header(*image.size, image.mode, math.prod(_held_size(image)) * pixel_bytes)


class _Content(io.BytesIO):
    """A byte stream whose `read` raises `Unreadable` once `ended` returns True."""

    def __init__(self, content: bytes, ended: Callable[[], bool] | None) -> None:
        super().__init__(content)
        self._ended = ended

    def read(self, size: int | None = -1, /) -> bytes:
        if self._ended is not None and self._ended():
            raise Unreadable("decoding was stopped")
        return super().read(size)


@contextlib.contextmanager
def _opened(
    content: bytes, suffixes: Iterable[str], ended: Callable[[], bool] | None, *, deep: bool = False
) -> "Iterator[Image.Image]":
    """Open an image of an accepted size and type, and convert all decoding errors to `Unreadable`.

    Args:
        deep: whether more than 8 bits per channel are accepted.
    """
    from PIL import Image, UnidentifiedImageError

    _silence_log()
    names = sorted({FORMATS[suffix] for suffix in suffixes})
    try:
        _check_scans(content)
        # Pillow warns about files that it reads anyway, and about sizes that are checked below.
        with _WITHOUT_WARNINGS, Image.open(_Content(content, ended), formats=names) as image:
            check_size(*_held_size(image))
            if image.mode[0] in "IF" and not deep:
                raise Unreadable(f"its mode is {image.mode}; expected 8 bits per channel")
            yield image
    except Unreadable:
        raise
    except UnidentifiedImageError as error:
        raise Unreadable(f"it is damaged, or not one of {', '.join(names)}") from error
    # Pillow's decoders raise almost any exception on damaged bytes.
    except Exception as error:
        raise Unreadable(reason(error)) from error


@functools.cache
def _silence_log() -> None:
    """Prevent Pillow from printing log messages about damaged files to standard error."""
    logging.getLogger("PIL").addHandler(logging.NullHandler())


def _held_size(image: "Image.Image") -> tuple[int, int]:
    """Return the width and height that decoding needs; libtiff decodes complete tiles, which may exceed the image."""
    tags = getattr(image, "tag_v2", {})
    return max(image.width, tags.get(_TILE_WIDTH, 0)), max(image.height, tags.get(_TILE_LENGTH, 0))


class _WithoutWarnings:
    """A context manager that ignores warnings in all threads while any thread uses it, as filters are process-wide."""

    def __init__(self) -> None:
        self._lock, self._inside = threading.Lock(), 0
        self._ignored = warnings.catch_warnings(action="ignore")

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._ignored = warnings.catch_warnings(action="ignore")
                self._ignored.__enter__()
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._ignored.__exit__(None, None, None)


_WITHOUT_WARNINGS = _WithoutWarnings()


@contextlib.contextmanager
def _silent_libtiff() -> Iterator[None]:
    """Discard the messages about damaged files that libtiff prints to standard error."""
    with _ONE_AT_A_TIME, contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            kept = os.dup(2)
            stack.callback(os.close, kept)
            sink = os.open(os.devnull, os.O_WRONLY)
            stack.callback(os.close, sink)
            stack.callback(os.dup2, kept, 2)
            os.dup2(sink, 2)
        yield


def check_size(width: int, height: int) -> None:
    """Raise `Unreadable` if storing or resizing an image of `width` x `height` pixels would take too much memory."""
    if width * height > MOST_PIXELS or max(width, height) > MOST_SIDE:
        raise Unreadable(
            f"it is {height}x{width}; at most {MOST_PIXELS // 10**6} million pixels and {MOST_SIDE} per side are "
            "supported"
        )


def _check_scans(content: bytes) -> None:
    """Raise `Unreadable` if a JPEG file has so many scans or segments that decoding would take seconds."""
    if not content.startswith(b"\xff\xd8"):
        return
    place, scans, segments = 2, 0, 0
    while (marker := _MARKER.search(content, place)) and marker[1] != b"\xd9":
        scans, segments = scans + (marker[1] == b"\xda"), segments + 1
        if scans > MOST_SCANS:
            raise Unreadable(f"it is a JPEG of more than {MOST_SCANS} scans, which is not supported; save it again")
        if segments > MOST_SEGMENTS:
            raise Unreadable(f"it is a JPEG of more than {MOST_SEGMENTS:,} segments; save it again without metadata")
        place = marker.end() + int.from_bytes(content[marker.end() : marker.end() + 2], "big")
