"""Read time series, audio and tables from files, as inputs of a deployed network."""

from collections.abc import Iterator
from pathlib import Path

from hdlif.errors import InputError, reason
from hdlif.graph.artefact import InputRecord
from hdlif.graph.graph import SoundRecord
from hdlif.inputs import Unreadable
from hdlif.inputs.arrays import parse_array
from hdlif.inputs.resampling import resampled, resampled_length
from hdlif.inputs.series import SUFFIXES, Floats, as_sample, normalised, parse_several, plain, samples, shown
from hdlif.inputs.sounds import clips, log_mel
from hdlif.inputs.tables import FILL_IN, parse_named
from hdlif.inputs.wav import parse_wave
from hdlif.runtime.files import Given, content_of


def read_series(path: Path | Given, record: InputRecord, *, time_steps: int) -> Iterator[tuple[str, Floats]]:
    """Yield the name and the normalised input [T, 1, C, 1, 1] of each time series in a file.

    T varies between time series if the network was trained on time series of different lengths.

    A file of sensor data contains one or several time series, with one row per step and one column per channel
    (`hdlif.inputs.series.parse_several`). Time series that are longer than the network's windows are cut into windows
    as in training. Rows after the last complete window are omitted. Time series are resampled if the training data were
    resampled. An audio file provides a single time series, or one per window if the network was trained on windows.

    Args:
        time_steps: T of the network.
    Raises:
        InputError: the file is not a time series, or has other channels or steps.
    """
    if record.sound is not None:
        yield from _of_sound(path, record, record.sound)
        return
    channels = record.shape[0]
    fewest = record.shortest or time_steps
    number = f"{fewest} to {time_steps}" if fewest < time_steps else f"{time_steps}"
    takes = f"the network takes {number} steps (rows) of {channels} channel{'s' * (channels != 1)} (columns)"
    try:
        several = parse_several(content_of(path), path.suffix.lower(), record.columns)
    except (OSError, Unreadable) as error:
        accepted = f"{takes}, as {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}"
        said = reason(error)
        if path.suffix.lower() == ".csv":
            said = said.replace(FILL_IN, f"{FILL_IN}, or let it be filled with --stream FILE --gaps hold")
        raise InputError(f"{path}: cannot be read as a series ({said}); {accepted}") from error
    for whole in several:
        for part in whole.windows(*record.windows) if record.windows else (whole,):
            values, name = part.values, f"{path}{part.place}"
            steps = resampled_length(len(values), *record.rates) if record.rates else len(values)
            if not fewest <= steps <= time_steps or values.shape[1] != channels:
                seen = f"has {len(values)} rows and {values.shape[1]} columns"
                at = f", {steps} at {record.rates[1]} for {record.rates[0]}" if record.rates else ""
                fix = "give the channels that it was trained on, in the same order"
                if steps < fewest and values.shape[1] == channels:
                    fix = f"give {_rows_of(record, time_steps)}, or predict the rows so far: --stream FILE --partial"
                raise InputError(f"{name}: {seen}{at}, but {takes}; {fix}")
            values = resampled(values, *record.rates) if record.rates else values
            yield name, shown(values, record.mean, record.std)[:, None]


def _rows_of(record: InputRecord, time_steps: int) -> str:
    """Describe the number of rows that the network requires."""
    if record.windows:
        return f"at least {record.windows[0]} rows"
    rate, to = record.rates or (1, 1)
    # The fewest rows whose resampled length fits the network.
    return f"{(time_steps - 1) * rate // to + 1} rows"


def _of_sound(path: Path | Given, record: InputRecord, sound: SoundRecord) -> Iterator[tuple[str, Floats]]:
    try:
        wave = parse_wave(content_of(path))
    except (OSError, Unreadable) as error:
        raise InputError(
            f"{path}: cannot be read as a sound ({reason(error)}); the network takes .wav files"
        ) from error
    for begin, clip in clips(wave, sound):
        name = f"{path}@{begin:g}s" if sound.clips == "windows" else str(path)
        yield name, shown(log_mel(clip, sound), record.mean, record.std)[:, None]


def read_rows(path: Path | Given, record: InputRecord) -> Iterator[tuple[str, Floats]]:
    """Yield the location and the input [1, 1, C, 1, 1] of each row of a table file.

    Files may be .csv, .parquet, .npy or .npz. If both the file and the network have column names, columns are matched
    by name, and other columns are ignored. If either has no column names, the columns must be in the network's order.

    Raises:
        InputError: the file is not a table, or has other columns.
    """
    features = record.shape[0]
    takes = f"the network takes rows of {features} number{'s' * (features != 1)}"
    suffix = path.suffix.lower()
    try:
        content = content_of(path)
        if suffix in (".npy", ".npz"):
            array = parse_array(content) if suffix == ".npy" else samples(content)
            # a single row
            rows = plain(array[None] if array.ndim == 1 else array)
            names = [f"{path}[{number}]" for number in range(len(rows))]
        else:
            table = parse_named(content, suffix, known=record.columns)
            rows, names = table.numbers, [f"{path}:{line}" for line in table.lines]
    except (OSError, Unreadable) as error:
        accepted = f"{takes}, as {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}"
        raise InputError(f"{path}: cannot be read as a table ({reason(error)}); {accepted}") from error
    if rows.shape[1] != features:
        raise InputError(f"{path}: its rows have {rows.shape[1]}, but {takes}; give the columns that it was trained on")
    for name, row in zip(names, rows, strict=True):
        yield name, normalised(as_sample(row[None]), record.mean, record.std)[None, None]
