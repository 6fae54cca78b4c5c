"""Loops over cases in one test: a failure names its case, and a large product is sampled in the default tier."""

import functools
import inspect
import itertools
import os
import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest

SEED_VARIABLE = "HDLIF_TEST_SEED"
Test = Callable[..., None]
Case = dict[str, Any]


def seed() -> str:
    """Return the seed of this run's samples, which worker processes inherit from the first one."""
    return os.environ.setdefault(SEED_VARIABLE, str(random.SystemRandom().randrange(2**32)))


@contextmanager
def naming(*case: object) -> Iterator[None]:
    """Name the case in what fails within."""
    try:
        yield
    except BaseException as error:
        error.add_note(f"in the case {', '.join(map(str, case))}")
        raise


def every(*arguments: str, of: Iterable[Any] = (), **axes: Iterable[Any]) -> Callable[[Test], Test]:
    """Run a test on every case of a product, in one item.

    Args:
        arguments: names of arguments whose values come together, as rows.
        of: those rows.
        axes: the values of each other argument; of a mapping its values, named by their keys.
    """
    rows = [dict(zip(arguments, row, strict=True)) for row in of] if arguments else [{}]
    cases = [({**row, **case}, {**row, **shown}) for row in rows for case, shown in _product(axes)]

    def decorate(test: Test) -> Test:
        def run(**fixtures: Any) -> None:
            _run(test, cases, fixtures)

        return _with_signature(run, test, without={*arguments, *axes})

    return decorate


def sampled(count: int, **axes: Iterable[Any]) -> Callable[[Test], Test]:
    """Run a test on a sample of a product in the default tier, and on all of it in the slow one.

    The sample has every value of every axis, and at least `count` cases; the seed is in the header of the run.
    """
    tiers = pytest.mark.parametrize("tier", ["sample", pytest.param("whole", marks=pytest.mark.slow)])
    cases = list(_product(axes))

    def decorate(test: Test) -> Test:
        def run(tier: str, **fixtures: Any) -> None:
            if tier == "whole":
                _run(test, cases, fixtures)
                return
            chosen = _sample(axes, count, random.Random(f"{seed()} {test.__qualname__}"))
            with naming(f"drawn with {SEED_VARIABLE}={seed()}"):
                _run(test, chosen, fixtures)

        return tiers(_with_signature(run, test, without=set(axes), tier=True))

    return decorate


def _named(axis: Iterable[Any]) -> list[tuple[Any, Any]]:
    """Return the values of an axis with their names."""
    return [(value, name) for name, value in axis.items()] if isinstance(axis, Mapping) else [(v, v) for v in axis]


def _case(names: Iterable[str], chosen: Iterable[tuple[Any, Any]]) -> tuple[Case, Case]:
    chosen = list(chosen)
    values, shown = [value for value, _ in chosen], [name for _, name in chosen]
    return dict(zip(names, values, strict=True)), dict(zip(names, shown, strict=True))


def _product(axes: Mapping[str, Iterable[Any]]) -> Iterator[tuple[Case, Case]]:
    return (_case(axes, chosen) for chosen in itertools.product(*map(_named, axes.values())))


def _sample(axes: Mapping[str, Iterable[Any]], count: int, draw: random.Random) -> list[tuple[Case, Case]]:
    """Draw cases that have every value of every axis: each axis is shuffled as often as it takes."""
    named = [_named(axis) for axis in axes.values()]
    count = max(count, *map(len, named))
    shuffled = [
        [one for _ in range(-(-count // len(values))) for one in draw.sample(values, len(values))] for values in named
    ]
    return [_case(axes, chosen) for chosen in zip(*(values[:count] for values in shuffled), strict=True)]


def _run(test: Test, cases: Iterable[tuple[Case, Case]], fixtures: Case) -> None:
    cases = list(cases)
    assert cases
    for case, shown in cases:
        with naming(shown):
            test(**case, **fixtures)


def _with_signature(run: Test, test: Test, *, without: set[str], tier: bool = False) -> Test:
    """Let `run` stand for the test, with the arguments that pytest is to give."""
    left = [one for name, one in inspect.signature(test).parameters.items() if name not in without]
    if tier:
        left.insert(0, inspect.Parameter("tier", inspect.Parameter.POSITIONAL_OR_KEYWORD))
    functools.update_wrapper(run, test)
    run.__signature__ = inspect.Signature(left)  # type: ignore[attr-defined]
    return run
