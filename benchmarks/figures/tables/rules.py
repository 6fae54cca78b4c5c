"""What every learning rule saves, runs and takes (`bench_rules.py`)."""

from collections.abc import Callable
from typing import Any

from figures.markdown import MISSING, megabytes, spread, table
from figures.registry import Record
from figures.registry import table as registered


def _by_time_steps(
    record: Record, what: str, cell: Callable[[Any], str], last: tuple[str, Callable[[Any], str]] | None = None
) -> str:
    """A column for each T, and one of all of them."""
    steps = record["time_steps"].split(",")
    lines = []
    for rule, of in record[what].items():
        line = [rule, *(cell(of[t]) if t in of else MISSING for t in steps)]
        lines.append([*line, last[1](of)] if last else line)
    return table(["rule", *(f"T = {t}" for t in steps), *([last[0]] if last else [])], lines)


def _growth(of: dict[str, float]) -> str:
    return f"{max(of.values()) / min(of.values()):.2f}"


def _law(of: dict[str, Any]) -> str:
    """Flat where nothing is added from the second step on but what tells a step from another."""
    saved = [counts["saved_bytes"] for steps, counts in of.items() if steps != "1"]
    return "flat" if max(saved) < 1.01 * min(saved) else "grows"


def _steps(counts: dict[str, float]) -> str:
    return f"{counts['forward_steps']:.3g} / {counts['backward_steps']:g}"


@registered("rules_saved", "rules_digits")
def _(record: Record) -> str:
    return _by_time_steps(record, "counts", lambda counts: megabytes(counts["saved_bytes"], ".3f"), ("law", _law))


@registered("rules_steps", "rules_digits")
def _(record: Record) -> str:
    return _by_time_steps(record, "counts", _steps)


@registered("rules_peak", "rules_digits")
def _(record: Record) -> str:
    return _by_time_steps(record, "peak_bytes", megabytes, ("largest / smallest", _growth))


@registered("rules_time", "rules_digits")
def _(record: Record) -> str:
    return _by_time_steps(record, "times", lambda quartiles: spread(quartiles, ".2f"))
