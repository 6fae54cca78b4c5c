"""Input, labels and task of a graph as JSON, stored in a model file next to its nodes.

Files are not trusted: `read_statement` checks the type of every field, and `infer_values` its range.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, fields
from typing import Any

from hdlif.errors import ArtefactError
from hdlif.graph.graph import Graph, InputRecord, SoundRecord, TaskRecord

MAX_DIGITS = 1000
"""Most digits of an integer in JSON: parsing time is quadratic."""
_DAMAGED = "the file is damaged, export it again"
_OPTIONAL_INPUT = ("binning", "columns", "fit", "frames", "rates", "sensor", "shortest", "sound", "windows")
"""Fields of the input that are omitted at their defaults."""
_OPTIONAL_TASK = ("overlap", "strides")
"""Fields of the task that are omitted at their defaults."""
_HERTZ = ("lowest_hz", "highest_hz")
"""Fields of a sound that may have fractions."""


def statement(graph: Graph) -> str:
    """Return input, labels, task and time steps of a graph as JSON.

    Args:
        graph: as in `dumps`.
    """
    said = fields_of(graph)
    return json.dumps(said, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def read_statement(text: str) -> tuple[InputRecord, tuple[str, ...], TaskRecord, int]:
    """Parse the result of `statement`. Raises `ArtefactError`; `infer_values` checks ranges.

    Args:
        text: from `statement`.
    """
    record = _object("statement", _parse("statement", text.encode(errors="replace")))
    _keys("statement", record, tuple(sorted({"input", "labels", "time_steps"} | record.keys() & {"task"})))
    return read_fields(record)


def read_fields(record: Mapping[str, Any]) -> tuple[InputRecord, tuple[str, ...], TaskRecord, int]:
    """Parse the same fields from an object that may have more."""
    return (
        _read_input(record["input"]),
        tuple(_string("labels", label) for label in _list("labels", record["labels"])),
        _read_task(record["task"]) if "task" in record else TaskRecord(),
        _integer("time_steps", record["time_steps"]),
    )


def fields_of(graph: Graph) -> dict[str, Any]:
    """Return input, labels, task and time steps, by key."""
    return {
        "input": {
            "kind": graph.input.kind,
            "mean": [float(v) for v in graph.input.mean],
            "resize": graph.input.resize,
            "shape": list(graph.input.shape),
            "std": [float(v) for v in graph.input.std],
            **{key: _plain(getattr(graph.input, key)) for key in _OPTIONAL_INPUT if _differs(graph.input, key)},
        },
        "labels": list(graph.labels),
        **({} if graph.task == TaskRecord() else {"task": _task(graph.task)}),
        "time_steps": graph.time_steps,
    }


def _differs(record: InputRecord, key: str) -> bool:
    return bool(getattr(record, key) != getattr(InputRecord, key))


def _plain(value: object) -> object:
    """Return a field of the input as JSON."""
    if isinstance(value, SoundRecord):
        return {key: float(number) if key in _HERTZ else number for key, number in asdict(value).items()}
    return list(value) if isinstance(value, tuple) else value


def _read_input(value: object) -> InputRecord:
    record = _object("input", value)
    optional = {key: record[key] for key in _OPTIONAL_INPUT if key in record}
    _keys("input", record, tuple(sorted({"kind", "mean", "resize", "shape", "std", *optional})))
    shape = _integers("input.shape", record["shape"])
    mean, std = (
        tuple(_number(f"input.{key}", v) for v in _list(f"input.{key}", record[key])) for key in ("mean", "std")
    )
    if len(shape) != 3:
        raise ArtefactError(f"input.shape = {list(shape)}; it must be [C, H, W]; {_DAMAGED}")
    kind, resize = _string("input.kind", record["kind"]), _string("input.resize", record["resize"])
    said = {key: _READERS[key](f"input.{key}", value) for key, value in optional.items()}
    return InputRecord((shape[0], shape[1], shape[2]), mean, std, kind, resize, **said)


def _task(record: TaskRecord) -> dict[str, Any]:
    numbers = {key: [float(v) for v in getattr(record, key)] for key in ("mean", "std")}
    threshold = float(record.threshold)
    counts = {"ahead": record.ahead, "delay": record.delay}
    boxes = {key: _plain(getattr(record, key)) for key in _OPTIONAL_TASK}
    boxes = {key: value for key, value in boxes.items() if value != _plain(getattr(TaskRecord, key))}
    return {**counts, "combine": record.combine, "kind": record.kind, "threshold": threshold, **numbers, **boxes}


def _read_task(value: object) -> TaskRecord:
    record = _object("task", value)
    optional = {key: record[key] for key in _OPTIONAL_TASK if key in record}
    needed = {field.name for field in fields(TaskRecord)} - {*_OPTIONAL_TASK}
    _keys("task", record, tuple(sorted(needed | optional.keys())))
    mean, std = (tuple(_number(f"task.{key}", v) for v in _list(f"task.{key}", record[key])) for key in ("mean", "std"))
    kind, combine = (_string(f"task.{key}", record[key]) for key in ("kind", "combine"))
    ahead, delay = (_integer(f"task.{key}", record[key]) for key in ("ahead", "delay"))
    threshold = _number("task.threshold", record["threshold"])
    strides = tuple(_integer("task.strides", one) for one in _list("task.strides", optional.get("strides", [])))
    overlap = _number("task.overlap", optional.get("overlap", TaskRecord.overlap))
    return TaskRecord(kind, combine, delay, mean, std, ahead, threshold, strides, overlap)


def _read_names(where: str, value: object) -> tuple[str, ...]:
    return tuple(_string(where, name) for name in _list(where, value))


def _read_sound(where: str, value: object) -> SoundRecord:
    record = _object(where, value)
    _keys(where, record, tuple(sorted(field.name for field in fields(SoundRecord))))
    read: dict[str, Any] = {
        key: (_string if key == "clips" else _number if key in _HERTZ else _integer)(f"{where}.{key}", entry)
        for key, entry in record.items()
    }
    return SoundRecord(**read)


def _read_sensor(where: str, value: object) -> tuple[int, ...]:
    sides = _integers(where, value)
    if len(sides) != 2:
        raise ArtefactError(f"{where} = {list(sides)}; it must be [H, W]; {_DAMAGED}")
    return sides


_READERS: Mapping[str, Callable[[str, object], Any]] = {
    "binning": lambda where, value: _string(where, value),
    "columns": _read_names,
    "fit": lambda where, value: _string(where, value),
    "frames": lambda where, value: _string(where, value),
    "rates": lambda where, value: _integers(where, value),
    "sensor": _read_sensor,
    "shortest": lambda where, value: _integer(where, value),
    "sound": _read_sound,
    "windows": lambda where, value: _integers(where, value),
}
"""For each of `_OPTIONAL_INPUT`."""


def _parse(where: str, text: bytes) -> Any:
    def refuse_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({key for key, _ in pairs}) != len(pairs):
            raise ArtefactError(f"{where}: a key stands twice; {_DAMAGED}")
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
    # a lone surrogate is not text: it cannot be printed or encoded
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
