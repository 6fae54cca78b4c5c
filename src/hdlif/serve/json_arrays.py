"""Read arrays from JSON: nested lists of numbers, or rows as objects whose keys are the column names."""

import json
from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from hdlif.errors import brief, did_you_mean, some
from hdlif.serve.refusals import Refusal

NAME = "body"
"""Name of a request's body in responses and errors."""
_MOST_NAMES = 5
_NUMBER_BYTES, _LIST_BYTES, _OBJECT_BYTES, _KEY_BYTES = 64, 128, 256, 192
"""Memory in bytes of a number (as an object, in a list and in arrays), of a list, of an object, and of a key."""


def reading_bytes(content: bytes) -> int:
    """Return the maximum number of bytes of memory that reading JSON text takes in addition to the text itself."""
    return (
        len(content)
        + _NUMBER_BYTES * (content.count(b",") + 1)
        + _LIST_BYTES * content.count(b"[")
        + _OBJECT_BYTES * content.count(b"{")
        + _KEY_BYTES * content.count(b":")
    )


def read_json(content: bytes, columns: Sequence[str]) -> NDArray[Any]:
    """Parse JSON text, and return the array as float32 or uint8.

    Args:
        columns: the names of the network's columns, if any.
    Raises:
        Refusal: the text is not JSON, is not an array, or does not have the network's columns.
    """
    try:
        found = json.loads(content, parse_constant=_refuse_constant)
    # The text is not UTF-8 or JSON, an integer has too many digits, or lists are too deep for Python.
    except (ValueError, RecursionError) as error:
        raise _bad_json(f"is not JSON ({brief(str(error))})") from error
    fields = {"values": found} if isinstance(found, list) else found
    if not isinstance(fields, dict) or not {"values"} <= fields.keys() <= {"values", "type"}:
        raise _bad_json('is neither a list nor an object with "values" and, optionally, "type"')
    values, kind = fields["values"], fields.get("type", "float32")
    if kind not in ("float32", "uint8"):
        raise _bad_json(f"type is {brief(kind)}; accepted are float32, uint8")
    if not isinstance(values, list):
        raise _bad_json(f"values are {type(values).__name__}, but must be lists of numbers")
    if kind == "float32" and values and type(values[0]) is dict:
        return _read_rows(values, columns)
    return _read_lists(values, kind)


def _read_lists(values: list[Any], kind: str) -> NDArray[Any]:
    try:
        array = np.array(values) if _are_numbers(values) else None
    # The lists have different lengths or are nested too deep for an array.
    except (ValueError, RecursionError) as error:
        raise _bad_json("values are not an array: lists at the same level differ in length") from error
    if array is None or array.dtype.kind not in "iuf":
        raise _bad_json("values contain something that is not a number")
    if kind == "uint8":
        if array.dtype.kind == "f" or (array.size and (array.min() < 0 or array.max() > 255)):
            raise _bad_json("values of type uint8 must be integers in 0..255")
        return array.astype(np.uint8)
    # Numbers beyond float32 become infinite and are rejected later.
    with np.errstate(over="ignore"):
        return array.astype(np.float32)


def _are_numbers(values: list[Any]) -> bool:
    """Return whether nested lists contain only numbers.

    If a list contained text, NumPy would convert it to an array in which each entry takes as much memory as the longest
    text.
    """
    kinds = set(map(type, values))
    if list in kinds:
        # NumPy rejects lists next to numbers.
        return kinds <= {list, int, float} and all(_are_numbers(one) for one in values if type(one) is list)
    return kinds <= {int, float}


def _read_rows(rows: list[Any], columns: Sequence[str]) -> NDArray[np.float32]:
    if not columns:
        raise Refusal(
            "input_refused", f"{NAME}: the network's columns have no names; send each row as a list of numbers"
        )
    names = set(columns)
    found = np.empty((len(rows), len(columns)), np.float32)
    for number, row in enumerate(rows):
        place = f"{NAME}[{number}]"
        if type(row) is not dict:
            raise Refusal("bad_json", f"{place}: is not an object, unlike the first row")
        if row.keys() != names:
            raise Refusal("input_refused", f"{place}: {_compare_names(row, columns)}")
        for name in columns:
            if type(row[name]) not in (int, float):
                raise Refusal("bad_json", f"{place}: {brief(name)} is {brief(row[name])}, which is not a number")
        try:
            with np.errstate(over="ignore"):
                found[number] = np.array([row[name] for name in columns], np.float64)
        except OverflowError as error:
            raise Refusal("input_refused", f"{place}: a number is too large for float32") from error
    return found


def _compare_names(row: dict[str, Any], columns: Sequence[str]) -> str:
    if unknown := [name for name in row if name not in columns]:
        return f"column {brief(unknown[0])} is unknown; {did_you_mean(unknown[0], columns)}"
    missing = [brief(name) for name in columns if name not in row]
    return f"has no {some(missing, _MOST_NAMES)}; give a number for each of the network's {len(columns)} columns"


def _bad_json(message: str) -> Refusal:
    return Refusal("bad_json", f"{NAME}: {message}")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number in JSON")
