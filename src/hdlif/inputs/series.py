"""Read and normalise time series from files, for training and for `hdlif run`."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdlif.inputs import Unreadable, fitting
from hdlif.inputs.arrays import parse_archive, parse_array
from hdlif.inputs.tables import parse_named

Floats = NDArray[np.float32]
SUFFIXES = (".csv", ".npy", ".npz", ".parquet")
"""Suffixes of files with time series or rows."""
ARRAYS = ("x", "y", "group", "part")
"""Names of the arrays in a data set's .npz file; the first array contains the samples."""


def windows(length: int, window: int, stride: int | None) -> range:
    """Return the start of each window; if `stride` is None, the windows are adjacent.

    >>> list(windows(10, 4, 3)), list(windows(10, 4, None)), list(windows(3, 4, 1))
    ([0, 3, 6], [0, 4], [])
    """
    return range(0, length - window + 1, stride or window)


@dataclass(frozen=True)
class Part:
    """A time series or a section of a time series.

    Attributes:
        values: float32 [T, C].
        lines: line number of each step in the file; None for an array.
        place: the part's place in the file, as text after the file's name.
    """

    values: Floats
    lines: Sequence[int] | None = None
    place: str = ""

    def windows(self, rows: int, stride: int) -> Iterator["Part"]:
        """Yield windows of `rows` rows at intervals of `stride`, or the entire time series if it fits in one window."""
        if len(self.values) <= rows:
            yield self
            return
        for begin in windows(len(self.values), rows, stride):
            end = begin + rows
            where = f"[{begin}:{end}]" if self.lines is None else f":{self.lines[begin]}-{self.lines[end - 1]}"
            yield Part(self.values[begin:end], place=self.place + where)


def parse_several(content: bytes, suffix: str, known: Sequence[str] = ()) -> list[Part]:
    """Return the time series in a file, which contains either one time series or an array of several.

    Several time series are stored as an array [N, T, C] in a .npy file, or as `x` in a .npz file. For one channel, `x`
    may be [N, T].
    """
    if suffix in (".npy", ".npz"):
        array = samples(content) if suffix == ".npz" else parse_array(content)
        if suffix == ".npz" and array.ndim == 2:
            array = array[..., None]
        if suffix == ".npz" or array.ndim == 3:
            if array.ndim != 3 or not array.size:
                raise Unreadable(
                    f"it is {array.dtype} {list(array.shape)}; expected several time series [N, steps, channels]"
                )
            return [Part(one, place=f"[{number}]") for number, one in enumerate(finite(array))]
        return [Part(plain(array))]
    table = parse_named(content, suffix, known=known)
    return [Part(table.numbers, table.lines)]


def samples(content: bytes) -> NDArray[Any]:
    """Return the array `x` in a .npz file, which may contain only arrays named in `ARRAYS`. Raises `Unreadable`."""
    found = parse_archive(content, ARRAYS)
    if ARRAYS[0] not in found:
        raise Unreadable("it has no array x")
    return parse_array(found[ARRAYS[0]])


def parse_series(content: bytes, suffix: str, known: Sequence[str] = ()) -> Floats:
    """Return the time series [T, C] in a .npy file, or in a CSV or Parquet file with one row per step.

    Args:
        known: the channels, matched by name if the file contains names.
    Raises:
        Unreadable: the file has another format, lacks a channel, or contains a value that is not a finite float32.
    """
    if suffix == ".npy":
        return plain(parse_array(content))
    return parse_named(content, suffix, known=known).numbers


def plain(array: NDArray[Any]) -> Floats:
    """Convert an array [T, C] (or [T] for one channel) to float32 [T, C]. Raises `Unreadable` for wrong shapes."""
    if array.ndim not in (1, 2) or not array.size:
        raise Unreadable(f"it is {array.dtype} {list(array.shape)}; expected a time series [steps, channels]")
    return finite(array if array.ndim == 2 else array[:, None])


def finite(array: NDArray[Any]) -> Floats:
    """Convert an array of real numbers to float32. Raises `Unreadable` if a number is not finite."""
    if array.dtype.kind not in "biuf":
        raise Unreadable(f"it is {array.dtype}; expected real numbers")
    with np.errstate(over="ignore"):
        values = array.astype(np.float32)
    bad = np.argwhere(~np.isfinite(values))
    if len(bad):
        raise Unreadable(
            f"at {bad[0].tolist()} (from 0) it contains {array[tuple(bad[0])]}, which is not a finite float32"
        )
    return values


def finite_steps(array: NDArray[Any]) -> Floats:
    """Convert time series [N, T, C] or [N, T], which may end in NaN padding, to float32.

    Raises:
        Unreadable: a value before the padding is not finite, or a time series has no step.
    """
    if array.dtype.kind != "f":
        return finite(array)
    missing = np.isnan(array) if array.ndim == 2 else np.isnan(array).all(-1)
    padding = np.flip(np.logical_and.accumulate(np.flip(missing, 1), axis=1), 1)
    if padding[:, :1].any():
        raise Unreadable(f"series {int(padding[:, 0].argmax())} (from 0) contains only NaN")
    values = finite(np.where(padding if array.ndim == 2 else padding[..., None], 0, array))
    values[padding] = np.nan
    return values


def own_steps(series: Floats) -> Floats:
    """Return a time series [T, C] without padding."""
    return series[~np.isnan(series[:, 0])]


def as_sample(series: Floats) -> Floats:
    """Convert time series [T, C] or [..., T, C] to samples [..., C, T, 1]."""
    return np.ascontiguousarray(np.swapaxes(series, -1, -2)[..., None])


def normalised(samples: Floats, mean: Sequence[float], std: Sequence[float]) -> Floats:
    """Return (sample - mean) / std per channel for samples [..., C, T, 1], with every operation in float32."""
    return fitting.normalised(samples, mean, std, whole=1)


def shown(series: Floats, mean: Sequence[float], std: Sequence[float]) -> Floats:
    """Convert a time series [T, C] to the normalised input of each step, [T, C, 1, 1]."""
    return fitting.framed(normalised(as_sample(series), mean, std), "rows")
