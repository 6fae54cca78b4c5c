"""Read the user's own event-camera recordings as a data set.

hdlif reads every recording to determine its hash and sensor size. `hdlif.inputs.events` computes the frames once,
exactly as for `hdlif run`. All frames are stored as one array in ROOT/.hdlif_frames. The file name of the array
contains a digest of everything that determines the frames.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hdlif.data.augment import Augment
from hdlif.data.event_frames import EventFrames, are_written, write_frames
from hdlif.data.folders import Listed
from hdlif.data.manifest import Part, Sample
from hdlif.data.own_data import Layout, OwnData, Request, divide_files, read_files, refuse_faults
from hdlif.data.sources.pictures import MANY
from hdlif.errors import DataError, did_you_mean, reason
from hdlif.graph.graph import InputRecord
from hdlif.inputs import Unreadable
from hdlif.inputs.events import BINNINGS, Events, check_events, check_inside, fitted
from hdlif.inputs.recordings import READERS, read_recording

VERSION = 1
"""Version of the conversion to frames, increased whenever a change affects the frames."""
CACHE = ".hdlif_frames"
MOST_SIDE = 2**12
_EXACT = 2**24
"""Limit up to which counts are exact in float32."""


@dataclass(frozen=True, kw_only=True)
class OfEvents(Request):
    """Base class for requests to load event-camera recordings.

    Attributes:
        time_steps, binning: the number of frames, and a name from `BINNINGS`.
        sensor: [height, width]. The default is the size in the files, or the smallest size that contains all events.
        resize: how frames get another size. "pool" adds up the counts of merged pixels; "bilinear" resizes frames.
    """

    time_steps: int
    binning: str
    sensor: Sequence[int] | None = None
    resize: Literal["pool", "bilinear"] = "pool"

    def find_recordings(self, layout: Layout) -> OwnData:
        """Create a data set from the recordings that a `Layout` lists."""
        known, sensor = self.known, self.sensor
        if sensor is not None and (len(sensor) != 2 or not all(1 <= side <= MOST_SIDE for side in sensor)):
            raise ValueError(f"sensor = {list(sensor)} is refused; give [height, width], in 1..{MOST_SIDE}")
        if len(layout.files) > MANY:
            self.say(f"{layout.root}: scanning {len(layout.files):,} recordings")
        if self.binning not in BINNINGS:
            raise ValueError(
                f"frames = {self.binning} does not apply to events; {did_you_mean(self.binning, BINNINGS)}"
            )
        stated = (sensor[0], sensor[1]) if sensor is not None else None
        if known is not None and (stated := known.sensor) is None:
            raise DataError(
                f"{layout.root}: contains recordings, but how to convert them to the network's frames is unknown; "
                "give the training data set of the network"
            )
        seen, faults = _looked_at(layout, stated)
        refuse_faults(layout, faults, self.unreadable, "recording")
        sides = stated or _sensor(layout, seen)
        record = known or self._event_record(sides)
        hashed = {number: (one.bytes, one.sha256) for number, one in seen.items()}
        divided = divide_files(layout, hashed, faults, self, "recording")

        def samples(part: Part, augment: Augment, seed: int) -> EventFrames:
            frames = _frames(layout, record, seen, self.time_steps)
            rows, labels = np.array(divided.numbers[part], np.int64), divided.labels(part)
            return EventFrames(frames, rows, labels, time_steps=self.time_steps, augment=augment, seed=seed)

        said = _described(list(seen.values()), sides, stated is not None)
        return divided.found(record, {**divided.seen, **said}, samples)

    def _event_record(self, sensor: tuple[int, int]) -> InputRecord:
        """Return the input record for event counts without normalisation."""
        if isinstance(self.size, tuple):
            raise ValueError(f"size = {list(self.size)} applies to images; give one number, the side of square frames")
        sides = sensor if self.size is None else (self.size, self.size)
        resize = self.resize if sides != sensor else "none"
        mean, std = (0.0, 0.0), (1.0, 1.0)
        return InputRecord((2, *sides), mean, std, kind="events", resize=resize, binning=self.binning, sensor=sensor)


@dataclass(frozen=True, kw_only=True)
class Recordings(Listed, OfEvents):
    """A request to load a folder of event-camera recordings."""

    def find(self) -> OwnData:
        return self.find_recordings(self.layout(tuple(READERS), "recording"))


@dataclass(frozen=True)
class _Seen:
    """The properties of a recording, where `least` is the smallest sensor size that contains all events."""

    bytes: int
    sha256: str
    events: int
    duration: float
    ordered: bool
    sensor: tuple[int, int] | None
    least: tuple[int, int]


def _looked_at(layout: Layout, sensor: tuple[int, int] | None) -> tuple[dict[int, _Seen], dict[str, str]]:
    """Return the properties of each recording by index, and the errors for unusable recordings."""
    seen: dict[int, _Seen] = {}
    faults: dict[str, str] = {}

    def read(one: Sample, content: bytes) -> Events:
        events = read_recording(layout.root / one.name, content)
        _check(events, sensor)
        return events

    for number, _, content, sha256, events in read_files(layout, read, faults):
        t = events.t
        seen[number] = _Seen(
            len(content),
            sha256,
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
        raise Unreadable(f"its sensor is {_by(events.sensor)}; expected {_by(sensor)}")


def _by(sides: tuple[int, int] | None) -> str:
    return "x".join(map(str, sides or ()))


def _sensor(layout: Layout, seen: Mapping[int, _Seen]) -> tuple[int, int]:
    """Return the sensor size stored in the files or, if none is stored, the smallest size that contains all events.

    Raises `DataError`.
    """
    stating = {one.sensor: layout.files[number].name for number, one in seen.items() if one.sensor is not None}
    if len(stating) > 1:
        (first, file), (other, other_file) = list(stating.items())[:2]
        raise DataError(
            f"{layout.root}: {file} has a sensor of {_by(first)} and {other_file} one of {_by(other)}; give "
            "recordings of one sensor size"
        )
    least = max(one.least[0] for one in seen.values()), max(one.least[1] for one in seen.values())
    sides = next(iter(stating), None) or least
    for number, one in seen.items():
        if one.least[0] > sides[0] or one.least[1] > sides[1]:
            raise DataError(
                f"{layout.root}: {layout.files[number].name} has events up to {_by(one.least)}, but the others have a "
                f"sensor of {_by(sides)}; give recordings of one sensor size"
            )
    return sides


def _frames(layout: Layout, record: InputRecord, seen: Mapping[int, _Seen], time_steps: int) -> Path:
    """Return the path of a file with all frames [N, T·2, H, W], creating the file if necessary.

    Event counts are stored as uint16 if the frames have the sensor's size, and as float32 otherwise.
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
            out[row] = _frames_of(layout, number, one, record, time_steps)

    if not are_written(path, shape, dtype):
        write_frames(path, shape, dtype, fill)
    return path


