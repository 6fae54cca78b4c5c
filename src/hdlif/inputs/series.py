"""From a file of samples in time to what a network takes of them: normalised, one time step after another.

Training on series and `hdlif run` both make their inputs here, so that both make the same numbers.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdlif.inputs import Unreadable, fitting
from hdlif.inputs.arrays import parse_array
from hdlif.inputs.tables import parse_named

Floats = NDArray[np.float32]
SUFFIXES = (".csv", ".npy", ".parquet")
"""The ends of the names of files that hold one series."""


def parse_series(content: bytes, suffix: str, known: Sequence[str] = ()) -> Floats:
    """The series [T, C] of a CSV or Parquet file, a row a step, or of a .npy file of [T, C], or [T] of one channel.

    Args:
        known: the channels, found by name where the file has names, and else taken in its order.
    Raises:
        Unreadable: it is something else, lacks a channel, or has a value that is no finite float32.
    """
    if suffix == ".npy":
        return plain(parse_array(content))
    return parse_named(content, suffix, known=known).numbers


def plain(array: NDArray[Any]) -> Floats:
    """An array [T, C], or [T] of one channel, as float32 [T, C]; raises `Unreadable`, as `parse_series`."""
    if array.ndim not in (1, 2) or not array.size:
        raise Unreadable(f"it is {array.dtype} {list(array.shape)}, and a series is [steps, channels]")
    return finite(array if array.ndim == 2 else array[:, None])


def finite(array: NDArray[Any]) -> Floats:
    """An array of any numbers as float32. Raises `Unreadable` where that is not finite, and says where."""
    if array.dtype.kind not in "biuf":
        raise Unreadable(f"it is {array.dtype}, and real numbers are read")
    with np.errstate(over="ignore"):
        values = array.astype(np.float32)
    bad = np.argwhere(~np.isfinite(values))
    if len(bad):
        raise Unreadable(f"at {bad[0].tolist()} (from 0) it holds {array[tuple(bad[0])]}, which is no finite float32")
    return values


def as_sample(series: Floats) -> Floats:
    """A series [T, C], or several [..., T, C], as whole samples [..., C, T, 1]."""
    return np.ascontiguousarray(np.swapaxes(series, -1, -2)[..., None])


def normalised(samples: Floats, mean: Sequence[float], std: Sequence[float]) -> Floats:
    """(sample - mean) / std by channel, of whole samples [..., C, T, 1], each step in float32."""
    return fitting.normalised(samples, mean, std, whole=1)


def shown(series: Floats, mean: Sequence[float], std: Sequence[float]) -> Floats:
    """What the steps are shown of a series [T, C]: [T, C, 1, 1], at step t the sample t alone."""
    return fitting.framed(normalised(as_sample(series), mean, std), "rows")
