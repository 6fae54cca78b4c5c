import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch

from hdlif.data import DataSets, by_number, by_time, digits, simulated
from hdlif.data.draws import random_bits
from hdlif.data.simulator import CONTRAST, DARK, crossings, log_intensity, simulate, trajectory


def level(values: Sequence[float]) -> np.ndarray:
    """One pixel's log intensity over time."""
    return np.array(values, float).reshape(1, -1, 1, 1)


def test_crossings_of_a_ramp_by_hand() -> None:
    # From 0 to 2.5 C in one step: at C and at 2 C; then down to 0.9 C, one C below the memory of 2 C: at C.
    events = crossings(level([0, 2.5 * CONTRAST, 0.9 * CONTRAST]))[0]
    assert events.t.tolist() == pytest.approx([1 / 2.5, 2 / 2.5, 1 + 1.5 / 1.6])
    assert events.polarity.tolist() == [1, 1, 0]


def test_events_follow_the_log_intensity_to_within_the_threshold() -> None:
    rng = np.random.default_rng(0)
    levels = rng.normal(size=(3, 9, 4, 5)).cumsum(1)
    for events, seen in zip(crossings(levels), levels, strict=True):
        assert (np.diff(events.t) >= 0).all()
        net = np.zeros((4, 5))
        np.add.at(net, (events.y, events.x), 2 * events.polarity - 1)
        assert np.abs(seen[0] + net * CONTRAST - seen[-1]).max() < CONTRAST


def test_log_intensity_of_an_image_at_rest_and_moved_by_a_pixel() -> None:
    pixels = torch.tensor([[[[0, 255, 51]]]], dtype=torch.uint8)
    seen = log_intensity(pixels, np.array([[[0.0, 0.0], [0.0, 1.0]]]))
    expected = [[math.log(v + DARK) for v in row] for row in ([0, 1, 0.2], [0, 0, 1])]
    np.testing.assert_allclose(seen[0, :, 0], expected, atol=1e-12)


def test_trajectory_is_closed_and_differs_by_image() -> None:
    places = trajectory(random_bits(np.arange(200), seed=0, epoch=0, stream=1), side=28)
    assert not places[:, 0].any()
    assert not places[:, -1].any()
    assert len(np.unique(places.round(6), axis=0)) == 200
    steps = np.linalg.norm(np.diff(places, axis=1), axis=2)
    # Every saccade has one speed.
    np.testing.assert_allclose(steps.reshape(200, 3, -1), steps.reshape(200, 3, -1)[:, :, :1].repeat(8, 2), atol=1e-9)


def events_of(*, validation: int = 50, augment: Sequence[str] = (), seed: int = 0) -> DataSets:
    return simulated(digits(validation=validation, augment=augment, seed=seed), time_steps=4, binning=by_number)


def test_set_does_not_depend_on_the_seed_the_epoch_the_order_of_reading_or_the_batch() -> None:
    one, other = events_of(), events_of(seed=1)
    other.train.set_epoch(5)
    everything = torch.arange(40)
    first, y = one.train.sequence(everything)
    backwards = torch.cat([other.train.sequence(part)[0] for part in everything.flip(0).split(7)], 1)
    assert torch.equal(first, backwards.flip(1))
    assert torch.equal(one.train.sequence(everything)[0], first)
    assert torch.equal(y, digits(validation=50, augment=(), seed=0).train.labels[:40])
    assert (first.shape, first.dtype) == ((4, 40, 2, 8, 8), torch.float32)
    assert torch.equal(first, first.round())
    # By number: the frames of a recording are equally full, but for the rest of at most 3 events.
    counts = first.sum((2, 3, 4))
    assert (counts[:3] == counts[0]).all()
    assert ((counts[3] - counts[0]) <= 3).all()


def test_frames_that_worker_processes_made_are_kept_for_the_next_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    sets = events_of(augment=("flip",))
    sets.train.workers = 2
    batches = [torch.arange(5), torch.arange(5, 12)]
    expected = list(events_of(augment=("flip",)).train.stream(batches))
    first = list(sets.train.stream(batches))

    # Were frames made anew, they would be others. Workers are forked, and so have it too.
    monkeypatch.setattr("hdlif.data.simulator.simulate", lambda pixels, bits: simulate(255 - pixels, bits))
    for made in (first, list(sets.train.stream(batches)), [sets.train.sequence(batch) for batch in batches]):
        for (x, y), (x_expected, y_expected) in zip(made, expected, strict=True):
            assert torch.equal(x, x_expected)
            assert torch.equal(y, y_expected)


def test_parts_of_a_set_move_differently() -> None:
    sets = events_of()
    image = digits(validation=50, augment=(), seed=0).train.read(torch.zeros(1).long())
    for part in sets.parts:
        part.images.values = image.clone()
    shown = [part.read(torch.zeros(1).long()) for part in sets.parts]
    assert not torch.equal(shown[0], shown[1])
    assert not torch.equal(shown[1], shown[2])


def test_samples_are_binned_as_requested_and_resized() -> None:
    base = digits(validation=50, augment=(), seed=0)
    one, two = (simulated(base, time_steps=3, binning=binning).test for binning in (by_number, by_time))
    x, y = (samples.sequence(torch.arange(5))[0] for samples in (one, two))
    assert torch.equal(x.sum(0), y.sum(0))
    assert not torch.equal(x, y)
    assert one.first(2).resized(12).sequence(torch.arange(2))[0].shape == (3, 2, 2, 12, 12)
