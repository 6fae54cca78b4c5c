"""What a request brings: its body, received within limits, and what it is by its content type."""

import io
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

import numpy as np

from hdlif.errors import brief
from hdlif.inputs import Unreadable, pictures
from hdlif.ops.sound import SoundRecord
from hdlif.runtime.files import Given
from hdlif.serve.named_rows import rows_by_name
from hdlif.serve.refusals import Refusal

NAME = "body"
"""What answers and errors call the body of a request."""
JSON = "application/json"
STATE = "application/vnd.hdlif.state"
TYPES: Mapping[str, str] = {
    "image/png": ".png",
    "image/jpeg": ".jpg",
    "image/bmp": ".bmp",
    "image/gif": ".gif",
    "image/tiff": ".tiff",
    "image/webp": ".webp",
    "image/x-portable-pixmap": ".ppm",
    "image/x-portable-graymap": ".pgm",
    "application/x-npy": ".npy",
    "application/octet-stream": ".npy",
    "text/csv": ".csv",
    "audio/wav": ".wav",
    "audio/x-wav": ".wav",
}
"""Content types that are taken beside JSON, and the suffix of the file that would hold such a body."""
_ARRAY_TYPES = ("float32", "uint8")
_NUMBER_BYTES, _LIST_BYTES = 64, 128
"""Of JSON: a number as an object, in its list and in the arrays that are made of it; a list."""
_OBJECT_BYTES, _KEY_BYTES = 256, 192
"""Of JSON too: an object, and each of its keys with its place there."""
_CSV_BYTES = 15
"""For each byte of a table: two of these can be a row."""
_SOUND_BYTES, _CLIP_BYTES, _SOUND_BLOCK_BYTES = 10, 40, 2**23
"""For each byte of a sound; for each sample of a network's clip; and for the blocks in which both are worked on."""
_DISCARDED = 4
"""Times the limit of a body, what is still read of a larger one so that its sender hears why it is refused."""


class Room:
    """Bytes that all requests together may take, with what is made of their bodies; any thread may ask for some."""

    def __init__(self, most: int) -> None:
        self.most, self.held = most, 0
        self._lock = threading.Lock()

    @contextmanager
    def lent(self) -> Iterator["Lent"]:
        """Room for one body, given back at the end."""
        lent = Lent(self)
        try:
            yield lent
        finally:
            with self._lock:
                self.held -= lent.bytes

    def take(self, count: int) -> bool:
        """Whether there is room for so many more; they are taken then."""
        with self._lock:
            if self.held + count > self.most:
                return False
            self.held += count
            return True


class Lent:
    """What one request takes of a room."""

    def __init__(self, room: Room) -> None:
        self._room, self.bytes = room, 0

    def grow(self, count: int) -> None:
        """Take so many more bytes. Raises `Refusal` where there is no room, now or for such a request at all."""
        if self.bytes + count > self._room.most:
            raise Refusal(
                "body_too_large",
                f"reading and answering it takes more than the {self._room.most:,} bytes that all requests have",
            )
        if not self._room.take(count):
            raise Refusal(
                "overloaded", "the bodies of other requests take all memory that is set aside", {"Retry-After": "1"}
            )
        self.bytes += count


async def received(parts: AsyncIterator[bytes], lent: Lent, most: int) -> bytes:
    """The whole body. Raises `Refusal` where it has more than `most` bytes, or there is no room for it."""
    whole = bytearray()
    seen = 0
    refusal: Refusal | None = None
    async for part in parts:
        seen += len(part)
        if refusal is None and seen > most:
            refusal = _too_large(most)
        if refusal is None:
            try:
                lent.grow(len(part))
            except Refusal as full:
                refusal = full
        if refusal is None:
            whole += part
            continue
        whole.clear()
        if seen > _DISCARDED * most:
            # What is left is not read, so that no other request can follow.
            refusal.headers["Connection"] = "close"
            break
    if refusal is not None:
        raise refusal
    return bytes(whole)


def _too_large(most: int) -> Refusal:
    return Refusal("body_too_large", f"the body has more than {most:,} bytes")


def media_type(header: str | None) -> str:
    """A content type without its parameters."""
    return (header or "").partition(";")[0].strip().lower()


def check_type(header: str | None, *, also: tuple[str, ...] = ()) -> str:
    """The content type of a body that is taken; raises `Refusal`."""
    found = media_type(header)
    if found not in TYPES and found not in (JSON, *also):
        accepted = ", ".join((JSON, *TYPES, *also))
        raise Refusal("unknown_content_type", f"Content-Type is {brief(found)}; accepted are {accepted}")
    return found


