"""Another rate: the formula, loop by loop, of whole samples and of what comes piece by piece."""

import math

import numpy as np
import pytest

from cases import every
from hdlif.inputs import resampling
from hdlif.inputs.resampling import Resampler, resampled
from resource_limits import at_most


def plain(x: list[float], rate: int, to: int) -> list[float]:
    """The sum of the docstring of `hdlif.inputs.resampling`, term by term."""
    cutoff = 0.95 * min(1.0, to / rate)
    reach, y = math.ceil(16 / cutoff), []
    for m in range(math.ceil(len(x) * to / rate)):
        place = m * rate / to
        terms, weights = 0.0, 0.0
        for n in range(math.floor(place) - reach, math.floor(place) + reach + 1):
            u = (place - n) * cutoff
            if abs(u) >= 16:
                continue
            k = (math.sin(math.pi * u) / (math.pi * u) if u else 1.0) * float(np.i0(10 * math.sqrt(1 - (u / 16) ** 2)))
            terms += k * x[min(max(n, 0), len(x) - 1)]
            weights += k
        y.append(terms / weights)
    return y


@every("rate", "to", of=[(50, 20), (20, 50), (44100, 8000), (3, 7)])
def test_it_is_the_formula(rate: int, to: int) -> None:
    x = np.random.default_rng(0).normal(size=17).astype(np.float32)
    expected = plain(x.tolist(), rate, to)
    for kept in (2**21, 0):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(resampling, "_MOST_KEPT", kept)
            np.testing.assert_allclose(resampled(x, rate, to), expected, rtol=1e-6, atol=1e-6)


@every("rate", "to", of=[(50, 20), (20, 50), (44100, 8000), (7, 7)], shape=[(37,), (300, 3)])
def test_channels_blocks_and_parts_are_resampled_alike(rate: int, to: int, shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    whole = resampled(x, rate, to)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resampling, "_BLOCK", 500)
        np.testing.assert_array_equal(resampled(x, rate, to), whole)
    if len(shape) > 1:
        np.testing.assert_array_equal(resampled(x[:, 1], rate, to), whole[:, 1])
    for begin, end in ((0, 1), (0, len(whole)), (3, 5), (len(whole) - 2, len(whole))):
        np.testing.assert_array_equal(resampled(x, rate, to, begin, end), whole[begin:end], strict=True)
    assert np.shares_memory(resampled(x, rate, rate), x)


@every(
    "rate", "to", of=[(50, 20), (20, 50), (44100, 8000), (3, 7), (7, 7)], shape=[(1,), (37,), (300, 3)], size=[1, 7, 64]
)
def test_pieces_are_resampled_alike_and_at_once(rate: int, to: int, shape: tuple[int, ...], size: int) -> None:
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    coming = Resampler(rate, to)
    parts = [coming.push(x[begin : begin + size]) for begin in range(0, len(x), size)]
    rest = coming.end()
    np.testing.assert_array_equal(np.concatenate([*parts, rest]), resampled(x, rate, to), strict=True)
    # All but what depends on the values that might have followed.
    reach = 0 if rate == to else math.ceil(16 / (0.95 * min(1.0, to / rate)))
    assert len(rest) <= math.ceil(reach * to / rate)


def test_a_resampler_holds_no_more_than_its_kernel_reaches() -> None:
    coming, x = Resampler(50, 20), np.zeros((10, 3), np.float32)
    coming.push(x)
    with at_most(60_000):
        for _ in range(1000):
            coming.push(x)
