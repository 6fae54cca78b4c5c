"""The user's own recordings of event cameras, as a data set.

Every recording is read to hash it and to see its sensor. Its frames are made by `hdlif.inputs.events`, as `hdlif run`
does it, once, and kept in ROOT/.hdlif_frames in one array, whose name holds a digest of all that they depend on.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hdlif.data.augment import Augment
from hdlif.data.event_frames import EventFrames, are_written, write_frames
from hdlif.data.folders import files_at
from hdlif.data.manifest import Part
from hdlif.data.own_data import Layout, OwnData, Request, divide_files, own_place, refuse_faults
from hdlif.data.sources.pictures import MANY
from hdlif.data.split import shares_of
from hdlif.data.targets import Scale, Wanted
from hdlif.errors import DataError, did_you_mean, reason
from hdlif.inputs import Unreadable
from hdlif.inputs.events import BINNINGS, Events, check_events, check_inside, fitted
from hdlif.inputs.recordings import READERS, read_recording
from hdlif.ops import InputRecord

VERSION = 1
"""Of the making of frames: changed wherever other frames would come out."""
CACHE = ".hdlif_frames"
MOST_SIDE = 2**12
_EXACT = 2**24
"""Counts up to it are exact in float32."""


def find_events(
    root: Path | None,
    *,
    size: int | None,
    known: InputRecord | None,
    say: Callable[[str], None] = lambda line: None,
    time_steps: int,
    binning: str,
    path: str,
    sensor: Sequence[int] | None = None,
    resize: Literal["pool", "bilinear"] = "pool",
    unreadable: Literal["refuse", "skip"] = "refuse",
    split: Mapping[str, float | Sequence[str | int]] | None = None,
    targets: str | None = None,
    file: str | None = None,
    label: str | None = None,
    group: str | None = None,
    scale: Scale | None = None,
    values: Sequence[str] | None = None,
    labels: Sequence[str] | None = None,
) -> OwnData:
    """Look at a folder of recordings, laid out as `folders` describes, split where it is not.

    Args:
        root: the folder that a relative path starts from; the working folder by default.
        size: frames become size x size; by default they have the sensor's size.
        known: how a network that is there already takes recordings.
        say: gets a line where there are more than `MANY` files.
        time_steps, binning: how many frames a recording becomes, and how.
        sensor: its [height, width]; by default what the files state, or the least that holds all events.
        resize: of another size, "pool" adds up the counts of pixels that fall together, "bilinear" resizes frames.
        unreadable: files that are no recordings, or are damaged, are refused, or left out.
        split, targets, file, label, group, scale, values, labels: as of `find_pictures`.
    Raises:
        DataError: the folder holds no data set, files cannot be read, or a class has too few recordings.
        ValueError: a share or a size of the sensor that none can be.
    """
    wanted = Wanted(values=values, labels=labels)
    request = Request(shares_of(split), wanted, known, scale, size, say, unreadable)
    columns = {"targets": targets, "file": file, "label": label, "group": group}
    layout = files_at(own_place(root, path, "a folder of recordings"), tuple(READERS), "recording", wanted, **columns)
    return find_events_in(layout, request, time_steps=time_steps, binning=binning, sensor=sensor, resize=resize)


def find_events_in(
    layout: Layout,
    request: Request,
    *,
    time_steps: int,
    binning: str,
    sensor: Sequence[int] | None,
    resize: str,
) -> OwnData:
    """Look at recordings wherever they lie; arguments and errors as of `find_events`."""
    known = request.known
    if sensor is not None and (len(sensor) != 2 or not all(1 <= side <= MOST_SIDE for side in sensor)):
        raise ValueError(f"sensor = {list(sensor)} is refused; give [height, width], in 1..{MOST_SIDE}")
    if len(layout.files) > MANY:
        request.say(f"{layout.root}: looking at {len(layout.files):,} recordings")
    if binning not in BINNINGS:
        raise ValueError(f"frames = {binning} is not of events; {did_you_mean(binning, BINNINGS)}")
    given = (sensor[0], sensor[1]) if sensor is not None else None
    stated = given if known is None else _sensor_of(layout, known)
    seen, faults = _looked_at(layout, stated)
    refuse_faults(layout, faults, request.unreadable, "recording")
    sides = stated or _sensor(layout, seen)
    record = known or _record(sides, request.size, resize, binning)
    hashed = {number: (one.bytes, one.sha256) for number, one in seen.items()}
    divided = divide_files(layout, hashed, faults, request, "recording")

    def samples(part: Part, augment: Augment, seed: int) -> EventFrames:
        frames = _frames(layout, record, seen, time_steps)
        rows, labels = np.array(divided.numbers[part], np.int64), divided.labels(part)
        return EventFrames(frames, rows, labels, time_steps=time_steps, augment=augment, seed=seed)

    return divided.found(
        record, {**divided.seen, **_described(list(seen.values()), sides, stated is not None)}, samples
    )


@dataclass(frozen=True)
class _Seen:
    """Of a recording: its bytes, how many events it has, and how long it is; whether they are in order of time.

    `sensor` is what the file states; `least` the smallest that holds its events.
    """

    bytes: int
    sha256: str
    events: int
    duration: float
    ordered: bool
    sensor: tuple[int, int] | None
    least: tuple[int, int]


def _looked_at(layout: Layout, sensor: tuple[int, int] | None) -> tuple[dict[int, _Seen], dict[str, str]]:
    """What each recording holds, by its number, and what is wrong with those that cannot be used."""
    seen: dict[int, _Seen] = {}
    faults: dict[str, str] = {}
    for number, one in enumerate(layout.files):
        try:
            content = layout.source.encoded(number)
            events = read_recording(layout.root / one.name, content)
            _check(events, sensor)
        except (OSError, Unreadable) as error:
            faults[one.name] = reason(error)
            continue
        t = events.t
        seen[number] = _Seen(
            len(content),
            hashlib.sha256(content).hexdigest(),
            len(t),
            float(t.max()) - float(t.min()),
            bool((t[1:] >= t[:-1]).all()),
            events.sensor,
            (int(events.y.max()) + 1, int(events.x.max()) + 1),
        )
    return seen, faults


def _check(events: Events, sensor: tuple[int, int] | None) -> None:
    check_events(events)
    height, width = sensor or events.sensor or (MOST_SIDE, MOST_SIDE)
    check_inside(events, height, width)
    if sensor is not None and events.sensor not in (None, sensor):
        raise Unreadable(f"it is of a sensor of {_by(events.sensor)}, and not of {_by(sensor)}")


def _by(sides: tuple[int, int] | None) -> str:
    return "x".join(map(str, sides or ()))


def _sensor_of(layout: Layout, known: InputRecord) -> tuple[int, int]:
    """The sensor of a network's own recordings. Raises `DataError` where it is not known how they become frames."""
    if known.sensor is None:
        raise DataError(
            f"{layout.root}: is recordings, and how the network's frames were made of such is not known; give the data "
            "set that it was trained on"
        )
    return known.sensor


