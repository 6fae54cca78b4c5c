"""Conversion of a graph's input, labels, task and time steps to and from the JSON text in model files.

Because files are untrusted, `read_statement` checks the type of every field, and `infer_values` checks ranges.
"""

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import fields
from typing import Any

from hdlif.errors import ArtefactError
from hdlif.graph.graph import Graph, InputRecord, SoundRecord, TaskRecord

MAX_DIGITS = 1000
"""Largest number of digits of an integer in JSON; parsing time grows with its square."""
_DAMAGED = "the file is damaged, export it again"
_OPTIONAL_INPUT = ("binning", "columns", "fit", "frames", "rates", "sensor", "shortest", "sound", "windows")
"""Fields of the input that are omitted if they have their default values."""
_OPTIONAL_TASK = ("overlap", "strides")
"""Fields of the task that are omitted if they have their default values."""
_FLOATS = ("highest_hz", "lowest_hz", "mean", "overlap", "std", "threshold")
"""Fields whose numbers may have fractions."""
_Reader = Callable[[str, object], Any]
"""Function (place, value) that checks the type of a field."""


def statement(graph: Graph) -> str:
    """Return a graph's input, labels, task and time steps as JSON text.

    Args:
        graph: as in `dumps`.
    """
    said = fields_of(graph)
    return json.dumps(said, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def read_statement(text: str) -> tuple[InputRecord, tuple[str, ...], TaskRecord, int]:
    """Parse the text that `statement` returns; raise `ArtefactError` if any field has an invalid type.

    Args:
        text: the result of `statement`.
    """
    record = _object("statement", _parse("statement", text.encode(errors="replace")))
    _keys("statement", record, tuple(sorted({"input", "labels", "time_steps"} | record.keys() & {"task"})))
    return read_fields(record)


def read_fields(record: Mapping[str, Any]) -> tuple[InputRecord, tuple[str, ...], TaskRecord, int]:
    """Parse input, labels, task and time steps from an object that may have additional fields."""
    return (
        InputRecord(**_read("input", record["input"], _INPUT, _OPTIONAL_INPUT)),
        _each(_string)("labels", record["labels"]),
        TaskRecord(**_read("task", record["task"], _TASK, _OPTIONAL_TASK)) if "task" in record else TaskRecord(),
        _integer("time_steps", record["time_steps"]),
    )


def fields_of(graph: Graph) -> dict[str, Any]:
    """Return a dict with a graph's input, labels, task and time steps."""
    return {
        "input": _stated(graph.input, _OPTIONAL_INPUT),
        "labels": list(graph.labels),
        **({} if graph.task == TaskRecord() else {"task": _stated(graph.task, _OPTIONAL_TASK)}),
        "time_steps": graph.time_steps,
    }


def _stated(record: InputRecord | TaskRecord | SoundRecord, optional: Collection[str] = ()) -> dict[str, Any]:
    """Return the fields of a record as JSON values, without `optional` fields that have default values."""
    found = {field.name: getattr(record, field.name) for field in fields(record)}
    return {
        key: _plain(key, value)
        for key, value in found.items()
        if key not in optional or value != getattr(type(record), key)
    }


def _plain(key: str, value: Any) -> Any:
    if isinstance(value, SoundRecord):
        return _stated(value)
    if isinstance(value, tuple | list):
        return [_plain(key, entry) for entry in value]
    return float(value) if key in _FLOATS else value


def _read(where: str, value: object, readers: Mapping[str, _Reader], optional: Collection[str] = ()) -> dict[str, Any]:
    """Parse an object that must have all fields in `readers` except for `optional` fields."""
    record = _object(where, value)
    _keys(where, record, tuple(sorted(key for key in readers if key not in optional or key in record)))
    return {key: readers[key](f"{where}.{key}", entry) for key, entry in record.items()}


def _parse(where: str, text: bytes) -> Any:
    def refuse_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({key for key, _ in pairs}) != len(pairs):
            raise ArtefactError(f"{where}: a key appears twice; {_DAMAGED}")
        return dict(pairs)

    def refuse_constant(constant: str) -> float:
        raise ArtefactError(f"{where}: {constant} is not a JSON number; {_DAMAGED}")

    def read_integer(digits: str) -> int:
        if len(digits) > MAX_DIGITS:
            raise ArtefactError(f"{where}: an integer has {len(digits)} digits, more than {MAX_DIGITS}; {_DAMAGED}")
        return int(digits)

    try:
        return json.loads(
            text.decode(),
            object_pairs_hook=refuse_duplicates,
            parse_constant=refuse_constant,
            parse_int=read_integer,
        )
    except (ValueError, RecursionError) as error:
        raise ArtefactError(f"{where} is not JSON ({error}); {_DAMAGED}") from error


def _keys(where: str, record: Mapping[str, Any], accepted: tuple[str, ...]) -> None:
    if sorted(record) != list(accepted):
        raise ArtefactError(f"{where} has the keys {sorted(record)}; they must be {list(accepted)}; {_DAMAGED}")


def _object(where: str, value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ArtefactError(f"{where} = {_short(value)}; it must be an object; {_DAMAGED}")
    return value


def _list(where: str, value: object) -> list[Any]:
    if not isinstance(value, list):
        raise ArtefactError(f"{where} = {_short(value)}; it must be a list; {_DAMAGED}")
    return value


def _string(where: str, value: object) -> str:
    # A lone surrogate is not text: it cannot be printed or encoded.
    if not isinstance(value, str) or value != value.encode(errors="ignore").decode():
        raise ArtefactError(f"{where} = {_short(value)}; it must be a string; {_DAMAGED}")
    return value


def _integer(where: str, value: object) -> int:
    if type(value) is not int or not 0 <= value < 2**63:
        raise ArtefactError(f"{where} = {_short(value)}; it must be an integer of at least 0; {_DAMAGED}")
    return value


def _integers(where: str, value: object) -> tuple[int, ...]:
    entries = _list(where, value)
    if len(entries) > 4:
        raise ArtefactError(f"{where} has {len(entries)} entries; no tensor has more than 4; {_DAMAGED}")
    return tuple(_integer(where, entry) for entry in entries)


def _number(where: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ArtefactError(f"{where} = {_short(value)}; it must be a number; {_DAMAGED}")
    return value


def _short(value: object) -> str:
    return ascii(value) if len(ascii(value)) < 80 else f"{ascii(value)[:76]}..."


def _each(read: _Reader) -> _Reader:
    """Return a reader for lists whose entries `read` parses."""
    return lambda where, value: tuple(read(where, entry) for entry in _list(where, value))


def _sizes(axes: str) -> _Reader:
    """Return a reader for lists with one integer per axis, for axes such as "H, W"."""

    def read(where: str, value: object) -> tuple[int, ...]:
        sizes = _integers(where, value)
        if len(sizes) != len(axes.split(", ")):
            raise ArtefactError(f"{where} = {list(sizes)}; it must be [{axes}]; {_DAMAGED}")
        return sizes

    return read


_SOUND: Mapping[str, _Reader] = {
    **dict.fromkeys(("rate", "samples", "every", "mels", "frame", "hop"), _integer),
    "clips": _string,
    **dict.fromkeys(("lowest_hz", "highest_hz"), _number),
}
_INPUT: Mapping[str, _Reader] = {
    **dict.fromkeys(("kind", "resize", "fit", "frames", "binning"), _string),
    **dict.fromkeys(("mean", "std"), _each(_number)),
    **dict.fromkeys(("rates", "windows"), _integers),
    "shape": _sizes("C, H, W"),
    "sensor": _sizes("H, W"),
    "columns": _each(_string),
    "sound": lambda where, value: SoundRecord(**_read(where, value, _SOUND)),
    "shortest": _integer,
}
_TASK: Mapping[str, _Reader] = {
    **dict.fromkeys(("kind", "combine"), _string),
    **dict.fromkeys(("mean", "std"), _each(_number)),
    **dict.fromkeys(("ahead", "delay"), _integer),
    **dict.fromkeys(("threshold", "overlap"), _number),
    "strides": _each(_integer),
}
