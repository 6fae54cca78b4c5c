"""The figures of bench_training.py: what was measured of a row, and their table."""

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hdlif.report.tables import aligned
from training_rows import BFLOAT16, NAIVE, Cell, row_named

CLOCKS = ("clock", "cpu")
FASTEST_OF = ("SpikingJelly STBP", "SpikingJelly SLTT", "snnTorch STBP")


@dataclass
class Figures:
    """What was measured of a row in a cell.

    Attributes:
        clock, cpu: seconds of an update, one for each round.
        failure: why there are no figures.
    """

    row: str
    clock: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    density: float | None = None
    failure: str | None = None


def quartiles(values: Sequence[float]) -> list[float]:
    return statistics.quantiles(values, n=4) if len(values) > 1 else [*values] * 3


def beside(figures: Mapping[str, Figures], clock: str) -> dict[str, dict[str, list[float]]]:
    """How many times as fast each row is as what it stands beside, round by round."""

    def seconds(name: str) -> list[float]:
        found: list[float] = getattr(figures[name], clock) if name in figures else []
        return found

    def fastest(names: Sequence[str]) -> list[float]:
        """Of each round, in whichever precision."""
        rows = [found for name in names for end in ("", BFLOAT16) if (found := seconds(name + end))]
        return [min(of_round) for of_round in zip(*rows, strict=True)]

    ratios: dict[str, dict[str, list[float]]] = {}
    for name in figures:
        others = {
            "fastest peer": fastest(FASTEST_OF),
            "naive": fastest([NAIVE]),
            "LIF": seconds(row_named(name).beside),
        }
        ratios[name] = {
            other: [a / b for a, b in zip(theirs, seconds(name), strict=True)]
            for other, theirs in others.items()
            if theirs and seconds(name)
        }
    return ratios


def table(cell: Cell, figures: Mapping[str, Figures]) -> str:
    def shown(values: Sequence[float], digits: int) -> str:
        if not values:
            return ""
        low, median, high = quartiles(values)
        return f"{median:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"

    others = ("fastest peer", "naive", "LIF")
    rows, ratios = [], beside(figures, "clock")
    for name, found in figures.items():
        cells = [shown(found.clock, 3), shown(found.cpu, 3)]
        cells += [shown(ratios[name].get(other, []), 2) for other in others]
        cells.append("" if found.density is None else f"{found.density:.1%}")
        rows.append([name, *cells])
    head = [str(cell), "clock, s", "CPU, s", *(f"beside {other}" for other in others), "density"]
    failures = [f"{name}: {found.failure}" for name, found in figures.items() if found.failure is not None]
    return "\n".join([aligned(head, rows), *failures, ""])


def cell_record(cell: Cell, figures: Mapping[str, Figures]) -> list[dict[str, Any]]:
    """A mapping for each row, with its ratios in quartiles."""
    ratios = {clock: beside(figures, clock) for clock in CLOCKS}
    found = []
    for name, of_row in figures.items():
        quartered = {
            clock: {other: quartiles(values) for other, values in rows[name].items()} for clock, rows in ratios.items()
        }
        found.append({**dataclasses.asdict(cell), **dataclasses.asdict(of_row), "beside": quartered})
    return found
