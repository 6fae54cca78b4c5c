"""Convert event streams to frames of event counts, for training and for `hdlif run`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdlif.inputs import Unreadable

Binning = Callable[[NDArray[np.number], int], NDArray[np.int64]]
"""Maps times [N] in ascending order and a number M of frames to the frame of each event, 0..M-1."""


@dataclass(frozen=True)
class Events:
    """An event-camera recording, with one entry per event in each array [N].

    See `count_frames` for an example.

    Attributes:
        t: times in the unit of the file (microseconds in the supported formats).
        x, y: column and row of the pixel, counted from 0.
        polarity: 1 for brighter, 0 for darker.
        sensor: height and width of the sensor, if the file contains them.
    """

    t: NDArray[np.number]
    x: NDArray[np.integer]
    y: NDArray[np.integer]
    polarity: NDArray[np.integer]
    sensor: tuple[int, int] | None = None


def by_number(t: NDArray[np.number], frames: int) -> NDArray[np.int64]:
    """Divide N events equally among M frames, and assign any remaining events to the last frame.

    Frame j begins at event floor(N/M)·j.

    >>> by_number(np.arange(7), 3).tolist()
    [0, 0, 1, 1, 2, 2, 2]

    Args:
        t: sorted times of the N events.
        frames: M.
    """
    share = len(t) // frames
    if share == 0:
        return np.full(len(t), frames - 1)
    return np.minimum(np.arange(len(t)) // share, frames - 1)


def by_time(t: NDArray[np.number], frames: int) -> NDArray[np.int64]:
    """Assign events to M frames of equal duration: frame j = floor(M·(t - t_first) / (t_last - t_first)).

    An event at t_last belongs to the last frame. If all times are equal, all events belong to the first frame.

    >>> by_time(np.array([10, 14, 15, 20]), 2).tolist()
    [0, 0, 1, 1]

    Args:
        t: sorted times of the N events.
        frames: M.
    """
    if not len(t) or t[-1] == t[0]:
        return np.zeros(len(t), np.int64)
    # Compute in float64, so neither unsigned times nor their product with M wrap around.
    times = t.astype(np.float64)
    share = ((times - times[0]) * frames / (times[-1] - times[0])).astype(np.int64)
    frame: NDArray[np.int64] = np.minimum(share, frames - 1)
    return frame


BINNINGS: Mapping[str, Binning] = {"by_number": by_number, "by_time": by_time}


def count_frames(events: Events, frames: int, *, binning: Binning, height: int, width: int) -> NDArray[np.int64]:
    """Count events by frame, polarity and pixel, as int64 [frames, 2, height, width].

    Events may be in any order, and events with equal times keep their order.

    >>> import numpy as np
    >>> from hdlif.data import Events, by_time, count_frames
    >>> t, one = np.array([0, 10, 20]), np.array([1, 1, 0])
    >>> frames = count_frames(Events(t, one, one, one), 2, binning=by_time, height=2, width=2)
    >>> frames.shape, frames.sum((1, 2, 3)).tolist()
    ((2, 2, 2, 2), [1, 2])

    Args:
        events: the events of one recording.
        frames: M, the number of frames.
        binning: maps times and M to the frame of each event: `by_time` or `by_number`.
        height, width: size of the sensor.
    Raises:
        Unreadable: an event is outside the sensor.
    """
    order = np.argsort(events.t, kind="stable")
    t, x, y, p = (a[order] for a in (events.t, events.x, events.y, events.polarity))
    check_inside(events, height, width)
    cell = binning(t, frames)
    for values, extent in ((p, 2), (y, height), (x, width)):
        cell = cell * extent + values.astype(np.int64)
    return np.bincount(cell, minlength=frames * 2 * height * width).reshape(frames, 2, height, width)


def check_inside(events: Events, height: int, width: int) -> None:
    """Raise `Unreadable` if an event is outside the sensor."""
    for name, values, extent in (("x", events.x, width), ("y", events.y, height), ("polarity", events.polarity, 2)):
        if len(values) and not 0 <= values.min() <= values.max() < extent:
            raise Unreadable(f"an event has {name} in {values.min()}..{values.max()}; the sensor has 0..{extent - 1}")


def pooled(events: Events, sensor: tuple[int, int], size: tuple[int, int]) -> Events:
    """Map events at (x, y) on a sensor [H, W] to (floor(x·w / W), floor(y·h / H)) on a sensor [h, w].

    >>> pooled(Events(*map(np.array, ([0, 1], [0, 5], [3, 2], [1, 0]))), (4, 6), (2, 3)).x.tolist()
    [0, 2]
    """
    (height, width), (to_height, to_width) = sensor, size
    x, y = events.x.astype(np.int64), events.y.astype(np.int64)
    return Events(events.t, x * to_width // width, y * to_height // height, events.polarity)


def fitted(
    events: Events,
    time_steps: int,
    *,
    binning: str,
    sensor: tuple[int, int],
    size: tuple[int, int],
    resize: str,
) -> NDArray[np.float32]:
    """Convert a recording to event counts, float32 [T, 2, h, w], where `size` is [h, w].

    Args:
        binning: a name from `BINNINGS`.
        sensor: height and width of the sensor.
        resize: how counts get another size. "pool" adds them up (`pooled`); "bilinear" resizes each frame and polarity
            in float32 with antialiasing, using Pillow.
    Raises:
        Unreadable: there is no event, or an event is outside the sensor.
    """
    check_events(events)
    check_inside(events, *sensor)
    if resize == "pool" and size != sensor:
        events, sensor = pooled(events, sensor, size), size
    counts = count_frames(events, time_steps, binning=BINNINGS[binning], height=sensor[0], width=sensor[1])
    frames = counts.astype(np.float32)
    if size == sensor:
        return frames
    from PIL import Image

    maps = [
        Image.fromarray(one).resize(size[::-1], Image.Resampling[resize.upper()]) for one in frames.reshape(-1, *sensor)
    ]
    return np.stack([np.asarray(one) for one in maps]).reshape(time_steps, 2, *size)


def check_events(events: Events) -> None:
    """Raise `Unreadable` if there are no events or if a time is negative."""
    if not len(events.t):
        raise Unreadable("it contains no event")
    if (first := events.t.min()) < 0:
        raise Unreadable(f"event {int(events.t.argmin())} (from 0) has the time {first}; times are at least 0")


def of_columns(columns: Mapping[str, NDArray[Any]]) -> Events:
    """Convert arrays `t`, `x`, `y` and `p`, each [N], to events.

    Times `t` are finite numbers in any unit, and `x` and `y` are whole numbers. The polarity `p` is 1 or true for
    brighter, and 0, false or -1 for darker.

    Raises:
        Unreadable: an array has another length, type or value.
    """
    length = columns["t"].size
    for name in "txyp":
        values = columns[name]
        if values.ndim != 1 or values.dtype.kind not in "biuf":
            raise Unreadable(f"its {name} is {values.dtype} {list(values.shape)}; expected numbers [N]")
        if len(values) != length:
            raise Unreadable(
                f"it has {length:,} times but {len(values):,} values of {name}; give one of each per event"
            )
    t, p = columns["t"], _whole("p", columns["p"])
    if t.dtype.kind == "f" and not np.isfinite(t).all():
        raise Unreadable("it has a time that is not finite")
    if t.dtype.kind == "b":
        raise Unreadable("its t is bool; expected numbers")
    if len(p) and not (-1 <= p.min() <= p.max() <= 1 and not (p.min() < 0 and (p == 0).any())):
        raise Unreadable(f"its p has values in {p.min()}..{p.max()}; polarities are 0 and 1, or -1 and 1")
    return Events(t, _whole("x", columns["x"]), _whole("y", columns["y"]), np.maximum(p, 0))


def _whole(name: str, values: NDArray[Any]) -> NDArray[np.int64]:
    if values.dtype.kind == "f" and not (np.isfinite(values).all() and (values == np.rint(values)).all()):
        raise Unreadable(f"its {name} has values that are not whole numbers")
    if len(values) and not -(2**31) <= values.min() <= values.max() < 2**31:
        raise Unreadable(f"its {name} has values in {values.min()}..{values.max()}")
    return values.astype(np.int64)
