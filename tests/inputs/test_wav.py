"""Sounds of every form that is read, and what is refused."""

import io
import re
import struct
import wave

import numpy as np
import pytest

from hdlif.inputs import Unreadable
from hdlif.inputs.wav import parse_wave
from sound_files import tone, wav_bytes

SAMPLES = tone("low", 1, 0.01)


@pytest.mark.parametrize("extensible", [False, True])
@pytest.mark.parametrize(("form", "bits"), [(1, 8), (1, 16), (1, 24), (1, 32), (3, 32), (3, 64)])
def test_every_form_gives_the_same_sound(form: int, bits: int, extensible: bool) -> None:
    found = parse_wave(wav_bytes(SAMPLES, 11025, form=form, bits=bits, extensible=extensible))
    assert (found.rate, found.samples.dtype, len(found.samples)) == (11025, np.float32, len(SAMPLES))
    # half a step, and full scale, which is one step less than 1
    step = 1.5 * 2.0 ** (1 - bits) if form == 1 else 0
    np.testing.assert_allclose(found.samples, SAMPLES, atol=step + 1e-7)


def test_integers_are_divided_by_full_scale() -> None:
    head = wav_bytes(np.zeros(3))[:-6]
    assert parse_wave(head + struct.pack("<3h", -32768, 0, 16384)).samples.tolist() == [-1.0, 0.0, 0.5]
    # 24 bits: the sign is that of the highest byte
    head = wav_bytes(np.zeros(2), bits=24)[:-6]
    assert parse_wave(head + b"\x00\x00\x80\x00\x00\x40").samples.tolist() == [-1.0, 0.5]


def test_channels_are_mixed_to_their_mean_and_other_chunks_passed_over() -> None:
    both = np.stack([SAMPLES, -SAMPLES, SAMPLES / 2], 1)
    content = wav_bytes(both, form=3, bits=32)
    content = content[:12] + b"LIST" + struct.pack("<I", 3) + b"abc\0" + content[12:]
    np.testing.assert_allclose(parse_wave(content).samples, SAMPLES / 6, atol=1e-7)


def test_what_python_writes_is_read() -> None:
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(16000)
        out.writeframes(struct.pack("<2h", 1, -1))
    assert parse_wave(file.getvalue()).samples.tolist() == [2**-15, -(2**-15)]


GOOD = wav_bytes(SAMPLES)


def changed(offset: int, number: int, form: str = "<H") -> bytes:
    content = bytearray(GOOD)
    struct.pack_into(form, content, offset, number)
    return bytes(content)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "it is empty"),
        (b"RIFF1234AVI ", "it does not begin as a WAVE file does"),
        (b"RF64" + GOOD[4:], "it is of the form RF64; save it as plain"),
        (GOOD[:-1], "its chunk 'data' claims 160 bytes, and 159 follow; the file is cut short"),
        (GOOD[:20], "its chunk 'fmt ' claims 16 bytes, and 0 follow"),
        (GOOD[:36], "it has no chunk of samples; the file is cut short"),
        (changed(40, 2**32 - 1, "<I"), "its chunk 'data' claims 4,294,967,295 bytes, and 160 follow"),
        (wav_bytes(np.zeros(0)), "it has no sample: its length is zero"),
        (changed(20, 7), "it is mu-law of 16 bits; PCM of 8, 16, 24"),
        (changed(20, 3), "it is float of 16 bits"),
        (changed(34, 12), "it is PCM of 12 bits"),
        (changed(24, 0, "<I"), "its rate is 0 Hz; 1,000 to 384,000 are read"),
        (changed(22, 0), "it has 0 channels"),
        (changed(22, 2), "it has 2 channels of 16 bits in 2 bytes; the file is damaged"),
        (wav_bytes(np.array([0, np.nan]), form=3, bits=32), "its sample 1 (from 0) is not a finite float32"),
        (wav_bytes(np.array([1e300]), form=3, bits=64), "its sample 0 (from 0) is not a finite float32"),
        (GOOD[:12] + GOOD[36:], "its samples stand before the chunk that says what they are"),
        (GOOD[:40] + struct.pack("<I", 159) + GOOD[44:-1], "its samples take 159 bytes, no multiple of 2"),
    ],
)
def test_refusals(content: bytes, words: str) -> None:
    with pytest.raises(Unreadable, match=re.escape(words)):
        parse_wave(content)


def test_longer_sounds_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hdlif.inputs.wav.MOST_SAMPLES", 79)
    with pytest.raises(Unreadable, match="it has 80 samples, and at most 79 are read; cut it"):
        parse_wave(GOOD)
