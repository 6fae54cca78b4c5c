"""Frames of recordings: their counts, of the same bits as ever, at the sensor's size or another one."""

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cases import every, naming
from hdlif.inputs import Unreadable
from hdlif.inputs.events import BINNINGS, Events, by_number, by_time, count_frames, fitted, pooled
from recorded_events import recording

DIGESTS = {
    "by_number": "508afe407ffd8ef7e64f77e4ce70f67bc8309c36cd8dde4d69cd786e87b3c528",
    "by_time": "51cd043cf96dace03f4960022eb0a4e8813c3f46e9ed565f9de5c7e1287090a9",
}
"""Of frames as they were made when the sets that ship were the only ones."""


@every(binning=list(BINNINGS))
def test_frames_have_the_bits_that_they_always_had(binning: str) -> None:
    events = recording(5000, side=34, seed=3, length=90000)
    counts = count_frames(events, 7, binning=BINNINGS[binning], height=34, width=34)
    assert hashlib.sha256(counts.astype("<i8").tobytes()).hexdigest() == DIGESTS[binning]
    frames = fitted(events, 7, binning=binning, sensor=(34, 34), size=(34, 34), resize="none")
    assert frames.dtype == np.float32
    assert np.array_equal(frames, counts)


def test_by_number_gives_the_last_frame_the_rest() -> None:
    frames = by_number(np.arange(1003), 10)
    assert np.bincount(frames).tolist() == [100] * 9 + [103]
    assert frames.tolist() == sorted(frames.tolist())


def test_by_time_cuts_the_recording_in_equal_parts() -> None:
    assert by_time(np.array([100, 109, 110, 119, 120, 130]), 3).tolist() == [0, 0, 1, 1, 2, 2]
    assert by_time(np.array([7, 7, 7]), 3).tolist() == [0, 0, 0]
    assert by_time(np.array([]), 3).tolist() == []
    # Microseconds as the cameras give them, unsigned and large.
    assert by_time(np.array([2**63, 2**63 + 2**40], np.uint64), 2).tolist() == [0, 1]


@given(st.integers(0, 300), st.integers(1, 12), st.sampled_from(list(BINNINGS)))
def test_frames_count_every_event_once(n: int, frames: int, name: str) -> None:
    events, binning = recording(n, side=6), BINNINGS[name]
    counts = count_frames(events, frames, binning=binning, height=6, width=6)
    plain = np.zeros((frames, 2, 6, 6), counts.dtype)
    for frame, x, y, p in zip(binning(events.t, frames), events.x, events.y, events.polarity, strict=True):
        plain[frame, p, y, x] += 1
    assert np.array_equal(counts, plain)


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 12), st.integers(1, 12))
def test_pooled_events_are_sums_of_counts(height: int, width: int, to_height: int, to_width: int) -> None:
    rng, n = np.random.default_rng(0), 40
    events = Events(np.arange(n), rng.integers(0, width, n), rng.integers(0, height, n), rng.integers(0, 2, n))
    whole = count_frames(events, 3, binning=by_number, height=height, width=width)
    plain = np.zeros((3, 2, to_height, to_width), np.int64)
    for y, x in np.ndindex(height, width):
        plain[:, :, y * to_height // height, x * to_width // width] += whole[:, :, y, x]
    frames = fitted(events, 3, binning="by_number", sensor=(height, width), size=(to_height, to_width), resize="pool")
    assert np.array_equal(frames, plain)


def test_bilinear_frames_keep_the_mean_of_their_counts() -> None:
    events = recording(400, side=16)
    frames = fitted(events, 2, binning="by_time", sensor=(16, 16), size=(4, 4), resize="bilinear")
    assert frames.shape == (2, 2, 4, 4)
    assert frames.sum() * 16 == pytest.approx(400, rel=0.1)


def test_recordings_that_give_no_frames_are_refused() -> None:
    for columns in (
        *(([], [], [], []), ([3, -2], [0, 0], [0, 0], [0, 0])),
        *(([3, 2], [0, x], [0, y], [0, p]) for x, y, p in ((4, 0, 0), (-1, 0, 0), (0, 4, 0), (0, -1, 0), (0, 0, 2))),
    ):
        events = Events(*(np.array(values, np.int64) for values in columns))
        with naming(columns), pytest.raises(Unreadable):
            fitted(events, 2, binning="by_number", sensor=(4, 4), size=(2, 2), resize="pool")


def test_events_out_of_order_give_the_frames_of_those_in_order() -> None:
    events = recording(50, side=6)
    mixed = np.random.default_rng(1).permutation(50)
    other = Events(*(getattr(events, name)[mixed] for name in ("t", "x", "y", "polarity")))
    one, two = (fitted(e, 4, binning="by_time", sensor=(6, 6), size=(3, 3), resize="pool") for e in (events, other))
    assert np.array_equal(one, two)
    assert np.array_equal(pooled(events, (6, 6), (6, 6)).x, events.x)