def reading_bytes(content: bytes, kind: str, sound: SoundRecord | None = None) -> int:
    """The most bytes that reading a body takes in addition to it, until it is an array of a network's input.

    Args:
        sound: of the network, if it takes sounds.
    """
    if kind == JSON:
        return (
            len(content)
            + _NUMBER_BYTES * (content.count(b",") + 1)
            + _LIST_BYTES * content.count(b"[")
            + _OBJECT_BYTES * content.count(b"{")
            + _KEY_BYTES * content.count(b":")
        )
    if sound is not None and TYPES[kind] == ".wav":
        return _SOUND_BYTES * len(content) + _CLIP_BYTES * sound.samples + _SOUND_BLOCK_BYTES
    return _CSV_BYTES * len(content) if kind == "text/csv" else 0


def given(
    content: bytes,
    kind: str,
    max_pixels: int,
    columns: Sequence[str] = (),
    grow: Callable[[int], object] = lambda count: None,
    ended: Callable[[], bool] | None = None,
) -> Given:
    """A body as what reads files takes it, of a network whose columns may have names. Raises `Refusal`.

    Args:
        grow: called with the bytes that decoding an image takes, before it is decoded.
        ended: as of `Given`.
    """
    if kind == JSON:
        return Given(NAME, ".npy", _as_npy(content, columns))
    suffix = TYPES[kind]
    if suffix in pictures.FORMATS:
        try:
            header = pictures.header(content, ended=ended)
        except Unreadable as error:
            raise Refusal("input_refused", f"{NAME}: cannot be read as an image ({error})") from error
        if header.width * header.height > max_pixels:
            raise Refusal(
                "image_too_large", f"{NAME}: the image is {header.height}x{header.width}; at most {max_pixels:,} pixels"
            )
        grow(header.decoding_bytes)
    return Given(NAME, suffix, content, ended)


def _as_npy(content: bytes, columns: Sequence[str]) -> bytes:
    """The .npy file of an array in JSON."""
    try:
        said = json.loads(content, parse_constant=_no_number)
    # Not UTF-8, no JSON, an integer of too many digits, or as deep as Python does not read it.
    except (ValueError, RecursionError) as error:
        raise Refusal("bad_json", f"{NAME}: is not JSON ({brief(str(error))})") from error
    written = {"values": said} if isinstance(said, list) else said
    if not isinstance(written, dict) or not {"values"} <= written.keys() <= {"values", "type"}:
        raise Refusal("bad_json", f'{NAME}: is neither a list nor an object with "values" and, at will, "type"')
    kind = written.get("type", _ARRAY_TYPES[0])
    if kind not in _ARRAY_TYPES:
        raise Refusal("bad_json", f"{NAME}: type is {brief(kind)}; accepted are {', '.join(_ARRAY_TYPES)}")
    values = written["values"]
    # What names its numbers is of a series or a table, which have no pixels.
    if kind == _ARRAY_TYPES[0] and isinstance(values, list) and values and type(values[0]) is dict:
        array = rows_by_name(values, columns, NAME)
    else:
        array = _array(values, kind)
    file = io.BytesIO()
    np.lib.format.write_array(file, array, allow_pickle=False)
    return file.getvalue()


def _array(values: Any, kind: str) -> np.ndarray[Any, Any]:
    if not isinstance(values, list):
        raise Refusal("bad_json", f"{NAME}: values are {type(values).__name__}, and lists of numbers are read")
    try:
        if not _are_numbers(values):
            raise Refusal("bad_json", f"{NAME}: values hold what is no number")
        array = np.array(values)
    # Lists of several lengths, or nested deeper than arrays are.
    except (ValueError, RecursionError) as error:
        raise Refusal("bad_json", f"{NAME}: values are no array: lists beside each other differ in length") from error
    if array.dtype.kind not in "iuf":
        raise Refusal("bad_json", f"{NAME}: values hold what is no number")
    if kind == "uint8":
        if array.dtype.kind == "f" or (array.size and (array.min() < 0 or array.max() > 255)):
            raise Refusal("bad_json", f"{NAME}: values of the type uint8 are integers in 0..255")
        return array.astype(np.uint8)
    # What float32 does not hold becomes infinite, and is refused as such.
    with np.errstate(over="ignore"):
        return array.astype(np.float32)


def _are_numbers(values: list[Any]) -> bool:
    """Whether lists hold numbers alone.

    Of texts NumPy would make an array each entry of which is as long as the longest of them.
    """
    kinds = set(map(type, values))
    if list in kinds:
        # Beside numbers they are no array, which NumPy says.
        return kinds <= {list, int, float} and all(_are_numbers(one) for one in values if type(one) is list)
    return kinds <= {int, float}


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")
