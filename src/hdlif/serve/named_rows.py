"""Rows of a series or a table as JSON objects, whose keys are the names of columns."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdlif.errors import brief, did_you_mean, some
from hdlif.serve.refusals import Refusal

MOST_NAMES = 5
"""That a refusal lists."""


def rows_by_name(rows: Sequence[dict[str, Any]], columns: Sequence[str], body: str) -> NDArray[np.float32]:
    """The numbers of rows as an array [N, columns], in the network's order.

    Args:
        rows: a row each, in which every column has a number.
        columns: the network's; none where it has no names.
        body: what the refusal calls the request's body.
    Raises:
        Refusal: the network has no names, a column is missing or unknown, or a value is no number.
    """
    if not columns:
        raise Refusal("input_refused", f"{body}: the network's columns have no names; send a list of numbers a row")
    names = set(columns)
    found = np.empty((len(rows), len(columns)), np.float32)
    for number, row in enumerate(rows):
        if type(row) is not dict:
            raise Refusal("bad_json", f"{body}[{number}]: is no object as the first row is")
        if row.keys() != names:
            raise Refusal("input_refused", f"{body}[{number}]: {_wrong(row, columns)}")
        values = [row[name] for name in columns]
        if not set(map(type, values)) <= {int, float}:
            name = next(name for name in columns if type(row[name]) not in (int, float))
            raise Refusal("bad_json", f"{body}[{number}]: {brief(name)} is {brief(row[name])}, and no number")
        try:
            # What float32 does not hold becomes infinite, and is refused as such.
            with np.errstate(over="ignore"):
                found[number] = np.array(values, np.float64)
        except OverflowError as error:
            raise Refusal("input_refused", f"{body}[{number}]: a number is too large for float32") from error
    return found


def _wrong(row: dict[str, Any], columns: Sequence[str]) -> str:
    if unknown := [name for name in row if name not in columns]:
        return f"column {brief(unknown[0])} is unknown; {did_you_mean(unknown[0], columns)}"
    missing = [brief(name) for name in columns if name not in row]
    return f"has no {some(missing, MOST_NAMES)}; give a number for each of the network's {len(columns)} columns"
