"""Frames of recordings: the same bits as ever, and of another size than the sensor's."""

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hdlif.inputs import Unreadable
from hdlif.inputs.events import BINNINGS, Events, count_frames, fitted, pooled
from recorded_events import recording

DIGESTS = {
    "by_number": "508afe407ffd8ef7e64f77e4ce70f67bc8309c36cd8dde4d69cd786e87b3c528",
    "by_time": "51cd043cf96dace03f4960022eb0a4e8813c3f46e9ed565f9de5c7e1287090a9",
}
"""Of frames as they were made when the sets that ship were the only ones."""


@pytest.mark.parametrize("binning", BINNINGS)
def test_frames_have_the_bits_that_they_always_had(binning: str) -> None:
    events = recording(5000, side=34, seed=3, length=90000)
    counts = count_frames(events, 7, binning=BINNINGS[binning], height=34, width=34)
    assert hashlib.sha256(counts.astype("<i8").tobytes()).hexdigest() == DIGESTS[binning]
    frames = fitted(events, 7, binning=binning, sensor=(34, 34), size=(34, 34), resize="none")
    assert frames.dtype == np.float32
    assert np.array_equal(frames, counts)


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 12), st.integers(1, 12))
def test_pooled_events_are_sums_of_counts(height: int, width: int, to_height: int, to_width: int) -> None:
    rng = np.random.default_rng(0)
    n = 40
    events = Events(np.arange(n), rng.integers(0, width, n), rng.integers(0, height, n), rng.integers(0, 2, n))
    whole = count_frames(events, 3, binning=BINNINGS["by_number"], height=height, width=width)
    plain = np.zeros((3, 2, to_height, to_width), np.int64)
    for y in range(height):
        for x in range(width):
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
        ([], [], [], []),
        ([3, -2], [0, 0], [0, 0], [0, 0]),
        ([3, 2], [0, 4], [0, 0], [0, 0]),
        ([3, 2], [0, 0], [0, -1], [0, 0]),
    ):
        events = Events(*(np.array(values, np.int64) for values in columns))
        with pytest.raises(Unreadable):
            fitted(events, 2, binning="by_number", sensor=(4, 4), size=(2, 2), resize="pool")


def test_events_out_of_order_give_the_frames_of_those_in_order() -> None:
    events = recording(50, side=6)
    mixed = np.random.default_rng(1).permutation(50)
    other = Events(*(getattr(events, name)[mixed] for name in ("t", "x", "y", "polarity")))
    one, two = (fitted(e, 4, binning="by_time", sensor=(6, 6), size=(3, 3), resize="pool") for e in (events, other))
    assert np.array_equal(one, two)
    assert np.array_equal(pooled(events, (6, 6), (6, 6)).x, events.x)
