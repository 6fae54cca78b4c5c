"""The mean of several trainings, and how far they lie apart."""

import statistics
from collections.abc import Sequence

from hdlif.errors import RecipeError

MOST_SEED = 2**32 - 1


def seeds_from(first: int, count: int) -> range:
    """`count` seeds from `first` on. Raises `RecipeError` where a recipe cannot have the last of them."""
    if (last := first + count - 1) > MOST_SEED:
        raise RecipeError(f"{count} seeds from {first} on end at {last}; a seed is at most {MOST_SEED}")
    return range(first, first + count)


def mean_and_std(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean and standard deviation (of the sample; None for one value)."""
    return statistics.mean(values), statistics.stdev(values) if len(values) > 1 else None


def in_percent(mean: float, std: float | None) -> str:
    """Of a fraction in 0..1: `94.54 ± 1.58`, without the second number where there is none."""
    return f"{100 * mean:.2f}" + ("" if std is None else f" ± {100 * std:.2f}")
