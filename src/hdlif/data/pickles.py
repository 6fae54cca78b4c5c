"""Data in pickle files, read by Python's unpickler without importing or running anything that a file names.

Published data sets are pickled: CIFAR's batches, tables of pandas. `find_class` maps the few names that such files need
to stand-ins, and refuses every other name.
"""

import io
import math
import pickle
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from hdlif.errors import cut
from hdlif.inputs import Unreadable

INTEGERS = ("u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "b1")
OBJECTS = "O8"
_MOST_DIMENSIONS = 32
# NumPy 1 has its core under another name, and Python 2 and 3 have their built-ins under two.
_RENAMED = (("numpy.core.", "numpy._core."),)
_ARRAY, _DTYPE, _CLASS = "numpy._core.multiarray._reconstruct", "numpy.dtype", "numpy.ndarray"
_ENCODE, _BYTES = "_codecs.encode", "__builtin__.bytes"


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
    """An array, filled in by its state."""

    types: Collection[str]
    values: NDArray[Any] | list[Any] | None = None

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, fortran_order, content = state
        if dtype.code not in self.types or dtype.order not in ("|", "<", ">", "="):
            accepted = "integers" if self.types is INTEGERS else ", ".join(self.types)
            raise Unreadable(f"holds an array of {cut(dtype.code)}, and {accepted} are read")
        if len(shape) > _MOST_DIMENSIONS or not all(type(length) is int and 0 <= length < 2**31 for length in shape):
            raise Unreadable(f"holds an array of the shape {cut(str(shape))}")
        if dtype.code == OBJECTS:
            if type(content) is not list or len(shape) > 1 or math.prod(shape) != len(content):
                raise Unreadable(f"holds an array of the shape {cut(str(shape))}, which does not fit its items")
            self.values = content
            return
        exact = np.dtype(dtype.code).newbyteorder(dtype.order)
        if type(content) is not bytes or math.prod(shape) * exact.itemsize != len(content):
            raise Unreadable(f"holds an array of the shape {cut(str(shape))}, which does not fit its bytes")
        flat = np.frombuffer(content, exact)
        self.values = flat.reshape(shape[::-1]).T if fortran_order else flat.reshape(shape)


@dataclass(frozen=True, slots=True)
class _Named:
    """A function or class that a file names, and its stand-in."""

    name: str
    make: Callable[..., Any]

    def __call__(self, *arguments: Any) -> Any:
        return self.make(*arguments)

    def __setstate__(self, state: Any) -> None:
        raise Unreadable(f"changes {cut(self.name)}")


_REFUSED = (pickle.INST, pickle.OBJ, pickle.NEWOBJ, pickle.NEWOBJ_EX, pickle.BYTEARRAY8, pickle.FROZENSET)
"""Instructions that make objects, or reserve what they state."""


# The unpickler in Python: that in C reserves as much memory as a damaged memo number states.
class _Unpickler(pickle._Unpickler):
    stack: list[Any]
    append: Callable[[Any], None]
    pop_mark: Callable[[], list[Any]]
    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = {
        code: load for code, load in pickle._Unpickler.dispatch.items() if bytes([code]) not in _REFUSED
    }

    def _set_items(self) -> None:
        self._fill(self.pop_mark())

    def _set_item(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._fill([key, value])

    def _dict(self) -> None:
        items = self.pop_mark()
        self.append({})
        self._fill(items)

    def _fill(self, items: list[Any]) -> None:
        """Fill a dictionary, whose keys are words or numbers: the hash of nested tuples may take for ever."""
        for key, value in zip(items[::2], items[1::2], strict=True):
            if type(key) not in (bytes, str, int):
                raise Unreadable(f"has a {type(key).__name__} for a key")
            self.stack[-1][key] = value

    dispatch |= {pickle.SETITEMS[0]: _set_items, pickle.SETITEM[0]: _set_item, pickle.DICT[0]: _dict}

    def __init__(self, content: bytes, types: Collection[str], records: Collection[str]) -> None:
        super().__init__(io.BytesIO(content), fix_imports=False, encoding="bytes")
        self._types, self._records, self._left_to_encode = types, records, len(content)

    def find_class(self, module: str, name: str) -> Any:
        full = f"{module}.{name}"
        for old, new in _RENAMED:
            full = full.replace(old, new)
        made: dict[str, Callable[..., Any]] = {
            _ARRAY: lambda *_: _Array(self._types),
            _DTYPE: lambda code, *_: _DType(_word(code)),
            _CLASS: lambda *_: None,
            _ENCODE: self._encode,
            _BYTES: lambda: b"",
        }
        if full in made:
            return _Named(full, made[full])
        if full not in self._records:
            raise Unreadable(f"holds a {cut(full)}")
        return _Named(full, lambda *arguments: Record(full, arguments))

    def _encode(self, text: str, encoding: str) -> bytes:
        """Bytes as Python 3 writes them for Python 2; a file may encode each of its texts any number of times."""
        if encoding not in ("latin1", "latin-1") or not isinstance(text, str):
            raise Unreadable("encodes what is not text in latin1")
        self._left_to_encode -= len(text)
        if self._left_to_encode < 0:
            raise Unreadable("encodes more text than it has")
        return text.encode("latin-1")


def parse_pickle(content: bytes, *, types: Collection[str] = INTEGERS, records: Collection[str] = ()) -> Any:
    """Return the data in a pickle.

    Args:
        types: NumPy's codes of the arrays that are read.
        records: functions and classes, as "module.name", whose results are read as `Record`s.
    Raises:
        Unreadable: the pickle asks for anything else, or is damaged.
    """
    try:
        return _Unpickler(content, types, records).load()
    except Unreadable:
        raise
    # A damaged pickle makes the unpickler raise nearly anything.
    except Exception as error:
        raise Unreadable(f"is not a whole pickle: {cut(str(error), 200)}") from error


def _word(value: Any) -> str:
    """Decode text that Python 2 wrote as bytes."""
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def integers(value: Any) -> NDArray[Any]:
    """Return an array of integers, or a flat list of integers as int64; raises `Unreadable` otherwise."""
    if isinstance(value, _Array) and isinstance(value.values, np.ndarray) and value.values.dtype.kind in "iu":
        return value.values
    if not isinstance(value, list) or not all(type(item) is int and abs(item) < 2**63 for item in value):
        raise Unreadable(f"holds a {_kind(value)} where an array or a list of integers belongs")
    return np.array(value, np.int64)


def numbers(value: Any) -> NDArray[Any]:
    """Return an array of numbers; raises `Unreadable` otherwise."""
    if isinstance(value, _Array) and isinstance(value.values, np.ndarray):
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
