import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hdlif.data import Events, by_number, by_time, count_frames
from hdlif.data.samples import stepwise
from hdlif.inputs import Unreadable


def recording(n: int, *, seed: int = 0, side: int = 6) -> Events:
    rng = np.random.default_rng(seed)
    t = np.sort(rng.integers(0, 10_000, n)).astype(np.uint64)
    return Events(t, rng.integers(0, side, n), rng.integers(0, side, n), rng.integers(0, 2, n))


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


@given(st.integers(0, 300), st.integers(1, 12), st.sampled_from([by_number, by_time]))
def test_frames_hold_every_event_once(n: int, frames: int, binning) -> None:  # type: ignore[no-untyped-def]
    events = recording(n)
    counts = count_frames(events, frames, binning=binning, height=6, width=6)
    assert counts.shape == (frames, 2, 6, 6)
    assert counts.sum() == n
    plain = np.zeros_like(counts)
    for frame, x, y, p in zip(binning(events.t, frames), events.x, events.y, events.polarity, strict=True):
        plain[frame, p, y, x] += 1
    assert np.array_equal(counts, plain)


@pytest.mark.parametrize(("name", "value"), [("x", 5), ("y", 4), ("polarity", 2), ("x", -1)])
def test_event_outside_the_sensor_is_refused(name: str, value: int) -> None:
    fields = {key: np.zeros(1, np.int64) for key in ("t", "x", "y", "polarity")} | {name: np.array([value])}
    with pytest.raises(Unreadable, match=f"an event has {name} in {value}..{value}; the sensor has 0.."):
        count_frames(Events(**fields), 2, binning=by_number, height=4, width=5)


def test_stepwise_puts_time_first() -> None:
    kept = torch.arange(2 * 6 * 4 * 5).reshape(2, 6, 4, 5)
    shown = stepwise(3)(kept)
    assert shown.shape == (3, 2, 2, 4, 5)
    for t in range(3):
        for p in range(2):
            assert torch.equal(shown[t, :, p], kept[:, 2 * t + p])
