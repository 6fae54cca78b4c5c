"""Files of samples in time as the input of a deployed network."""

from pathlib import Path

from hdlif.artefact import InputRecord
from hdlif.errors import InputError, reason
from hdlif.inputs import MOST_BYTES, Unreadable
from hdlif.inputs.series import Floats, parse_series, shown
from hdlif.whole_files import read_regular


def read_series(path: Path, record: InputRecord, *, time_steps: int) -> Floats:
    """The series of a .csv or .npy file as a network takes it: normalised, [T, 1, C, 1, 1].

    It is read as `hdlif.inputs.series.parse_series` says: a row a step, a column a channel.

    Args:
        time_steps: the network's.
    Raises:
        InputError: the file is no series, or has other channels, or more or fewer steps.
    """
    channels = record.shape[0]
    takes = f"the network takes {time_steps} steps (rows) of {channels} channel{'s' * (channels != 1)} (columns)"
    try:
        series = parse_series(read_regular(path, most=MOST_BYTES), path.suffix.lower())
    except (OSError, Unreadable) as error:
        raise InputError(f"{path}: cannot be read as a series ({reason(error)}); {takes}, as .csv or .npy") from error
    if series.shape != (time_steps, channels):
        seen = f"has {series.shape[0]} rows and {series.shape[1]} columns"
        raise InputError(f"{path}: {seen}, and {takes}; give those that it was trained on, in their order")
    return shown(series, record.mean, record.std)[:, None]
