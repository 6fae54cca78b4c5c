"""From a stream of events to frames of counts."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from hdlif.errors import DataError

Binning = Callable[[NDArray[np.number], int], NDArray[np.int64]]
"""From times [N] in ascending order and a number M of frames to the frame of each event, 0..M-1."""


@dataclass(frozen=True)
class Events:
    """A recording: one entry per event in each array [N]; polarity 1 is brighter, 0 darker."""

    t: NDArray[np.number]
    x: NDArray[np.integer]
    y: NDArray[np.integer]
    polarity: NDArray[np.integer]


def by_number(t: NDArray[np.number], frames: int) -> NDArray[np.int64]:
    """Equally many events a frame: j has the events floor(N/M)·j to floor(N/M)·(j+1), the last one also the rest.

    >>> by_number(np.arange(7), 3).tolist()
    [0, 0, 1, 1, 2, 2, 2]
    """
    share = len(t) // frames
    if share == 0:
        return np.full(len(t), frames - 1)
    return np.minimum(np.arange(len(t)) // share, frames - 1)


def by_time(t: NDArray[np.number], frames: int) -> NDArray[np.int64]:
    """Equally long frames from the first event to the last: j = floor(M·(t - t_first) / (t_last - t_first)).

    The last event itself belongs to the last frame.

    >>> by_time(np.array([10, 14, 15, 20]), 2).tolist()
    [0, 0, 1, 1]
    """
    if not len(t) or t[-1] == t[0]:
        return np.zeros(len(t), np.int64)
    # In float64, so that neither unsigned times nor their product with M wrap around.
    times = t.astype(np.float64)
    share = ((times - times[0]) * frames / (times[-1] - times[0])).astype(np.int64)
    frame: NDArray[np.int64] = np.minimum(share, frames - 1)
    return frame


def count_frames(events: Events, frames: int, *, binning: Binning, height: int, width: int) -> NDArray[np.int64]:
    """Events counted by frame, polarity and pixel: int64 [frames, 2, height, width]; their sum is N.

    Events may come in any order; those of one time stay in the order in which they came.

    Raises:
        DataError: an event lies outside the sensor.
    """
    order = np.argsort(events.t, kind="stable")
    t, x, y, p = (a[order] for a in (events.t, events.x, events.y, events.polarity))
    for name, values, extent in (("x", x, width), ("y", y, height), ("polarity", p, 2)):
        if len(values) and not 0 <= values.min() <= values.max() < extent:
            raise DataError(f"an event has {name} in {values.min()}..{values.max()}; the sensor has 0..{extent - 1}")
    cell = binning(t, frames)
    for values, extent in ((p, 2), (y, height), (x, width)):
        cell = cell * extent + values.astype(np.int64)
    return np.bincount(cell, minlength=frames * 2 * height * width).reshape(frames, 2, height, width)


def stepwise(time_steps: int) -> Callable[[Tensor], Tensor]:
    """What a network is shown of frames kept as channels: [B, T·2, H, W] to [T, B, 2, H, W]."""

    def shown(x: Tensor) -> Tensor:
        n, _, height, width = x.shape
        return x.reshape(n, time_steps, 2, height, width).transpose(0, 1)

    return shown
