"""How one part is divided in three: by content, whatever else is there."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hdlif.data.split import Shares, divided, shares_of

BOTH = ("validation", "test")


def contents(count: int) -> list[str]:
    return [f"content {number}" for number in range(count)]


@given(st.integers(3, 60), st.floats(0.05, 0.25), st.floats(0.05, 0.25), st.integers(0, 5))
def test_each_part_has_its_share_of_what_differs(count: int, validation: float, test: float, seed: int) -> None:
    found = divided(contents(count), Shares(validation, test, seed), BOTH)
    assert found is not None
    counted = Counter(found.values())
    assert counted["test"] == max(1, round(count * test))
    assert counted["validation"] == max(1, round(count * validation))
    assert sum(counted.values()) == count
    assert found == divided(list(reversed(contents(count))) * 2, Shares(validation, test, seed), BOTH)
    assert count < 20 or found != divided(contents(count), Shares(validation, test, seed + 1), BOTH)
    of_one = divided(contents(count), Shares(validation, test, seed), ("validation",))
    assert of_one is not None
    assert set(of_one.values()) == {"train", "validation"}


def test_too_few_leave_nothing_to_train_on() -> None:
    for count, wanted in ((2, BOTH), (0, BOTH), (1, ("test",))):
        assert divided(contents(count), Shares(), wanted) is None


def test_shares_that_none_can_be_are_refused() -> None:
    for split in (
        {"test": 0.0},
        {"validation": 1},
        {"validation": 0.5, "test": 0.5},
        {"train": 0.5},
        {"seed": 0.5},
    ):
        with pytest.raises(ValueError, match="split"):
            shares_of(split)
        assert shares_of(None) == Shares(0.15, 0.15, 0)