def _frames_of(layout: Layout, number: int, one: _Seen, record: InputRecord, time_steps: int) -> NDArray[np.float32]:
    """Return the frames of a recording as float32 [T·2, H, W]."""
    file, sensor = layout.root / layout.files[number].name, record.sensor
    assert sensor is not None
    size = record.shape[1:]
    try:
        content = layout.source.encoded(number)
        if hashlib.sha256(content).hexdigest() != one.sha256:
            raise Unreadable("it has changed since it was scanned")
        events = read_recording(file, content)
        frames = fitted(events, time_steps, binning=record.binning, sensor=sensor, size=size, resize=record.resize)
        limit = np.iinfo(np.uint16).max if size == sensor else _EXACT
        if frames.max(initial=0) > limit:
            raise Unreadable(f"a pixel has {frames.max():.0f} events in a frame; at most {limit} are supported")
    except (OSError, Unreadable) as error:
        raise DataError(f"{file}: cannot be converted to frames ({reason(error)}); restore it, or remove it") from error
    return frames.reshape(-1, *size)


def _described(seen: Sequence[_Seen], sensor: tuple[int, int], given: bool) -> dict[str, Any]:
    counts = sorted(one.events for one in seen)
    durations = sorted(one.duration for one in seen)
    stated = any(one.sensor for one in seen)
    return {
        "sensor": {"size": list(sensor), "from": "data.sensor" if given else "the files" if stated else "the events"},
        "events": {"least": counts[0], "median": counts[len(counts) // 2], "most": counts[-1]},
        "durations": {"shortest": durations[0], "longest": durations[-1]},
        "out_of_order": sum(not one.ordered for one in seen),
    }
