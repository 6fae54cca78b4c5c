"""Clips of sounds, and their log-mel frames."""

import math
from itertools import islice

import numpy as np
import pytest
from scipy import signal

from cases import every
from hdlif.graph.ops.graph import SoundRecord
from hdlif.inputs import Unreadable, sounds
from hdlif.inputs.resampling import resampled
from hdlif.inputs.sounds import LogMelFrames, clips, filter_bank, log_mel
from hdlif.inputs.wav import Wave
from mutations import at_most
from sound_files import tone


def plain(clip: np.ndarray, record: SoundRecord) -> list[list[float]]:
    """Log-mel energies by scipy's transform and window, and a loop over the triangles."""
    n, rows = record.frame, []
    window = signal.get_window("hann", n)

    def hertz(mel: float) -> float:
        return 700 * (10 ** (mel / 2595) - 1)

    low, high = (2595 * math.log10(1 + f / 700) for f in (record.lowest_hz, record.highest_hz))
    corners = [hertz(low + (high - low) * i / (record.mels + 1)) for i in range(record.mels + 2)]
    for t in range(record.frames):
        begin = t * record.hop + record.hop // 2 - n // 2
        frame = np.array([clip[j] if 0 <= j < len(clip) else 0.0 for j in range(begin, begin + n)])
        f, power = signal.periodogram(
            frame * window, record.rate, detrend=False, scaling="spectrum", return_onesided=True
        )
        # scipy's is |X|^2 / n^2, twice that but for the ends
        power = power * n**2 / (window**2).sum()
        power[1 : -1 if n % 2 == 0 else None] /= 2
        row = []
        for m in range(record.mels):
            a, b, c = corners[m : m + 3]
            total = 0.0
            for hz, value in zip(f, power, strict=True):
                total += value * max(0.0, min((hz - a) / (b - a), (c - hz) / (c - b)))
            row.append(math.log(1e-8 + total))
        rows.append(row)
    return rows


RECORDS = [
    SoundRecord(8000, 1000, "first", 1000, 12, 256, 128, 20.0, 4000.0),
    SoundRecord(16000, 1500, "first", 1500, 8, 400, 160, 100.0, 7000.0),
    SoundRecord(8000, 1000, "first", 1000, 4, 101, 201, 0.0, 3000.0),
]


@every(record=RECORDS)
def test_frames_are_those_of_scipy_and_a_loop(record: SoundRecord) -> None:
    clip = tone("low", 3, record.samples / record.rate, record.rate).astype(np.float32)
    found = log_mel(clip, record)
    assert (found.dtype, found.shape) == (np.float32, (record.frames, record.mels))
    np.testing.assert_allclose(found, plain(clip, record), rtol=1e-5, atol=1e-5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sounds, "_BLOCK", 3 * record.frame)
        np.testing.assert_array_equal(log_mel(clip, record), found)


def test_filters_without_a_frequency_are_refused() -> None:
    with pytest.raises(Unreadable, match=r"mels = 128 are too many .* number 5 has"):
        filter_bank(8000, 256, 128, 20.0, 4000.0)


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
        # Frame t ends so many samples behind the middle of its hop.
        ends = [t * record.hop - (record.frame - record.hop) // 2 + record.frame for t in range(record.frames)]
        if record.frame > record.hop:
            assert made == sum(end <= came or came == len(clip) for end in ends)
    np.testing.assert_array_equal(np.concatenate(parts), log_mel(clip, record), strict=True)
