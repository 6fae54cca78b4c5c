"""Another rate for what was measured at equal distances: sounds, and readings of sensors.

With r = to / from in lowest terms L / M and c = 0.95 min(1, r), value m of the result is

    y_m = sum_n k_m(n) x_n / sum_n k_m(n),    k_m(n) = sinc(c u) w(u c / 16),    u = m M / L - n,

over the n at which |u| c < 16: the ideal low-pass below 0.95 of the lower Nyquist frequency, cut off after 16 zeros by
Kaiser's window w with beta = 10. There are L different k, which are computed once. Beyond its ends x keeps its first
and last value. What is constant stays so, but for rounding.
"""

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

_ZEROS, _BETA, _ROLL_OFF = 16, 10.0, 0.95
_BLOCK, _MOST_KEPT = 2**20, 2**21
"""Products that are made at once, and values of kernels that are kept; of more, each is made where it is needed."""


def resampled_length(length: int, rate: int, to: int) -> int:
    """Values of the result: those at times before the end of the last value's.

    >>> resampled_length(100, 50, 20), resampled_length(8000, 8000, 16000), resampled_length(3, 2, 1)
    (40, 16000, 2)
    """
    return -(-length * to // rate)


def resampled(x: NDArray[np.float32], rate: int, to: int) -> NDArray[np.float32]:
    """The values [N] or [N, C], N > 0, at `rate`, as float32 at the rate `to`; as they are where it is the same."""
    if rate == to:
        return x
    coming = Resampler(rate, to)
    return np.concatenate([coming.push(x), coming.end()])


class Resampler:
    """`resampled` of values that come one after another, to the bit, whatever comes at once.

    A value is made as soon as those that it depends on have come, or their end; no more of them are held.

    Args:
        rate, to: as of `resampled`.
    """

    def __init__(self, rate: int, to: int) -> None:
        shared = math.gcd(rate, to)
        self._rate, self._to = rate, to
        self._up, self._down = to // shared, rate // shared
        self._reach = math.ceil(_ZEROS / _cutoff(self._up, self._down))
        self._taps = 2 * self._reach + 1
        self._held: NDArray[np.float64] | None = None
        # Place of the first value that is held, in x with `reach` values before it; values that came, and were made.
        self._start = self._came = self._made = 0
        self._shape: tuple[int, ...] = ()

    def push(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """What the next values [N] or [N, C] complete: [M] or [M, C], M >= 0."""
        self._shape = x.shape[1:]
        if self._rate == self._to or not len(x):
            return x
        values = x.astype(np.float64).reshape(len(x), -1).T
        if self._held is None:
            self._held = np.repeat(values[:, :1], self._reach, axis=1)
        self._held = np.concatenate([self._held, values], axis=1)
        self._came += len(x)
        # Value m is of places m down // up and the taps - 1 behind it.
        whole = self._came + self._reach - self._taps + 1
        return self._up_to(max(0, -(-whole * self._up // self._down)))

    def end(self) -> NDArray[np.float32]:
        """The values that are left when no more come."""
        if self._held is None:
            return np.empty((0, *self._shape), np.float32)
        self._held = np.concatenate([self._held, np.repeat(self._held[:, -1:], self._reach, axis=1)], axis=1)
        return self._up_to(resampled_length(self._came, self._rate, self._to))

    def _up_to(self, end: int) -> NDArray[np.float32]:
        """The values from the first that has not been made to `end`."""
        assert self._held is not None
        up, down, taps = self._up, self._down, self._taps
        end = max(end, self._made)
        table = _table(up, down) if up * taps <= _MOST_KEPT else None
        places = np.arange(self._made, end) * down
        y = np.empty((len(self._held), len(places)))
        step = max(1, _BLOCK // taps)
        for begin in range(0, len(places), step):
            whole, phase = np.divmod(places[begin : begin + step], up)
            kernels = _kernels(phase, up, down) if table is None else table[phase]
            for column, values in zip(y, self._held, strict=True):
                windows = np.lib.stride_tricks.sliding_window_view(values, taps)[whole - self._start]
                column[begin : begin + step] = np.einsum("nk,nk->n", windows, kernels)
        self._made = end
        drop = min(end * down // up - self._start, self._held.shape[1])
        self._held, self._start = self._held[:, drop:], self._start + drop
        # a sum of values near the largest float32 may pass it
        most = np.finfo(np.float32).max
        result: NDArray[np.float32] = np.clip(y, -most, most).T.reshape(-1, *self._shape).astype(np.float32)
        return result


def _cutoff(up: int, down: int) -> float:
    return _ROLL_OFF * min(1.0, up / down)


@lru_cache(maxsize=8)
def _table(up: int, down: int) -> NDArray[np.float64]:
    """The kernels of all places between two values."""
    return _kernels(np.arange(up), up, down)


def _kernels(phases: NDArray[np.int64], up: int, down: int) -> NDArray[np.float64]:
    """k at phases / up behind a value, [phases, 2 reach + 1], each with the sum 1."""
    cutoff = _cutoff(up, down)
    reach = math.ceil(_ZEROS / cutoff)
    u = phases[:, None] / up - np.arange(-reach, reach + 1)[None]
    inside = np.abs(u) * cutoff < _ZEROS
    window = np.i0(_BETA * np.sqrt(np.where(inside, 1 - (u * cutoff / _ZEROS) ** 2, 0)))
    kernels = np.where(inside, np.sinc(cutoff * u) * window, 0)
    normed: NDArray[np.float64] = kernels / kernels.sum(axis=1, keepdims=True)
    return normed
