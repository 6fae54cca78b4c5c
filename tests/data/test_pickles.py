"""The reader of pickles on floats, objects and records."""

import pickle
import re

import numpy as np
import pytest

from hdlif.data.pickles import Record, integers, items, numbers, parse_pickle
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
    first, second, third = parse_pickle(pickle.dumps(written, protocol=protocol))
    np.testing.assert_array_equal(numbers(first), array)
    np.testing.assert_array_equal(numbers(second), array)
    inner, text = items(third)
    np.testing.assert_array_equal(numbers(inner), array[0])
    assert text == "text"


def test_values_of_another_type_are_refused() -> None:
    with pytest.raises(Unreadable, match="where an array or a list of integers belongs"):
        integers(parse_pickle(pickle.dumps(np.zeros(2))))
    with pytest.raises(Unreadable, match="where an array of numbers belongs"):
        numbers([1])
    with pytest.raises(Unreadable, match="holds a array where a list belongs"):
        items(parse_pickle(pickle.dumps(np.zeros(2))))


def test_small_integers_are_keys() -> None:
    assert parse_pickle(pickle.dumps({1: "a", 30: "b"})) == {1: "a", 30: "b"}
