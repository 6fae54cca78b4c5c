"""The reader of pickles: numbers, objects and records are read, and nothing is ever run."""

import pickle
import re

import numpy as np
import pytest

from cases import naming
from hdlif.data.pickles import Record, integers, items, numbers, parse_pickle
from hdlif.inputs import Unreadable
from resource_limits import at_most, within_seconds

# As Python 2 and NumPy 1 wrote CIFAR's: protocol 2, bytes for text, the core under its old name.
PYTHON_2 = (
    b"\x80\x02}q\x01(U\x06labelsq\x02]q\x03(K\x01K\x00eU\x04dataq\x04cnumpy.core.multiarray\n_reconstruct\nq\x05"
    b"cnumpy\nndarray\nq\x06K\x00\x85U\x01b\x87Rq\x07(K\x01K\x02K\x03\x86cnumpy\ndtype\nq\x08U\x02u1K\x00K\x01\x87Rq\t"
    b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U\x06\x00\x01\x02\xfd\xfe\xfftbu."
)


def test_a_pickle_of_python_2_is_read() -> None:
    content = parse_pickle(PYTHON_2)
    assert integers(content[b"labels"]).tolist() == [1, 0]
    assert integers(content[b"data"]).tolist() == [[0, 1, 2], [253, 254, 255]]


@pytest.mark.parametrize("protocol", range(1, 5))
def test_values_and_arrays_of_each_protocol_are_read(protocol: int) -> None:
    whole, floats = np.arange(6, dtype=">i2").reshape(2, 3), np.arange(6.0).reshape(2, 3) / 7
    for values in (whole, np.asfortranarray(whole), whole[:, 0].copy(), np.zeros((0, 3), np.uint8)):
        written = {b"labels": [1, 2**40, -3], "text": ("é", None, True, 1.5), 30: 1, b"data": values}
        read = parse_pickle(pickle.dumps(written, protocol=protocol))
        assert integers(read[b"labels"]).tolist() == [1, 2**40, -3]
        assert (read["text"], read[30]) == (("é", None, True, 1.5), 1)
        assert integers(read[b"data"]).tolist() == values.tolist()
    objects = np.array([floats[0], "text"], object)
    first, second, third = parse_pickle(pickle.dumps([floats, np.asfortranarray(floats), objects], protocol=protocol))
    np.testing.assert_array_equal(numbers(first), floats)
    np.testing.assert_array_equal(numbers(second), floats)
    inner, text = items(third)
    np.testing.assert_array_equal(numbers(inner), floats[0])
    assert text == "text"


class Thing:
    def __init__(self) -> None:
        self.kept = [1, 2]


NAMES = ("copy_reg._reconstructor", "__builtin__.object", f"{__name__}.Thing")


def test_an_object_of_an_expected_class_is_a_record_and_another_one_is_refused() -> None:
    content = pickle.dumps(Thing(), protocol=1)
    read = parse_pickle(content, records=NAMES)
    assert isinstance(read, Record)
    assert (read.name, read.state) == ("copy_reg._reconstructor", {"kept": [1, 2]})
    with pytest.raises(Unreadable, match=re.escape(f"contains a {__name__}.Thing")):
        parse_pickle(content, records=NAMES[:2])


def test_values_of_another_type_are_refused() -> None:
    floats = parse_pickle(pickle.dumps(np.zeros(2)))
    for read, value in ((integers, floats), (numbers, [1]), (items, floats)):
        with naming(read), pytest.raises(Unreadable):
            read(value)


class Trap:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return pytest.fail, ("unpickled",)


def test_hostile_pickles_are_refused_without_being_run() -> None:
    for content in (
        *map(pickle.dumps, (Trap(), np.array([1, "a"], object), np.zeros(3, "f8"), np.zeros(3, [("a", "i4")]))),
        b"\x80\x02cbuiltins\neval\nU\x031+1\x85R.",
        b"\x80\x05\x96\xff\xff\xff\xff\xff\xff\xff\x7f.",
        b"\x80\x02}(" + b"h\x40" + b"K\x01u.",
        PYTHON_2.replace(b"K\x02K\x03\x86", b"J\xff\xff\xff\x7fJ\xff\xff\xff\x7f\x86"),
        PYTHON_2.replace(b"K\x02K\x03\x86", b"J\xff\xff\xff\xffJ\xfa\xff\xff\xff\x86"),
        *(b"\x80\x02(i", b"", b"P0\n."),
    ):
        with naming(content), at_most(3_000_000), within_seconds(30), pytest.raises(Unreadable):
            integers(parse_pickle(content))
    # A large memo number, and lists in lists, take no more than they need.
    for content in (b"\x80\x02K\x01r\xff\xff\xff\x7f.", b"]" * 5000 + b"a" * 4999 + b"."):
        with naming(content), at_most(3_000_000), within_seconds(30):
            parse_pickle(content)
