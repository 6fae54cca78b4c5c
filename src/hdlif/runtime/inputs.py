"""Read input files, either as complete samples or as the next steps of a sequence."""

from collections.abc import Iterator
from itertools import starmap
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from hdlif.errors import InputError, brief, reason
from hdlif.graph.artefact import InputRecord
from hdlif.inputs import Unreadable
from hdlif.inputs.arrays import parse_array, parse_records
from hdlif.inputs.events import fitted
from hdlif.inputs.fitting import normalised
from hdlif.inputs.recordings import read_recording
from hdlif.inputs.series import finite, parse_series, shown
from hdlif.runtime.files import Given, content_of
from hdlif.runtime.images import Placed, image_sequence, normalise, read_placed_image
from hdlif.runtime.series import read_rows, read_series

Floats = NDArray[np.float32]
Layout = Literal["batch", "sequence"]
"""Meaning of the first axis of an array with four axes: constant samples, or the steps of one sample."""


class Sample(NamedTuple):
    """A single input sample for a network.

    Attributes:
        name: name of the file, with the sample's index if the file contains several.
        x: input [T or 1, 1, C, H, W].
        placed: position on the input of an image, or of an array with the input's size; None for time series and
            tables.
    """

    name: str
    x: Floats
    placed: Placed | None = None


def read_inputs(
    path: Path | Given, record: InputRecord, time_steps: int, layout: Layout | None = None
) -> Iterator[Sample]:
    """Read the samples in an input file.

    Args:
        layout: layout of an array [A, C, H, W]; None infers it from the network's input, and rejects ambiguous arrays.
    Raises:
        InputError: the file cannot be read or does not fit the network, or it may be a batch or a sequence.
    """
    if layout is not None and layout not in get_args(Layout):
        raise InputError(f"layout = {brief(layout)}; choose one of {', '.join(get_args(Layout))}")
    if record.kind == "series":
        yield from starmap(Sample, read_series(path, record, time_steps=time_steps))
    elif record.kind == "table":
        yield from starmap(Sample, read_rows(path, record))
    elif record.kind == "events" and not _is_counts(path):
        yield Sample(str(path), _read_events(path, record, time_steps), Placed.whole(record))
    elif path.suffix.lower() == ".npy":
        yield from _read_array(path, record, time_steps, layout)
    else:
        yield Sample(str(path), *read_placed_image(path, record, time_steps=time_steps))


def _is_counts(path: Path | Given) -> bool:
    """Return whether a file contains an array of frames rather than individual events."""
    if path.suffix.lower() != ".npy":
        return False
    try:
        content = content_of(path)
        return parse_records(content) is None and parse_array(content).ndim != 2
    # Reading the file reports the error.
    except (OSError, Unreadable, InputError):
        return True


def _read_events(path: Path | Given, record: InputRecord, time_steps: int) -> Floats:
    """Read an event recording as event counts per step, [T, 1, 2, H, W]."""
    # The suffix determines the format.
    name = Path(f"{path}{path.suffix}") if isinstance(path, Given) else path
    try:
        events = read_recording(name, content_of(path))
        if record.sensor is None:
            shape = ", ".join(map(str, record.shape))
            raise Unreadable(
                f"the network's file has no conversion from recordings to frames; give counts [T, {shape}] as .npy"
            )
        if events.sensor not in (None, record.sensor):
            raise Unreadable(f"its sensor has {_size(events.sensor)}")
        frames = fitted(
            events,
            time_steps,
            binning=record.binning,
            sensor=record.sensor,
            size=record.shape[1:],
            resize=record.resize,
        )
    except (OSError, Unreadable) as error:
        takes = (
            f"the network takes recordings of a sensor with {_size(record.sensor)}" if record.sensor else "give frames"
        )
        raise InputError(f"{path}: cannot be read as a recording of events ({reason(error)}); {takes}") from error
    return normalised(frames, record.mean, record.std, whole=1)[:, None]


def _size(sensor: tuple[int, int] | None) -> str:
    return f"{sensor[0]}x{sensor[1]}" if sensor else "unknown size"


def _read_array(path: Path | Given, record: InputRecord, time_steps: int, layout: Layout | None) -> Iterator[Sample]:
    shape = ", ".join(map(str, record.shape))
    still = record.kind == "image" and record.frames == "constant"
    accepted = f"[{shape}], [{'N' if still else 'T'}, {shape}] or [N, T, {shape}], uint8 or float32"
    try:
        array = parse_array(content_of(path))
    except (OSError, Unreadable) as error:
        raise InputError(
            f"{path}: cannot be read as an array ({reason(error)}); write one with numpy.save; "
            f"the network takes {accepted}"
        ) from error
    fits = array.shape[-3:] == record.shape and array.ndim in (3, 4, 5)
    if array.dtype == np.uint8 and not fits and array.ndim in (2, 3):
        yield Sample(str(path), *image_sequence(array, record, str(path), time_steps=time_steps))
        return
    if array.dtype not in (np.uint8, np.float32) or not fits:
        raise InputError(f"{path}: {array.dtype} {list(array.shape)}; the network takes {accepted}")
    if not array.size or not np.isfinite(array).all():
        raise InputError(f"{path}: is empty or contains a value that is not finite; the network takes {accepted}")
    if array.ndim == 4 and layout is None:
        if still and len(array) == time_steps > 1:
            raise InputError(
                f"{path}: {list(array.shape)} is a batch of {time_steps} images or one sequence of {time_steps} time "
                'steps; choose the layout "batch" or "sequence": --layout of hdlif run, layout= of hdlif.predict, '
                "?layout= over HTTP"
            )
        layout = "batch" if still else "sequence"
    values = normalise(array, record) if array.dtype == np.uint8 else array
    if array.ndim == 3 or (array.ndim == 4 and layout == "sequence"):
        yield Sample(str(path), values.reshape(-1, 1, *record.shape), Placed.whole(record))
        return
    for number, sample in enumerate(values):
        yield Sample(f"{path}[{number}]", sample.reshape(-1, 1, *record.shape), Placed.whole(record))


def read_steps(path: Path | Given, record: InputRecord, time_steps: int) -> Floats:
    """Read a file as the next steps of a sequence, [K, 1, C, H, W].

    Time series must be at the network's rate, in arrays [C] or [K, C] ([K] for a single channel) or in .csv files.
    Audio must be in arrays of log-mel frames [K, C]. A table provides one step per row. Networks with other inputs
    accept the same files as `read_inputs`. An image provides one step, or one step per row or pixel if the network
    reads images that way. An array of frames provides one step per frame.

    Raises:
        InputError: the file cannot be read, or has another form.
    """
    if record.kind != "series":
        return np.concatenate([one.x for one in read_inputs(path, record, time_steps, "sequence")])
    channels = record.shape[0]
    try:
        content = content_of(path)
        if path.suffix.lower() == ".npy":
            array = parse_array(content)
            one = array.ndim == 1 and channels > 1
            values = finite(array[None] if one else array[:, None] if array.ndim == 1 else array)
        else:
            values = parse_series(content, path.suffix.lower(), record.columns)
        if values.ndim != 2 or values.shape[1] != channels or not values.size:
            raise Unreadable(f"it is {list(values.shape)}")
    except (OSError, Unreadable) as error:
        takes = f"[{channels}] or [K, {channels}]" if channels > 1 else "[K] or [K, 1]"
        what = "log-mel frames" if record.sound is not None else "samples"
        raise InputError(
            f"{path}: cannot be read as steps of a series ({reason(error)}); give {what} {takes}, as .csv or .npy"
        ) from error
    return shown(values, record.mean, record.std)[:, None]
