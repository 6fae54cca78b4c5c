"""From a file of samples in time to what a network is shown."""

import numpy as np
import pytest

from array_files import npy
from hdlif.inputs import Unreadable, series


def test_a_step_is_shown_the_sample_of_its_time() -> None:
    # [T, C] = [[1, 10], [2, 30]]; channel 0 becomes (x - 1)/2, channel 1 (x - 10)/10.
    shown = series.shown(np.array([[1, 10], [2, 30]], np.float32), (1.0, 10.0), (2.0, 10.0))
    assert shown.shape == (2, 2, 1, 1)
    assert shown[..., 0, 0].tolist() == [[0.0, 0.0], [0.5, 2.0]]


def test_text_and_arrays_give_the_same_series() -> None:
    values = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    text = "\n".join(",".join(f"{value:.9g}" for value in row) for row in values.tolist()).encode()
    for content, suffix in ((text, ".csv"), (npy(values), ".npy"), (npy(values.astype(np.float64)), ".npy")):
        np.testing.assert_array_equal(series.parse_series(content, suffix), values)
    # One channel may lack its axis.
    assert series.parse_series(npy([1, 2, 3]), ".npy").tolist() == [[1], [2], [3]]


def test_refusals() -> None:
    for array in (
        np.zeros((2, 0)),
        np.zeros((1, 2, 3)),
        np.array([[1.0, 2], [3, np.nan]]),
        np.array([1e39]),
        np.array([1j]),
        np.array(["a"]),
    ):
        with pytest.raises(Unreadable):
            series.parse_series(npy(array), ".npy")
