"""Sounds of every form that is read, and what is refused."""

import struct

import numpy as np
import pytest

from cases import every, naming
from hdlif.inputs import Unreadable
from hdlif.inputs.wav import parse_wave
from sound_files import tone, wav_bytes

SAMPLES = tone("low", 1, 0.01)


@every("form", "bits", of=[(1, 8), (1, 16), (1, 24), (1, 32), (3, 32), (3, 64)], extensible=[False, True])
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


GOOD = wav_bytes(SAMPLES)


def changed(offset: int, number: int, form: str = "<H") -> bytes:
    content = bytearray(GOOD)
    struct.pack_into(form, content, offset, number)
    return bytes(content)


def test_refusals(monkeypatch: pytest.MonkeyPatch) -> None:
    for content in (
        *(b"", b"RIFF1234AVI ", b"RF64" + GOOD[4:], GOOD[:-1], GOOD[:20], GOOD[:36], GOOD[:12] + GOOD[36:]),
        *(changed(place, number) for place, number in ((20, 7), (20, 3), (34, 12), (22, 0), (22, 2))),
        *(changed(40, 2**32 - 1, "<I"), changed(24, 0, "<I"), wav_bytes(np.zeros(0))),
        *(wav_bytes(np.array([0, np.nan]), form=3, bits=32), wav_bytes(np.array([1e300]), form=3, bits=64)),
        GOOD[:40] + struct.pack("<I", 159) + GOOD[44:-1],
    ):
        with naming(content[:44]), pytest.raises(Unreadable):
            parse_wave(content)
    monkeypatch.setattr("hdlif.inputs.wav.MOST_SAMPLES", 79)
    with pytest.raises(Unreadable, match="at most 79"):
        parse_wave(GOOD)
