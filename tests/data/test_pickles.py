"""What the reader of pickles takes where its caller asks for more than integers: floats, objects and records."""

import pickle
import re

import numpy as np
import pytest

from hdlif.data.pickles import INTEGERS, OBJECTS, Record, items, numbers, parse_pickle
from hdlif.inputs import Unreadable


class Thing:
    """An object that a pickle may hold."""

    def __init__(self) -> None:
        self.kept = [1, 2]


NAMES = ("copy_reg._reconstructor", "__builtin__.object", f"{__name__}.Thing")


def test_an_object_of_an_expected_class_is_a_record_of_what_it_is_made_of() -> None:
    read = parse_pickle(pickle.dumps(Thing(), protocol=1), records=NAMES)
    assert isinstance(read, Record)
    assert (read.name, read.state) == ("copy_reg._reconstructor", {"kept": [1, 2]})


def test_a_class_that_is_not_expected_is_refused() -> None:
    with pytest.raises(Unreadable, match=re.escape(f"holds a {__name__}.Thing")):
        parse_pickle(pickle.dumps(Thing(), protocol=1), records=NAMES[:2])


@pytest.mark.parametrize("protocol", [1, 2, 4])
def test_arrays_of_floats_and_of_objects(protocol: int) -> None:
    array = np.arange(6.0).reshape(2, 3) / 7
    written = [array, np.asfortranarray(array), np.array([array[0], "text"], object)]
    first, second, third = parse_pickle(pickle.dumps(written, protocol=protocol), types=(*INTEGERS, "f8", OBJECTS))
    np.testing.assert_array_equal(numbers(first), array)
    np.testing.assert_array_equal(numbers(second), array)
    inner, text = items(third)
    np.testing.assert_array_equal(numbers(inner), array[0])
    assert text == "text"


def test_types_that_are_not_asked_for_are_refused() -> None:
    with pytest.raises(Unreadable, match="holds an array of f8, and u1, f4 are read"):
        parse_pickle(pickle.dumps(np.zeros(2)), types=("u1", "f4"))
    with pytest.raises(Unreadable, match="where an array of numbers belongs"):
        numbers([1])
    with pytest.raises(Unreadable, match="holds a array where a list belongs"):
        items(parse_pickle(pickle.dumps(np.zeros(2)), types=("f8",)))
