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


def test_another_seed_is_another_split() -> None:
    splits = [divided(contents(40), Shares(seed=seed), BOTH) for seed in (0, 1)]
    assert splits[0] != splits[1]


def test_only_what_is_wanted_is_taken() -> None:
    found = divided(contents(20), Shares(), ("validation",))
    assert found is not None
    assert Counter(found.values()) == {"train": 17, "validation": 3}


@pytest.mark.parametrize(("count", "wanted"), [(2, BOTH), (0, BOTH), (1, ("test",))])
def test_too_few_leave_nothing_to_train_on(count: int, wanted: tuple[str, ...]) -> None:
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
