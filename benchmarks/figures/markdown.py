"""Tables in Markdown, and the forms of numbers in them."""

import re
import statistics
from collections.abc import Iterable, Sequence

MISSING = "—"
_NUMBER = re.compile(r"[-−±\d—\[(]|not |$")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Rows under a head; columns of numbers stand to the right."""
    lines = [list(row) for row in rows]
    assert all(len(row) == len(head) for row in lines), head
    right = [i > 0 and all(_NUMBER.match(row[i]) for row in lines) for i in range(len(head))]
    rule = ["--:" if number else "---" for number in right]
    return "\n".join("| " + " | ".join(row) + " |" for row in [list(head), rule, *lines])


def mean_std(mean: float, std: float | None, form: str, scale: float = 1.0) -> str:
    """Of one seed the value alone.

    >>> mean_std(0.88123, 0.0011, ".2f", 100), mean_std(0.9, None, ".1f", 100)
    ('88.12 ± 0.11', '90.0')
    """
    said = format(mean * scale, form)
    return said if std is None else f"{said} ± {std * scale:{form}}"


def of_values(values: Sequence[float], form: str, scale: float = 1.0) -> str:
    """Mean ± standard deviation of seeds.

    >>> of_values([0.97, 0.99], ".1f", 100)
    '98.0 ± 1.4'
    """
    return mean_std(statistics.mean(values), statistics.stdev(values) if len(values) > 1 else None, form, scale)


def spread(quartiles: Sequence[float], form: str, scale: float = 1.0) -> str:
    """Median and what is around it, of (low, median, high).

    >>> spread([1.0, 1.25, 2.0], ".2f")
    '1.25 [1.00, 2.00]'
    """
    low, median, high = (format(value * scale, form) for value in quartiles)
    return f"{median} [{low}, {high}]"


def megabytes(count: float, form: str = ",.1f") -> str:
    """1 MB = 10**6 bytes."""
    return format(count / 1e6, form)
