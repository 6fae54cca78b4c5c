"""Pickles of bytes, texts, integers, lists, dictionaries and NumPy arrays, without running what they ask for.

Python's unpickler calls whatever a pickle names; even one that may name NumPy's arrays alone reserves what a shape or a
place in its memo promises, and hashes what is nested in itself for ever. Here each instruction is carried out by a few
lines, of those that such files have, and an array is made of the bytes that the file has for it. An object of another
class is read where the caller names the class, and stays a record of what it was made of.
"""

import math
import pickletools
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from hdlif.errors import cut
from hdlif.inputs import Unreadable

_MOST_INSTRUCTIONS = 1_000_000
"""CIFAR-100's training file, the largest, has a fifth; each may add some 150 bytes."""
_MARK = object()
INTEGERS = ("u1", "i1", "i2", "i4", "i8", "u2", "u4", "u8")
"""NumPy's types of integers."""
OBJECTS = "O8"
"""NumPy's type of arrays of anything, which become lists."""
_MOST_DIMENSIONS = 2
_MOST_KEY = 2**16
"""Integers hash to themselves, so that a file could let all of its keys collide, were they larger."""
_CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "EMPTY_TUPLE": tuple,
    "MARK": lambda: _MARK,
}
# What stands in the instruction itself.
_LITERALS = {"BININT", "BININT1", "BININT2", "INT", "LONG", "LONG1", "BINFLOAT"}
_BYTES = {"BINBYTES", "SHORT_BINBYTES", "BINBYTES8"}
# Python 2's str, which pickletools gives as latin-1.
_OLD_BYTES = {"STRING", "BINSTRING", "SHORT_BINSTRING"}
_TEXTS = {"UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_IGNORED = {"PROTO", "FRAME"}
# The files of CIFAR were written by NumPy 1, which had its core under another name.
_ARRAY, _TYPE, _CLASS = "numpy._core.multiarray._reconstruct", "numpy.dtype", "numpy.ndarray"
# How Python 3 writes bytes for Python 2, and empty ones.
_ENCODE, _OF_BYTES = "_codecs.encode", "__builtin__.bytes"


@dataclass(frozen=True)
class _Named:
    """A function or class that the pickle names."""

    name: str


@dataclass
class Record:
    """An object of a class that the reader expects: its name, and what it was made of; nothing is run."""

    name: str
    arguments: tuple[Any, ...]
    state: Any = None


@dataclass
class _Type:
    """A NumPy type: what it was made of, and then, by its state, its byte order."""

    code: str
    order: str = "|"


@dataclass
class _Array:
    """An array of which the state is still to come, and then the array."""

    values: NDArray[Any] | list[Any] | None = None


@dataclass(frozen=True)
class _Accepted:
    types: Collection[str]
    records: Collection[str]


def parse_pickle(content: bytes, *, types: Collection[str] = INTEGERS, records: Collection[str] = ()) -> Any:
    """What a pickle holds; an array is a view of its bytes where they are in one piece.

    Args:
        types: of arrays that are read: NumPy's codes.
        records: functions and classes, as "module.name", whose results are read as `Record`s.
    Raises:
        Unreadable: it asks for anything else, or is damaged.
    """
    try:
        return _run(content, _Accepted(types, records))
    except Unreadable:
        raise
    # A damaged pickle takes from an empty stack, counts what is no list, and more of that kind.
    except (ValueError, TypeError, IndexError, KeyError, AttributeError, OverflowError) as error:
        raise Unreadable(f"is not a whole pickle: {cut(str(error), 200)}") from error


def _run(content: bytes, accepted: _Accepted) -> Any:
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    encoded = 0
    for count, (instruction, given, _) in enumerate(pickletools.genops(content)):
        name, argument = instruction.name, cast(Any, given)
        if count == _MOST_INSTRUCTIONS:
            raise Unreadable(f"has more than {_MOST_INSTRUCTIONS:,} instructions")
        if name == "STOP":
            break
        if name in _CONSTANTS:
            stack.append(_CONSTANTS[name]())
        elif name in _LITERALS or name in _BYTES or name in _TEXTS:
            stack.append(argument)
        elif name in _OLD_BYTES:
            stack.append(argument.encode("latin-1"))
        elif name in ("BINPUT", "LONG_BINPUT", "PUT"):
            # A text may state numbers of any length, so that their hashes collide.
            if not 0 <= argument < 2**32:
                raise Unreadable(f"has the memo number {cut(str(argument))}")
            memo[argument] = stack[-1]
        elif name == "MEMOIZE":
            memo[len(memo)] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET", "GET"):
            stack.append(memo[argument])
        elif name not in _IGNORED:
            _change(name, argument, stack, accepted)
            # Bytes that a text was encoded to: a file has each text once, and may ask for it any number of times.
            encoded += len(stack[-1]) if name == "REDUCE" and type(stack[-1]) is bytes else 0
            if encoded > len(content):
                raise Unreadable("encodes more text than it has")
    (result,) = stack
    return result


def _change(name: str, argument: Any, stack: list[Any], accepted: _Accepted) -> None:
    """Carry out an instruction that takes from the stack."""
    if name in _TUPLES:
        stack[-_TUPLES[name] :] = [tuple(_last(stack, _TUPLES[name]))]
    elif name == "TUPLE":
        stack.append(tuple(_since_mark(stack)))
    elif name == "LIST":
        stack.append(_since_mark(stack))
    elif name == "DICT":
        stack.append(dict(_pairs(_since_mark(stack))))
    elif name in ("APPEND", "APPENDS"):
        items = _since_mark(stack) if name == "APPENDS" else [stack.pop()]
        _of(list, stack[-1]).extend(items)
    elif name in ("SETITEM", "SETITEMS"):
        items = _since_mark(stack) if name == "SETITEMS" else [stack.pop(), stack.pop()][::-1]
        _of(dict, stack[-1]).update(_pairs(items))
    elif name == "GLOBAL":
        module, _, qualified = argument.partition(" ")
        stack.append(_named(module, qualified, accepted))
    elif name == "STACK_GLOBAL":
        module, qualified = _last(stack, 2)
        stack[-2:] = [_named(module, qualified, accepted)]
    elif name == "REDUCE":
        function, arguments = _last(stack, 2)
        stack[-2:] = [_called(_of(_Named, function), _of(tuple, arguments))]
    elif name == "BUILD":
        state = stack.pop()
        _build(stack[-1], state, accepted)
    else:
        raise Unreadable(f"has the instruction {name}, which no data needs")


def _last(stack: list[Any], count: int) -> list[Any]:
    if len(stack) < count:
        raise Unreadable("takes more than it has")
    return stack[-count:]


def _since_mark(stack: list[Any]) -> list[Any]:
    items = []
    while (item := stack.pop()) is not _MARK:
        items.append(item)
    return items[::-1]


def _pairs(items: list[Any]) -> Iterator[tuple[Any, Any]]:
    for key, value in zip(items[::2], items[1::2], strict=True):
        if not (isinstance(key, (bytes, str)) or (type(key) is int and 0 <= key < _MOST_KEY)):
            raise Unreadable(f"has a {type(key).__name__} for a key")
        yield key, value


def _of(kind: type, value: Any) -> Any:
    if type(value) is not kind:
        raise Unreadable(f"has a {type(value).__name__} where a {kind.__name__.lstrip('_').lower()} belongs")
    return value


def _named(module: Any, name: Any, accepted: _Accepted) -> _Named:
    full = f"{module}.{name}".replace("numpy.core.", "numpy._core.")
    if full not in (_ARRAY, _TYPE, _CLASS, _ENCODE, _OF_BYTES) and full not in accepted.records:
        raise Unreadable(f"holds a {cut(full)}")
    return _Named(full)


def _called(function: _Named, arguments: tuple[Any, ...]) -> Any:
    if function.name == _ARRAY:
        # Class, shape and type of an empty array; its state has those that count.
        return _Array()
    if function.name == _TYPE:
        return _Type(_word(arguments[0]))
    if function.name == _OF_BYTES and arguments == ():
        return b""
    if function.name == _ENCODE and arguments[1:] in (("latin1",), ("latin-1",)):
        return _of(str, arguments[0]).encode("latin-1")
    if function.name not in (_CLASS, _ENCODE, _OF_BYTES):
        return Record(function.name, arguments)
    raise Unreadable(f"calls {function.name} with {len(arguments)} values that no data needs")


def _build(value: Any, state: Any, accepted: _Accepted) -> None:
    if type(value) is Record:
        value.state = state
        return
    state = _of(tuple, state)
    if type(value) is _Type:
        value.order = _word(state[1])
        return
    _, shape, dtype, fortran_order, content = state
    code, order = _of(_Type, dtype).code, dtype.order
    lengths = [_of(int, length) for length in _of(tuple, shape)]
    if code == OBJECTS in accepted.types:
        items = _of(list, content)
        if len(lengths) > 1 or math.prod(lengths) != len(items):
            raise Unreadable(f"holds an array of {len(lengths)} dimensions that is not that of its {len(items)} items")
        _of(_Array, value).values = items
        return
    if code not in accepted.types or order not in ("|", "<", ">", "="):
        numbers = "integers" if accepted.types is INTEGERS else ", ".join(accepted.types)
        raise Unreadable(f"holds an array of {cut(code)}, and {numbers} are read")
    exact = np.dtype(code).newbyteorder(order)
    fits = len(lengths) <= _MOST_DIMENSIONS and all(0 <= length < 2**31 for length in lengths)
    if not fits or len(_of(bytes, content)) != math.prod(lengths) * exact.itemsize:
        raise Unreadable(f"holds an array of {len(lengths)} dimensions that is not that of its bytes")
    flat = np.frombuffer(content, exact)
    _of(_Array, value).values = flat.reshape(lengths[::-1]).T if fortran_order else flat.reshape(lengths)


def _word(value: Any) -> str:
    """A text, which Python 2 wrote as bytes."""
    return value.decode("latin-1") if isinstance(value, bytes) else str(_of(str, value))


def integers(value: Any) -> NDArray[Any]:
    """An array of a pickle, or a flat list of integers as int64.

    Raises:
        Unreadable: it is neither.
    """
    if isinstance(value, _Array) and isinstance(value.values, np.ndarray) and value.values.dtype.kind in "iu":
        return value.values
    if not isinstance(value, list) or not all(type(item) is int and abs(item) < 2**63 for item in value):
        kind = type(value).__name__.lstrip("_").lower()
        raise Unreadable(f"holds a {kind} where an array or a list of integers belongs")
    return np.array(value, np.int64)


def numbers(value: Any) -> NDArray[Any]:
    """An array of numbers of a pickle; raises `Unreadable` where it is none."""
    if isinstance(value, _Array) and isinstance(value.values, np.ndarray):
        return value.values
    raise Unreadable(f"holds a {type(value).__name__.lstrip('_').lower()} where an array of numbers belongs")


def items(value: Any) -> list[Any]:
    """A list of a pickle, or what an array of objects holds; raises `Unreadable` where it is neither."""
    found = value.values if isinstance(value, _Array) else value
    if not isinstance(found, list):
        raise Unreadable(f"holds a {type(value).__name__.lstrip('_').lower()} where a list belongs")
    return found
