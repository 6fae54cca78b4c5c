"""Files of rows of features as the input of a deployed network."""

from collections.abc import Iterator
from pathlib import Path

from hdlif.errors import InputError, reason
from hdlif.graph.artefact import InputRecord
from hdlif.inputs import Unreadable
from hdlif.inputs.arrays import parse_array
from hdlif.inputs.series import SUFFIXES, Floats, as_sample, normalised, plain, samples
from hdlif.inputs.tables import parse_named
from hdlif.runtime.files import Given, content_of


def read_rows(path: Path | Given, record: InputRecord) -> Iterator[tuple[str, Floats]]:
    """Each row of a .csv, .parquet, .npy or .npz file as a network takes it, [1, 1, C, 1, 1], and where it stands.

    Columns are found by name where the file and the network have names, and others are passed over; they are in the
    network's order where not.

    Raises:
        InputError: the file is no table, or has other columns.
    """
    features = record.shape[0]
    takes = f"the network takes rows of {features} number{'s' * (features != 1)}"
    suffix = path.suffix.lower()
    try:
        content = content_of(path)
        if suffix in (".npy", ".npz"):
            array = parse_array(content) if suffix == ".npy" else samples(content)
            # a row alone
            rows = plain(array[None] if array.ndim == 1 else array)
            names = [f"{path}[{number}]" for number in range(len(rows))]
        else:
            table = parse_named(content, suffix, known=record.columns)
            rows, names = table.numbers, [f"{path}:{line}" for line in table.lines]
    except (OSError, Unreadable) as error:
        accepted = f"{takes}, as {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}"
        raise InputError(f"{path}: cannot be read as a table ({reason(error)}); {accepted}") from error
    if rows.shape[1] != features:
        raise InputError(f"{path}: its rows have {rows.shape[1]}, and {takes}; give those that it was trained on")
    for name, row in zip(names, rows, strict=True):
        yield name, normalised(as_sample(row[None]), record.mean, record.std)[None, None]
