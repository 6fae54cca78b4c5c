"""Sounds: every form of files that is read, their clips, and the log-mel frames of these."""

import math
import struct
from itertools import islice

import numpy as np
import pytest
from scipy import signal

from cases import every, naming
from hdlif.graph.graph import SoundRecord
from hdlif.inputs import Unreadable, sounds
from hdlif.inputs.resampling import resampled
from hdlif.inputs.sounds import LogMelFrames, clips, filter_bank, log_mel
from hdlif.inputs.wav import Wave, parse_wave
from resource_limits import at_most
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
    # A filter without a frequency.
    with pytest.raises(Unreadable, match=r"mels = 128 are too many .* mel 5 contains no frequency"):
        filter_bank(8000, 256, 128, 20.0, 4000.0)


def plain(clip: np.ndarray, record: SoundRecord) -> list[list[float]]:
    """Log-mel energies by scipy's transform and window, and NumPy's interpolation along the triangles."""
    n, rows = record.frame, []
    window = signal.get_window("hann", n)

    low, high = (2595 * math.log10(1 + f / 700) for f in (record.lowest_hz, record.highest_hz))
    corners = 700 * (10 ** (np.linspace(low, high, record.mels + 2) / 2595) - 1)
    for t in range(record.frames):
        begin = t * record.hop + record.hop // 2 - n // 2
        frame = np.array([clip[j] if 0 <= j < len(clip) else 0.0 for j in range(begin, begin + n)])
        f, power = signal.periodogram(frame * window, record.rate, detrend=False, scaling="spectrum")
        # scipy's is |X|^2 / n^2, twice that but for the ends
        power = power * n**2 / (window**2).sum()
        power[1 : -1 if n % 2 == 0 else None] /= 2
        triangles = [np.interp(f, corners[m : m + 3], [0, 1, 0]) for m in range(record.mels)]
        rows.append([math.log(1e-8 + power @ triangle) for triangle in triangles])
    return rows


RECORDS = [
    SoundRecord(8000, 1000, "first", 1000, 12, 256, 128, 20.0, 4000.0),
    SoundRecord(16000, 1500, "first", 1500, 8, 400, 160, 100.0, 7000.0),
    SoundRecord(8000, 1000, "first", 1000, 4, 101, 201, 0.0, 3000.0),
]


@every(record=RECORDS)
def test_frames_are_those_of_scipy(record: SoundRecord) -> None:
    clip = tone("low", 3, record.samples / record.rate, record.rate).astype(np.float32)
    found = log_mel(clip, record)
    assert (found.dtype, found.shape) == (np.float32, (record.frames, record.mels))
    np.testing.assert_allclose(found, plain(clip, record), rtol=1e-5, atol=1e-5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sounds, "_BLOCK", 3 * record.frame)
        np.testing.assert_array_equal(log_mel(clip, record), found)


@every(
    *("how", "count", "expected"),
    of=[
        ("first", 10, [(0.0, [0, 1, 2, 3])]),
        ("centre", 10, [(0.003, [3, 4, 5, 6])]),
        ("windows", 10, [(0.0, [0, 1, 2, 3]), (0.003, [3, 4, 5, 6]), (0.006, [6, 7, 8, 9])]),
        ("windows", 9, [(0.0, [0, 1, 2, 3]), (0.003, [3, 4, 5, 6])]),
        ("first", 2, [(0.0, [0, 1, 0, 0])]),
        ("windows", 2, [(0.0, [0, 1, 0, 0])]),
        ("centre", 3, [(0.0, [0, 1, 2, 0])]),
        ("centre", 2, [(0.0, [0, 0, 1, 0])]),
        ("centre", 4, [(0.0, [0, 1, 2, 3])]),
    ],
)
def test_longer_sounds_are_cut_and_shorter_ones_padded(how: str, count: int, expected: list[object]) -> None:
    record = SoundRecord(1000, 4, how, 3, 1, 2, 1, 0.0, 500.0)
    found = clips(Wave(1000, np.arange(count, dtype=np.float32)), record)
    assert [(begin, clip.tolist()) for begin, clip in found] == expected


@every(how=["first", "centre", "windows"])
def test_clips_at_another_rate_are_parts_of_the_resampled_sound_and_nothing_else_is_resampled(how: str) -> None:
    x = np.random.default_rng(0).normal(size=2**18).astype(np.float32)
    record = SoundRecord(8000, 400, how, 300, 1, 256, 128, 0.0, 4000.0)
    whole = resampled(x, 1000, 8000)
    with at_most(2**22):
        for begin, clip in islice(clips(Wave(1000, x), record), 5):
            at = round(begin * 8000)
            np.testing.assert_array_equal(clip, whole[at : at + 400])


@every(record=[*RECORDS, SoundRecord(8000, 1000, "first", 1000, 2, 16, 900, 0.0, 3000.0)], size=[1, 129, 700])
def test_frames_of_a_clip_in_pieces_are_made_as_soon_as_they_are_complete(record: SoundRecord, size: int) -> None:
    clip = tone("low", 3, record.samples / record.rate, record.rate).astype(np.float32)
    coming, parts, came, made = LogMelFrames(record), [], 0, 0
    while came < len(clip):
        parts.append(coming.push(clip[came : came + size]))
        came, made = min(came + size, len(clip)), made + len(parts[-1])
        # Frame t ends so many samples after the middle of its hop.
        ends = [t * record.hop - (record.frame - record.hop) // 2 + record.frame for t in range(record.frames)]
        if record.frame > record.hop:
            assert made == sum(end <= came or came == len(clip) for end in ends)
    np.testing.assert_array_equal(np.concatenate(parts), log_mel(clip, record), strict=True)
