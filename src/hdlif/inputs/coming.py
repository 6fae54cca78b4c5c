"""Read rows of numbers, audio or images as they arrive from a pipe, a device or a file.

The readers hold only one block, line or image in memory at a time. Before raising `Unreadable`, the readers yield all
samples that precede the error.
"""

import math
import os
import re
import select
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from hdlif.graph.graph import InputRecord, SoundRecord
from hdlif.inputs import Unreadable, arrays, pictures
from hdlif.inputs.rows import FILL, Gaps, Lines, Rows
from hdlif.inputs.series import Floats
from hdlif.inputs.wav import PLAIN, Format, decoded, read_header

_BLOCK = 2**14
_ENDLESS = 0x7FFF0000
"""Smallest declared size that counts as unknown: programs write such sizes if they do not know the size yet."""
_OTHERS = {b"fLaC": "FLAC", b"OggS": "Ogg", b"ID3": "MP3", b"RIFX": "RIFX", b"RF64": "RF64", arrays.MAGIC: "an array"}
"""First bytes and names of file formats that would otherwise be mistaken for PCM samples."""

_IMAGE_HEADER = re.compile(rb"P([56])(?:\s+|#[^\n]*\n)+(\d{1,6})\s+(\d{1,6})\s+(\d{1,6})\s")
_LONGEST_HEADER = 1024
"""Maximum size of an image's header in bytes, including its comments."""

_LEAST_TEXT, _SOME_TEXT = 16, 64
_CHARACTERS = frozenset(b"\t\r\n") | frozenset(range(32, 127))


def _is_text(content: bytes) -> bool:
    return _CHARACTERS.issuperset(content)


