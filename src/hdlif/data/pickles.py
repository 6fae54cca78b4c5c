"""Read data in pickle files without importing or running anything that a file refers to.

`find_class` maps the few names that CIFAR's batches and tables of pandas need to stand-ins, and rejects all others.
"""

import io
import pickle
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdlif.errors import cut
from hdlif.inputs import Unreadable


@dataclass(slots=True)
class Record:
    """An object of a class that the caller expects: its name, its arguments and its state. Nothing is run."""

    name: str
    arguments: tuple[Any, ...]
    state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


@dataclass(slots=True)
class _DType:
    """A NumPy type: its code and, from its state, its byte order."""

    code: str
    order: str = "|"

    def __setstate__(self, state: Any) -> None:
        self.order = _word(state[1])


@dataclass(slots=True)
class _Array:
    """An array, filled in by its state; a list for objects."""

    values: NDArray[Any] | list[Any] | None = None

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, fortran_order, content = state
        exact = np.dtype(dtype.code).newbyteorder(dtype.order)
        if exact.hasobject != (type(content) is list):
            raise Unreadable(f"holds an array of {cut(dtype.code)} without its values")
        # NumPy compares the shape with the bytes.
        order: Any = "F" if fortran_order else "C"
        self.values = content if exact.hasobject else np.ndarray(shape, exact, content, order=order)


def _word(value: Any) -> str:
    """Decode text that Python 2 wrote as bytes."""
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


# NumPy 1 names its core differently. Python 3 encodes bytes for Python 2.
_STAND_INS: Mapping[str, Callable[..., Any] | None] = {
    "numpy._core.multiarray._reconstruct": lambda *_: _Array(),
    "numpy.dtype": lambda code, *_: _DType(_word(code)),
    "numpy.ndarray": None,
    "_codecs.encode": lambda text, _: text.encode("latin-1"),
    "__builtin__.bytes": lambda: b"",
}


# Python's unpickler: the one in C allocates as much memory as a damaged memo number demands.
class _Unpickler(pickle._Unpickler):
    def __init__(self, content: bytes, records: Collection[str]) -> None:
        super().__init__(io.BytesIO(content), fix_imports=False, encoding="bytes")
        self._records = records

    def find_class(self, module: str, name: str) -> Any:
        full = f"{module}.{name}".replace("numpy.core.", "numpy._core.")
        if full in self._records:
            return lambda *arguments: Record(full, arguments)
        if full not in _STAND_INS:
            raise Unreadable(f"holds a {cut(full)}")
        return _STAND_INS[full]


def parse_pickle(content: bytes, *, records: Collection[str] = ()) -> Any:
    """Return the data in a pickle; `integers`, `numbers` and `items` read its arrays.

    Args:
        records: functions and classes, as "module.name", whose results are read as `Record`s.
    Raises:
        Unreadable: the pickle refers to other names, or is damaged.
    """
    try:
        return _Unpickler(content, records).load()
    except Unreadable:
        raise
    # A damaged pickle makes the unpickler raise nearly anything.
    except Exception as error:
        raise Unreadable(f"is not a whole pickle: {cut(str(error), 200)}") from error


def integers(value: Any) -> NDArray[Any]:
    """Return an array of integers, or a flat list of integers as int64; raises `Unreadable` otherwise."""
    if isinstance(value, _Array) and isinstance(value.values, np.ndarray) and value.values.dtype.kind in "iu":
        return value.values
    if not isinstance(value, list) or not all(type(item) is int and abs(item) < 2**63 for item in value):
        raise Unreadable(f"holds a {_kind(value)} where an array or a list of integers belongs")
    return np.array(value, np.int64)


def numbers(value: Any) -> NDArray[Any]:
    """Return an array of numbers; raises `Unreadable` otherwise."""
    if isinstance(value, _Array) and isinstance(value.values, np.ndarray) and value.values.dtype.kind in "biuf":
        return value.values
    raise Unreadable(f"holds a {_kind(value)} where an array of numbers belongs")


def items(value: Any) -> list[Any]:
    """Return a list, or the items of an array of objects; raises `Unreadable` otherwise."""
    found = value.values if isinstance(value, _Array) else value
    if not isinstance(found, list):
        raise Unreadable(f"holds a {_kind(value)} where a list belongs")
    return found


def _kind(value: Any) -> str:
    return type(value).__name__.lstrip("_").lower()
