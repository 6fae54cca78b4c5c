"""Resample audio and sensor data.

With r = to / from = L / M in lowest terms and c = 0.95 min(1, r), the output y_m is:

    y_m = sum_n k_m(n) x_n / sum_n k_m(n),    k_m(n) = sinc(c u) w(u c / 16),    u = m M / L - n.

The sums run over all n with |u| c < 16. The kernel k is the ideal low-pass filter with a cutoff at 0.95 times the lower
of the two Nyquist frequencies. The Kaiser window w with beta = 10 truncates the kernel after 16 zero crossings. There
are L different kernels, one per phase. Beyond the ends of x, the first or last value is repeated.
"""

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

_ZEROS, _BETA, _ROLL_OFF = 16, 10.0, 0.95
_SERIES = [(_BETA**2 / 4) ** k / math.factorial(k) ** 2 for k in range(26)]
"""Coefficients of I_0(beta sqrt(q)) in powers of q; later ones are below the rounding error of their sum at q = 1."""
_BLOCK, _MOST_KEPT = 2**16, 2**16
"""Maximum numbers of products per block and of stored kernel values; larger kernels are computed when needed."""


def resampled_length(length: int, rate: int, to: int) -> int:
    """Return the number of output values, all of which lie before the end of the last input's sampling interval.

    >>> resampled_length(100, 50, 20), resampled_length(8000, 8000, 16000), resampled_length(3, 2, 1)
    (40, 16000, 2)
    """
    return -(-length * to // rate)


def resampled(
    x: NDArray[np.float32], rate: int, to: int, begin: int = 0, end: int | None = None
) -> NDArray[np.float32]:
    """Resample values [N] or [N, C] with N > 0 from `rate` to `to` in float32.

    Args:
        begin, end: compute only the part [begin:end] of the result.
    """
    if rate == to:
        return x[begin:end]
    length = resampled_length(len(x), rate, to)
    end = length if end is None else min(end, length)
    up, down = _terms(rate, to)
    reach = _reach(up, down)
    # The part depends on x[first:last]; beyond the ends of x, the first and last values are repeated.
    first, last = begin * down // up - reach, (end - 1) * down // up + reach + 1
    part = x[max(first, 0) : last]
    around = ((max(-first, 0), max(last - len(x), 0)), *[(0, 0)] * (x.ndim - 1))
    held = np.pad(part, around, "edge").reshape(last - first, -1)
    return _values(held, first + reach, begin, end, up, down).reshape(-1, *x.shape[1:])


class Resampler:
    """A resampler for values that arrive in pieces, with outputs that are bit-identical to the result of `resampled`.

    Each output is returned as soon as all inputs for it have arrived.
    """

    def __init__(self, rate: int, to: int) -> None:
        self._rate, self._to = rate, to
        self._up, self._down = _terms(rate, to)
        self._reach = _reach(self._up, self._down)
        self._held: NDArray[np.float32] | None = None
        # Index of the first held value, in x with `reach` values before it; numbers of values received and returned.
        self._start = self._came = self._made = 0
        self._shape: tuple[int, ...] = ()

    def push(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Add the next inputs [N] or [N, C], and return any outputs [M] or [M, C] that are now complete."""
        self._shape = x.shape[1:]
        if self._rate == self._to or not len(x):
            return x
        values = x.reshape(len(x), -1)
        if self._held is None:
            self._held = np.repeat(values[:1], self._reach, axis=0)
        self._held = np.concatenate([self._held, values])
        self._came += len(x)
        # Value m depends on the indices m down // up to m down // up + 2 reach.
        whole = self._came - self._reach
        return self._up_to(max(0, -(-whole * self._up // self._down)))

    def end(self) -> NDArray[np.float32]:
        """Return the remaining outputs after the last input."""
        if self._held is None:
            return np.empty((0, *self._shape), np.float32)
        self._held = np.concatenate([self._held, np.repeat(self._held[-1:], self._reach, axis=0)])
        return self._up_to(resampled_length(self._came, self._rate, self._to))

    def _up_to(self, end: int) -> NDArray[np.float32]:
        """Return the outputs before `end` that have not been returned yet."""
        assert self._held is not None
        begin, end = self._made, max(end, self._made)
        result = _values(self._held, self._start, begin, end, self._up, self._down)
        self._made = end
        drop = min(end * self._down // self._up - self._start, len(self._held))
        self._held, self._start = self._held[drop:], self._start + drop
        return result.reshape(-1, *self._shape)


def _values(held: NDArray[np.float32], start: int, begin: int, end: int, up: int, down: int) -> NDArray[np.float32]:
    """Compute the outputs `begin` to `end` - 1 from the inputs `held` [n, C], which begin at x[start - reach]."""
    taps = 2 * _reach(up, down) + 1
    table = _table(up, down) if up * taps <= _MOST_KEPT else None
    # The sum may exceed the largest float32 if the values are near it.
    most = np.finfo(np.float32).max
    y = np.empty((end - begin, held.shape[1]), np.float32)
    step = max(1, _BLOCK // taps)
    for first in range(begin, end, step):
        places, phases = np.divmod(np.arange(first, min(first + step, end)) * down, up)
        kernels = _kernels(phases, up, down) if table is None else table[phases]
        part = held[places[0] - start : places[-1] - start + taps].T.astype(np.float64, order="C")
        for column, values in enumerate(part):
            windows = np.lib.stride_tricks.sliding_window_view(values, taps)[places - places[0]]
            sums = np.einsum("nk,nk->n", windows, kernels)
            y[first - begin : first - begin + len(places), column] = np.clip(sums, -most, most)
    return y


def _terms(rate: int, to: int) -> tuple[int, int]:
    shared = math.gcd(rate, to)
    return to // shared, rate // shared


def _reach(up: int, down: int) -> int:
    """Return the number of inputs on each side of an output that contribute to the output."""
    return math.ceil(_ZEROS / _cutoff(up, down))


def _cutoff(up: int, down: int) -> float:
    return _ROLL_OFF * min(1.0, up / down)


@lru_cache(maxsize=8)
def _table(up: int, down: int) -> NDArray[np.float64]:
    """Return the kernels for all phases between two inputs."""
    return _kernels(np.arange(up), up, down)


def _kernels(phases: NDArray[np.int64], up: int, down: int) -> NDArray[np.float64]:
    """Return kernels [phases, 2 reach + 1] with sums of 1 for outputs `phases` / `up` of an interval after an input."""
    cutoff, reach = _cutoff(up, down), _reach(up, down)
    fractions, n = phases[:, None] / up, np.arange(-reach, reach + 1)
    u = fractions - n
    # Compute sin(pi c u) as the sine of a difference; sinc is 1 at 0.
    sines = np.sin(np.pi * cutoff * fractions) * np.cos(np.pi * cutoff * n)
    sines -= np.cos(np.pi * cutoff * fractions) * np.sin(np.pi * cutoff * n)
    np.divide(sines, np.pi * cutoff * u, out=sines, where=u != 0)
    sines[u == 0] = 1
    # The window is I_0(beta sqrt(q)), a power series in q, and 0 where q is not above 0.
    q = 1 - (u * (cutoff / _ZEROS)) ** 2
    window = np.full_like(q, _SERIES[-1])
    for term in _SERIES[-2::-1]:
        window *= q
        window += term
    kernels = np.where(q > 0, sines * window, 0)
    normed: NDArray[np.float64] = kernels / kernels.sum(axis=1, keepdims=True)
    return normed
