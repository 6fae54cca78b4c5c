"""Read data from pickle files without importing or running any code that the files refer to.

`find_class` replaces the few class names in CIFAR batches and pandas tables with stand-ins, and rejects all others.
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
    """The name, arguments and state of a pickled object, which are read without running the class's code."""

    name: str
    arguments: tuple[Any, ...]
    state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


@dataclass(slots=True)
class _DType:
    """A stand-in for a NumPy data type, with a type code and a byte order."""

    code: str
    order: str = "|"

    def __setstate__(self, state: Any) -> None:
        self.order = _word(state[1])


@dataclass(slots=True)
class _Array:
    """A stand-in for a NumPy array.

    `values` is a list if the array contains objects.
    """

    values: NDArray[Any] | list[Any] | None = None

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, fortran_order, content = state
        exact = np.dtype(dtype.code).newbyteorder(dtype.order)
        if exact.hasobject != (type(content) is list):
            raise Unreadable(f"contains an array of {cut(dtype.code)} without its values")
        # NumPy compares the shape with the bytes.
        order: Any = "F" if fortran_order else "C"
        self.values = content if exact.hasobject else np.ndarray(shape, exact, content, order=order)


def _word(value: Any) -> str:
    """Convert text, possibly pickled as bytes by Python 2, to a string."""
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


# NumPy 1 names its core differently. Python 3 encodes bytes for Python 2.
_STAND_INS: Mapping[str, Callable[..., Any] | None] = {
    "numpy._core.multiarray._reconstruct": lambda *_: _Array(),
    "numpy.dtype": lambda code, *_: _DType(_word(code)),
    "numpy.ndarray": None,
    "_codecs.encode": lambda text, _: text.encode("latin-1"),
    "__builtin__.bytes": lambda: b"",
}


# Use the unpickler in Python: the C version allocates as much memory as a damaged memo number demands.
class _Unpickler(pickle._Unpickler):
    def __init__(self, content: bytes, records: Collection[str]) -> None:
        super().__init__(io.BytesIO(content), fix_imports=False, encoding="bytes")
        self._records = records

    def find_class(self, module: str, name: str) -> Any:
        full = f"{module}.{name}".replace("numpy.core.", "numpy._core.")
        if full in self._records:
            return lambda *arguments: Record(full, arguments)
        if full not in _STAND_INS:
            raise Unreadable(f"contains a {cut(full)}, which is not supported")
        return _STAND_INS[full]


def parse_pickle(content: bytes, *, records: Collection[str] = ()) -> Any:
    """Return the data in a pickle; read arrays in the data with `integers`, `numbers` and `items`.

    Args:
        records: functions and classes, as "module.name", whose results are read as `Record`s.
    Raises:
        Unreadable: the pickle refers to other names, or is damaged.
    """
    try:
        return _Unpickler(content, records).load()
    except Unreadable:
        raise
    # The unpickler raises almost any exception on a damaged pickle.
    except Exception as error:
        raise Unreadable(f"is a damaged or incomplete pickle: {cut(str(error), 200)}") from error


def integers(value: Any) -> NDArray[Any]:
    """Return an unpickled array or list of integers as an array. Raises `Unreadable` unless all values are integers."""
    if isinstance(value, _Array) and isinstance(value.values, np.ndarray) and value.values.dtype.kind in "iu":
        return value.values
    if not isinstance(value, list) or not all(type(item) is int and abs(item) < 2**63 for item in value):
        raise Unreadable(f"contains a {_kind(value)}; expected an array or a list of integers")
    return np.array(value, np.int64)


def numbers(value: Any) -> NDArray[Any]:
    """Return an unpickled array of numbers. Raises `Unreadable` unless the value is an array of numbers."""
    if isinstance(value, _Array) and isinstance(value.values, np.ndarray) and value.values.dtype.kind in "biuf":
        return value.values
    raise Unreadable(f"contains a {_kind(value)}; expected an array of numbers")


def items(value: Any) -> list[Any]:
    """Return an unpickled list or array of objects as a list, or raise `Unreadable` for other values."""
    found = value.values if isinstance(value, _Array) else value
    if not isinstance(found, list):
        raise Unreadable(f"contains a {_kind(value)}; expected a list")
    return found


def _kind(value: Any) -> str:
    return type(value).__name__.lstrip("_").lower()