class Source:
    """A reader of bytes from a file descriptor."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor, self._held, self._ended = descriptor, b"", False
        self._waits = not stat.S_ISREG(os.fstat(descriptor).st_mode)
        self._at = perf_counter()

    @property
    def since(self) -> float:
        """The time at which the current sample was read, or the current time if the source is a file."""
        return self._at if self._waits else perf_counter()

    def read(self) -> bytes:
        """Wait for bytes and return all that are available, or return an empty `bytes` at the end of the source."""
        if self._held:
            block, self._held = self._held, b""
            return block
        return self._more()

    def up_to(self, count: int) -> bytes:
        """Return the next `count` bytes, or fewer at the end of the source."""
        blocks, size = [self._held], len(self._held)
        while size < count and (block := self._more()):
            blocks.append(block)
            size += len(block)
        held = b"".join(blocks)
        self._held = held[count:]
        return held[:count]

    def is_text(self) -> bool:
        """Return whether the first bytes are plain text, which indicates a table rather than audio samples."""
        # Do not wait for more bytes than needed.
        while len(self._held) < _SOME_TEXT and _is_text(self._held) and (block := self._more()):
            self._held += block
        return len(self._held) >= _LEAST_TEXT and _is_text(self._held[:_SOME_TEXT])

    def begins(self, magic: bytes) -> bool:
        """Return whether the next bytes are `magic`, without consuming them or waiting longer than necessary."""
        while len(self._held) < len(magic) and magic.startswith(self._held) and (block := self._more()):
            self._held += block
        return self._held.startswith(magic)

    def _more(self) -> bytes:
        # A terminal would continue after the end of its input.
        if self._ended:
            return b""
        while True:
            try:
                block = os.read(self._descriptor, _BLOCK)
            except BlockingIOError:
                select.select([self._descriptor], [], [])
                continue
            self._at, self._ended = perf_counter(), not block
            return block


@dataclass(frozen=True)
class Coming:
    """Samples as they arrive.

    Attributes:
        rate: the sampling rate of audio in Hz.
        blocks: samples [N, C], or [N] for audio, with their times. Raises `Unreadable` and `OSError`.
        label: a function that returns the label of the latest row, or "".
        skipped: a function that returns the number of skipped lines.
    """

    rate: int | None
    blocks: Iterator[tuple[Floats, float]]
    label: Callable[[], str] = str
    skipped: Callable[[], int] = int


def coming(
    source: Source,
    record: InputRecord,
    *,
    gaps: str = "stop",
    skips: bool = False,
    rate: int | None = None,
    target: str | None = None,
) -> Coming:
    """Return the samples of a network's input, a time series or an audio stream, as they arrive.

    A time series is CSV text or a .npy array [T, C]. An array with one channel may have the shape [T]. Audio is 16-bit
    little-endian PCM with one channel, or a .wav file, whose header may omit the length.

    Args:
        gaps: one of `rows.GAPS`.
        skips: whether to skip lines of CSV text that are not rows of numbers.
        rate: sampling rate of audio in Hz; by default, the rate of the .wav file or of the network.
        target: the column of CSV text that contains labels.
    Raises:
        Unreadable: the first bytes indicate another format or another rate.
        OSError: the source cannot be read.
    """
    if record.sound is not None:
        return _sound(source, record.sound, rate)
    filled = Gaps(gaps, record.mean)
    if target is None and source.begins(arrays.MAGIC):
        return Coming(None, _array(source, record.shape[0], filled))
    if target is None and source.begins(b"PAR1"):
        raise Unreadable("it is a Parquet file, which cannot be streamed; give it to hdlif run without --stream")
    rows = Rows(record.columns, record.shape[0], filled, target, skips=skips)
    return Coming(None, _lines(source, rows), lambda: rows.label, lambda: rows.skipped)


def _lines(source: Source, rows: Rows) -> Iterator[tuple[Floats, float]]:
    lines = Lines()
    while block := source.read():
        for number, line in lines.push(block):
            if (row := rows.row(number, line)) is not None:
                yield row, source.since
    for number, line in lines.end():
        if (row := rows.row(number, line)) is not None:
            yield row, source.since


def _array(source: Source, channels: int, gaps: Gaps) -> Iterator[tuple[Floats, float]]:
    start = source.up_to(arrays.PREFIX)
    _, end = arrays.header_place(start)
    header = start + source.up_to(end - len(start))
    dtype, shape, fortran_order, _ = arrays.parse_header(header)
    if dtype.kind not in "biuf" or len(shape) not in (1, 2) or (shape[1] if len(shape) == 2 else 1) != channels:
        raise Unreadable(f"it is {dtype} {list(shape)}; the network takes real numbers [steps, {channels}]")
    if fortran_order and len(shape) == 2 and min(shape) > 1:
        raise Unreadable("it is in Fortran order, channel by channel; save it with numpy.ascontiguousarray")
    size, place = dtype.itemsize * channels, 0
    rest, left, more = b"", math.prod(shape) * dtype.itemsize, False

    def gap(_: int, column: int) -> str:
        return f"at [{place}, {column}] (from 0) it contains NaN; {FILL}"

    while left and (block := source.read()):
        more = len(block) > left
        block = block[:left]
        left -= len(block)
        rest += block
        whole = len(rest) // size * size
        with np.errstate(over="ignore"):
            values = np.frombuffer(rest[:whole], dtype).reshape(-1, channels).astype(np.float32)
        rest = rest[whole:]
        for row in values:
            if np.isinf(row).any():
                raise Unreadable(
                    f"at [{place}, {int(np.isinf(row).argmax())}] (from 0) it contains a value that is not a finite "
                    "float32"
                )
            yield gaps.fill(row[None], gap), source.since
            place += 1
    if left or more:
        raise Unreadable(f"its shape is {list(shape)}, but it has {'fewer' if left else 'more'} values")


def _sound(source: Source, record: SoundRecord, rate: int | None) -> Coming:
    for magic, name in _OTHERS.items():
        if source.begins(magic):
            raise Unreadable(f"it is {name}; send PCM of 16 bits, little-endian, of one channel, or a .wav file")
    if not source.begins(b"RIFF"):
        if source.is_text():
            raise Unreadable("it is text; send PCM of 16 bits, little-endian, of one channel, or a .wav file")
        own = rate or record.rate
        return Coming(own, _pcm(source, PLAIN, None, _piece(record, own)))
    form, size = read_header(source.up_to)
    if rate not in (None, form.rate):
        raise Unreadable(f"its header states {form.rate:,} Hz, but --rate is {rate:,}; leave --rate out")
    return Coming(form.rate, _pcm(source, form, None if size >= _ENDLESS else size, _piece(record, form.rate)))


def _piece(record: SoundRecord, rate: int) -> int:
    """Return the number of audio samples per block, which covers at most one time step of the network."""
    return max(1, record.hop * rate // record.rate)


def _pcm(source: Source, form: Format, size: int | None, piece: int) -> Iterator[tuple[Floats, float]]:
    left, rest, place = size, b"", 0
    while left != 0 and (block := source.read()):
        if left is not None:
            block = block[:left]
            left -= len(block)
        rest += block
        whole = len(rest) // form.block * form.block
        samples = decoded(np.frombuffer(rest[:whole], np.uint8), form, first=place)
        rest = rest[whole:]
        for begin in range(0, len(samples), piece):
            yield samples[begin : begin + piece], source.since
        place += len(samples)
    if left:
        raise Unreadable(f"its samples take {size:,} bytes, but {left:,} are missing; it is cut short")
    if rest:
        raise Unreadable(f"it ends within a sample of {form.block} bytes; is it PCM of {form.bits} bits?")


def coming_images(source: Source) -> Iterator[tuple[bytes, float]]:
    """Yield the content and time of each image as soon as the image is complete.

    The command `ffmpeg -i FILM -f image2pipe -c:v ppm -` writes a stream of PPM images.

    Raises:
        Unreadable: the input is not 8-bit binary PPM or PGM, is too large, or ends within an image.
        OSError: the source cannot be read.
    """
    while header := source.up_to(2):
        while not (found := _IMAGE_HEADER.match(header)):
            if header[:2] not in (b"P", b"P5", b"P6"):
                raise Unreadable(f"an image begins with {header[:2]!r}; PPM and PGM files begin with P6 and P5")
            if len(header) > _LONGEST_HEADER or not (more := source.up_to(1)):
                raise Unreadable("the header of an image is cut short or too long")
            header += more
        kind, width, height, whole = (int(number) for number in found.groups())
        if not 0 < whole < 256:
            raise Unreadable(f"the largest value of an image is {whole}; write 8 bits per channel")
        pictures.check_size(width, height)
        size = width * height * (3 if kind == 6 else 1)
        pixels = source.up_to(size)
        if len(pixels) < size:
            raise Unreadable(f"it ends within an image, after {len(pixels):,} of {size:,} bytes of pixels")
        yield header + pixels, source.since