def _sensor(layout: Layout, seen: Mapping[int, _Seen]) -> tuple[int, int]:
    """What the files state, or the least that holds all events. Raises `DataError` where they differ."""
    stating = {one.sensor: layout.files[number].name for number, one in seen.items() if one.sensor is not None}
    if len(stating) > 1:
        (first, file), (other, other_file) = list(stating.items())[:2]
        raise DataError(
            f"{layout.root}: {file} is of a sensor of {_by(first)} and {other_file} of {_by(other)}; give "
            "recordings of one sensor"
        )
    least = max(one.least[0] for one in seen.values()), max(one.least[1] for one in seen.values())
    sides = next(iter(stating), None) or least
    for number, one in seen.items():
        if one.least[0] > sides[0] or one.least[1] > sides[1]:
            raise DataError(
                f"{layout.root}: {layout.files[number].name} has events up to {_by(one.least)}, and others are of a "
                f"sensor of {_by(sides)}; give recordings of one sensor"
            )
    return sides


def _record(sensor: tuple[int, int], size: int | None, resize: str, binning: str) -> InputRecord:
    """What a recording becomes at each step: counts, taken as they are."""
    height, width = sensor if size is None else (size, size)
    changed = (height, width) != sensor
    return InputRecord(
        (2, height, width),
        (0.0, 0.0),
        (1.0, 1.0),
        kind="events",
        resize=resize if changed else "none",
        binning=binning,
        sensor=sensor,
    )


def _frames(layout: Layout, record: InputRecord, seen: Mapping[int, _Seen], time_steps: int) -> Path:
    """The file of the frames [N, T·2, H, W] of all recordings; made where it is not there yet.

    Counts are uint16 where frames have the sensor's size, and else float32.
    """
    sensor, size = record.sensor, record.shape[1:]
    assert sensor is not None
    transform = {
        "version": VERSION,
        "time_steps": time_steps,
        "binning": record.binning,
        "sensor": sensor,
        "size": size,
        "resize": record.resize,
        "recordings": [[Path(layout.files[number].name).suffix, one.sha256] for number, one in seen.items()],
    }
    digest = hashlib.sha256(json.dumps(transform).encode()).hexdigest()
    path = layout.root / CACHE / f"{time_steps}-{record.binning}-{_by(size)}-{digest[:16]}.npy"
    shape, dtype = (len(seen), time_steps * 2, *size), np.uint16 if size == sensor else np.float32

    def fill(out: NDArray[Any]) -> None:
        for row, (number, one) in enumerate(seen.items()):
            out[row] = _frames_of(layout, number, one, record, time_steps, most=np.iinfo(np.uint16).max)

    if not are_written(path, shape, dtype):
        write_frames(path, shape, dtype, fill)
    return path


def _frames_of(
    layout: Layout, number: int, one: _Seen, record: InputRecord, time_steps: int, *, most: int
) -> NDArray[np.float32]:
    """Frames float32 [T·2, H, W] of a recording that was looked at."""
    file, sensor = layout.root / layout.files[number].name, record.sensor
    assert sensor is not None
    size = record.shape[1:]
    try:
        content = layout.source.encoded(number)
        if hashlib.sha256(content).hexdigest() != one.sha256:
            raise Unreadable("it has changed since it was looked at")
        events = read_recording(file, content)
        frames = fitted(events, time_steps, binning=record.binning, sensor=sensor, size=size, resize=record.resize)
        limit = most if size == sensor else _EXACT
        if frames.max(initial=0) > limit:
            raise Unreadable(f"a pixel has {frames.max():.0f} events in a frame, and at most {limit} are kept")
    except (OSError, Unreadable) as error:
        raise DataError(f"{file}: cannot be made frames of ({reason(error)}); put it back, or remove it") from error
    return frames.reshape(-1, *size)


def _described(seen: Sequence[_Seen], sensor: tuple[int, int], given: bool) -> dict[str, Any]:
    counts = sorted(one.events for one in seen)
    durations = sorted(one.duration for one in seen)
    stated = any(one.sensor for one in seen)
    return {
        "sensor": {
            "size": list(sensor),
            "from": "data.sensor" if given else "the files" if stated else "the events",
        },
        "events": {"least": counts[0], "median": counts[len(counts) // 2], "most": counts[-1]},
        "durations": {"shortest": durations[0], "longest": durations[-1]},
        "out_of_order": sum(not one.ordered for one in seen),
    }
