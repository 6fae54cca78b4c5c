"""Compute log-mel frames of audio clips, for training and for `hdlif run`.

On the same machine and with the same version of NumPy, training and `hdlif run` compute identical numbers.
"""

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from hdlif.graph.graph import SoundRecord
from hdlif.inputs import Unreadable
from hdlif.inputs.resampling import resampled, resampled_length
from hdlif.inputs.wav import Wave

SUFFIX = ".wav"
Floats = NDArray[np.float32]
FLOOR = 1e-8
"""Constant added to an energy before taking the logarithm: 80 dB below full-scale noise."""
_BLOCK = 2**16
"""Maximum number of samples in the frames of one transform."""


def clips(wave: Wave, record: SoundRecord) -> Iterator[tuple[float, Floats]]:
    """Yield the start time in seconds and the resampled values [record.samples] of each clip.

    Audio shorter than a clip is padded with silence at the end, or on both sides if `record.clips` is "centre". Audio
    longer than a clip yields one clip if `record.clips` is "first" or "centre". If it is "windows", a clip starts every
    `record.every` samples, as long as the clip is complete.
    """
    missing = record.samples - resampled_length(len(wave.samples), wave.rate, record.rate)
    if missing > 0:
        before = missing // 2 if record.clips == "centre" else 0
        yield 0.0, np.pad(resampled(wave.samples, wave.rate, record.rate), (before, missing - before))
        return
    starts = range(0, -missing + 1, record.every)
    if record.clips != "windows":
        starts = range((-missing // 2) if record.clips == "centre" else 0, -missing + 1, record.samples)[:1]
    clip, at = np.empty(0, np.float32), starts.start
    for start in starts:
        # For overlapping clips, resample only the new samples.
        kept = clip[start - at :]
        rest = resampled(wave.samples, wave.rate, record.rate, start + len(kept), start + record.samples)
        clip, at = np.concatenate([kept, rest]), start
        yield start / record.rate, clip


def log_mel(clip: Floats, record: SoundRecord) -> Floats:
    """Return the log-mel energies of a clip [record.samples] as float32 [T, mels] with T = `record.frames`.

    Frame t consists of the n = `record.frame` samples around the middle of hop t, multiplied by the periodic Hann
    window h. Silence is assumed beyond the ends of the clip. The energies y are computed in float64 from the Fourier
    transform X and the triangles b_m of `filter_bank`:

        y_tm = log(1e-8 + sum_k b_m(k) |X_t(k)|^2 / sum_j h_j^2)
    """
    return LogMelFrames(record).push(clip)


class LogMelFrames:
    """A converter of a clip that arrives in pieces to log-mel frames, which are bit-identical to those of `log_mel`.

    Each frame is returned as soon as all samples for it have arrived or the clip ends.
    """

    def __init__(self, record: SoundRecord) -> None:
        n, hop = record.frame, record.hop
        self._record = record
        # This contains silence before the clip, and later the samples after the last frame.
        self._held = np.zeros((n - hop) // 2 if n > hop else 0)
        self._skip = (hop - n) // 2 if n < hop else 0
        self._came = self._made = 0

    def push(self, samples: Floats) -> Floats:
        """Add the next samples [N], and return any completed frames [M, mels]. Silence follows the clip."""
        record = self._record
        n, hop = record.frame, record.hop
        self._came += len(samples)
        if self._made == record.frames:
            return np.empty((0, record.mels), np.float32)
        parts = [self._held, samples.astype(np.float64)]
        if self._came >= record.samples:
            parts.append(np.zeros(n + hop))
        held = np.concatenate(parts)
        drop = min(self._skip, len(held))
        held, self._skip = held[drop:], self._skip - drop
        count = min((len(held) - n) // hop + 1 if len(held) >= n else 0, record.frames - self._made)
        self._made += count
        drop = min(count * hop, len(held))
        self._held, self._skip = held[drop:].copy(), self._skip + count * hop - drop
        return _energies(np.lib.stride_tricks.sliding_window_view(held, n)[::hop][:count] if count else None, record)


def _energies(frames: NDArray[np.float64] | None, record: SoundRecord) -> Floats:
    """Return the log-mel energies [T, mels] of frames [T, n], or an array without rows if `frames` is None."""
    if frames is None:
        return np.empty((0, record.mels), np.float32)
    n = record.frame
    window = _hann(n)
    bank = filter_bank(record.rate, n, record.mels, record.lowest_hz, record.highest_hz)
    energies = np.empty((len(frames), record.mels))
    step = max(1, _BLOCK // n)
    for begin in range(0, len(frames), step):
        spectrum = np.fft.rfft(frames[begin : begin + step] * window)
        power = (spectrum.real**2 + spectrum.imag**2) / (window**2).sum()
        # Avoid a matrix product: its sums may depend on the number of frames and threads.
        energies[begin : begin + step] = np.einsum("tk,mk->tm", power, bank)
    result: Floats = np.log(FLOOR + energies).astype(np.float32)
    return result


@lru_cache(maxsize=8)
def _hann(n: int) -> NDArray[np.float64]:
    """Return the periodic Hann window."""
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n) / n)


@lru_cache(maxsize=8)
def filter_bank(rate: int, frame: int, mels: int, lowest_hz: float, highest_hz: float) -> NDArray[np.float64]:
    """Return triangular filters [mels, frame // 2 + 1] with a peak value of 1 over the frequencies of a frame.

    The corners of the triangles are equidistant in mel(f) = 2595 log10(1 + f / 700) between `lowest_hz` and
    `highest_hz`. Triangle m rises from corner m to corner m + 1 and falls to corner m + 2.

    Raises:
        Unreadable: a triangle contains no frequency.
    """
    ends = 2595 * np.log10(1 + np.array([lowest_hz, highest_hz]) / 700)
    corners = 700 * (10 ** (np.linspace(ends[0], ends[1], mels + 2) / 2595) - 1)
    f = np.arange(frame // 2 + 1) * rate / frame
    rising = (f - corners[:-2, None]) / np.diff(corners)[:-1, None]
    falling = (corners[2:, None] - f) / np.diff(corners)[1:, None]
    bank: NDArray[np.float64] = np.maximum(0, np.minimum(rising, falling))
    if empty := np.flatnonzero(bank.sum(axis=1) == 0).tolist():
        raise Unreadable(
            f"mels = {mels} are too many for frames of {frame} samples at {rate:,} Hz: mel {empty[0] + 1} contains no "
            "frequency; use fewer, or longer frames"
        )
    return bank
