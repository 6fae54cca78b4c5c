"""Intervals over seeds, people or data sets."""

from collections.abc import Sequence
from math import nan, sqrt
from statistics import stdev

from scipy.stats import t as student


def half_interval(values: Sequence[float], level: float = 0.95) -> float:
    """Return half of Student's t interval of the mean of values; NaN for a single value.

    >>> round(half_interval([1.0, 2.0, 3.0]), 2)
    2.48
    """
    if len(values) < 2:
        return nan
    return float(student.ppf((1 + level) / 2, len(values) - 1)) * stdev(values) / sqrt(len(values))
