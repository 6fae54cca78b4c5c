"""Recordings of events as the input of a deployed network."""

from pathlib import Path

from hdlif.errors import InputError, reason
from hdlif.graph.artefact import InputRecord
from hdlif.inputs import Unreadable
from hdlif.inputs.events import Events, fitted
from hdlif.inputs.fitting import Floats, normalised
from hdlif.inputs.recordings import read_recording
from hdlif.runtime.files import Given, content_of


def read_events(path: Path | Given, record: InputRecord, *, time_steps: int) -> Floats:
    """The recording of a file as a network takes it: a frame of counts for each step, [T, 1, 2, H, W].

    It is read as `hdlif.inputs.recordings.read_recording` says, and binned and resized as the record says.

    Args:
        time_steps: the network's.
    Raises:
        InputError: the file is no recording, is empty or of another sensor, or the record does not say how recordings
            become frames.
    """
    try:
        return event_frames(read_recording(_named(path), content_of(path)), record, time_steps=time_steps)
    except (OSError, Unreadable) as error:
        takes = (
            f"the network takes recordings of a sensor of {_size(record.sensor)}" if record.sensor else "give frames"
        )
        raise InputError(f"{path}: cannot be read as a recording of events ({reason(error)}); {takes}") from error


def event_frames(events: Events, record: InputRecord, *, time_steps: int) -> Floats:
    """Events as `read_events` gives those of a file; raises `Unreadable`."""
    if record.sensor is None:
        shape = ", ".join(map(str, record.shape))
        raise Unreadable(
            f"the network's file does not say how recordings become frames; give counts [T, {shape}] as .npy"
        )
    if events.sensor not in (None, record.sensor):
        raise Unreadable(f"it is of a sensor of {_size(events.sensor)}")
    frames = fitted(
        events,
        time_steps,
        binning=record.binning,
        sensor=record.sensor,
        size=record.shape[1:],
        resize=record.resize,
    )
    return normalised(frames, record.mean, record.std, whole=1)[:, None]


def _named(path: Path | Given) -> Path:
    """A path whose suffix says the format."""
    return Path(f"{path}{path.suffix}") if isinstance(path, Given) else path


def _size(sensor: tuple[int, int] | None) -> str:
    return f"{sensor[0]}x{sensor[1]}" if sensor else "unknown size"
