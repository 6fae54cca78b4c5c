"""Read RIFF WAVE files with PCM of 8, 16, 24 or 32 bits, or with floats of 32 or 64 bits.

Python's `wave` module cannot read floats. Before Python 3.12, it also could not read the extensible format of 24-bit
files.
"""

import io
import struct
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hdlif.errors import brief
from hdlif.inputs import Unreadable

LOWEST_RATE, HIGHEST_RATE = 1000, 384_000
"""Limits of the sampling rate in Hz."""
MOST_CHANNELS = 64
MOST_SAMPLES = 2**26
"""Maximum number of samples per channel: 70 minutes at 16 kHz."""
_BLOCK, _MOST_FORMAT = 2**14, 2**16
_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_OTHERS = {2: "Microsoft ADPCM", 6: "A-law", 7: "mu-law", 17: "IMA ADPCM", 85: "MP3"}
_ACCEPTED = "PCM of 8, 16, 24 or 32 bits and floats of 32 or 64 are supported"


@dataclass(frozen=True)
class Wave:
    """Audio with a sampling rate in Hz and float32 samples [N], which range from about -1 to 1."""

    rate: int
    samples: NDArray[np.float32]


@dataclass(frozen=True)
class Format:
    """The format of audio samples, including a type code and the number of bits per value."""

    code: int
    channels: int
    rate: int
    bits: int

    @property
    def block(self) -> int:
        """The number of bytes per sample, including all channels."""
        return self.channels * self.bits // 8


PLAIN = Format(_PCM, 1, 0, 16)
"""Format of PCM without a header: one channel of 16 bits, little-endian, with a rate that is given separately."""


def parse_wave(content: bytes) -> Wave:
    """Return the samples of a .wav file, averaged over the channels; integers are divided by full scale.

    Raises:
        Unreadable: the file has another format, is compressed, cut short, beyond a limit or empty, or contains a sample
            that is not finite.
    """
    if content[:4] in (b"RIFX", b"RF64"):
        raise Unreadable(f"it is of the form {content[:4].decode()}; save it as plain RIFF WAVE, below 4 GB")
    if content[:4] != b"RIFF" or content[8:12] != b"WAVE":
        raise Unreadable("it does not begin like a WAVE file" if content else "it is empty")
    file = io.BytesIO(content)
    form, size = read_header(file.read)
    if size > (left := len(content) - (begin := file.tell())):
        raise Unreadable(
            f"its chunk 'data' should have {size:,} bytes, but {left:,} follow; the file is cut short, or was written "
            "without an end; save it again"
        )
    return Wave(form.rate, _samples(content, begin, size, form))


def read_header(up_to: Callable[[int], bytes]) -> tuple[Format, int]:
    """Read the header of a .wav file, and return the format and the stated size of the samples in bytes.

    Args:
        up_to: returns the requested number of bytes, or fewer at the end.
    Raises:
        Unreadable: the file has another format, or a chunk is cut short.
    """
    if up_to(12)[8:] != b"WAVE":
        raise Unreadable("it is a RIFF file, but not a WAVE file")
    form: Format | None = None
    while len(head := up_to(8)) == 8:
        name, size = head[:4], int.from_bytes(head[4:], "little")
        if name == b"data":
            if form is None:
                raise Unreadable("its samples come before the chunk that describes them")
            return form, size
        # A padding byte follows a chunk of odd size.
        padded = size + size % 2
        if name == b"fmt ":
            if size > _MOST_FORMAT:
                raise Unreadable(f"its format chunk has {size:,} bytes; at most {_MOST_FORMAT:,} are supported")
            form = parse_format(up_to(padded)[:size])
            continue
        while padded and (passed := len(up_to(min(padded, _BLOCK)))):
            padded -= passed
        if padded:
            raise Unreadable(f"its chunk {brief(name.decode('latin-1'))} is cut short")
    raise Unreadable("it has no chunk of samples; the file is cut short")


def parse_format(chunk: bytes) -> Format:
    """Parse the "fmt " chunk of a .wav file. Raises `Unreadable`."""
    if len(chunk) < 16:
        raise Unreadable(f"its format chunk has {len(chunk)} bytes; at least 16 are needed")
    code, channels, rate, _, block, bits = struct.unpack_from("<HHIIHH", chunk)
    if code == _EXTENSIBLE and len(chunk) >= 26:
        code = int.from_bytes(chunk[24:26], "little")
    if (code, bits) not in {(_PCM, 8), (_PCM, 16), (_PCM, 24), (_PCM, 32), (_FLOAT, 32), (_FLOAT, 64)}:
        what = _OTHERS.get(code, {_PCM: "PCM", _FLOAT: "float"}.get(code, f"of format {code}"))
        raise Unreadable(f"it is {what} of {bits} bits; {_ACCEPTED}: convert it")
    if not LOWEST_RATE <= rate <= HIGHEST_RATE:
        raise Unreadable(f"its rate is {rate:,} Hz; {LOWEST_RATE:,} to {HIGHEST_RATE:,} are supported")
    if not 1 <= channels <= MOST_CHANNELS or block != channels * bits // 8:
        raise Unreadable(f"it has {channels} channels of {bits} bits in {block} bytes; the file is damaged")
    return Format(code, channels, rate, bits)


def _samples(content: bytes, begin: int, size: int, form: Format) -> NDArray[np.float32]:
    count, more = divmod(size, form.block)
    if more:
        raise Unreadable(f"its samples take {size:,} bytes, not a multiple of {form.block}; it is cut short")
    if not count:
        raise Unreadable("it has no sample: its length is zero")
    if count > MOST_SAMPLES:
        raise Unreadable(f"it has {count:,} samples; at most {MOST_SAMPLES:,} are supported, so shorten it")
    return decoded(np.frombuffer(content, np.uint8, size, begin), form)


def decoded(raw: NDArray[np.uint8], form: Format, *, first: int = 0) -> NDArray[np.float32]:
    """Decode audio samples, and return their mean over the channels as float32 [N], from about -1 to 1.

    Args:
        first: the number of the first sample, for the error message.
    Raises:
        Unreadable: a sample is not finite.
    """
    samples = _scaled(raw, form)
    if not np.isfinite(samples).all():
        place = first + int(np.argmin(np.isfinite(samples))) // form.channels
        raise Unreadable(f"its sample {place:,} (from 0) is not a finite float32")
    if form.channels == 1:
        return samples
    count = len(samples) // form.channels
    # Compute in float64, in which no mean of float32 values overflows.
    mixed: NDArray[np.float32] = samples.reshape(count, form.channels).mean(axis=1, dtype=np.float64).astype(np.float32)
    return mixed


def _scaled(raw: NDArray[np.uint8], form: Format) -> NDArray[np.float32]:
    """Convert the bytes of audio samples to float32, where full scale corresponds to 1."""
    if form.code == _FLOAT:
        with np.errstate(over="ignore", invalid="ignore"):
            return raw.view(f"<f{form.bits // 8}").astype(np.float32)
    if form.bits == 8:
        values = raw.astype(np.float32)
        values -= np.float32(128)
    elif form.bits == 24:
        # Use the upper three of four bytes, so the sign is correct.
        wide = np.zeros((len(raw) // 3, 4), np.uint8)
        wide[:, 1:] = raw.reshape(-1, 3)
        values = (wide.reshape(-1).view("<i4") >> 8).astype(np.float32)
    else:
        values = raw.view(f"<i{form.bits // 8}").astype(np.float32)
    values /= np.float32(2 ** (form.bits - 1))
    return values
