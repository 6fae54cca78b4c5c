"""Figures in prose that are computed from more than one value of a record."""

import math
import statistics
from typing import Any

from figures.records import record
from figures.registry import figure
from figures.tables.training import cells

OWN = "ablations/fashion_mnist"
OTHER = "ablations/fashion_mnist_matched"
LIF, GRADED, HDLIF, PARALLEL = ((OWN, name) for name in ("LIF", "graded LIF", "HD-LIF", "Parallel"))
LIF_LOW, GRADED_HIGH = (OTHER, "LIF, threshold of graded LIF"), (OTHER, "graded LIF, threshold of LIF")
STBP, STEP = "STBP", "random step"
ROWS = "ablations/fashion_mnist_rows"

Cell = tuple[str, str]
DIFFERENCES: dict[str, tuple[Cell, str, Cell, str]] = {
    "spikes_low_stbp": (GRADED, STBP, LIF_LOW, STBP),
    "spikes_low_step": (GRADED, STEP, LIF_LOW, STEP),
    "spikes_high_stbp": (GRADED_HIGH, STBP, LIF, STBP),
    "spikes_high_step": (LIF, STEP, GRADED_HIGH, STEP),
    "own_threshold_stbp": (LIF, STBP, LIF_LOW, STBP),
    "own_threshold_step": (LIF, STEP, LIF_LOW, STEP),
    "both_stbp": (GRADED, STBP, LIF, STBP),
    "both_step": (GRADED, STEP, LIF, STEP),
    "reset_step": (HDLIF, STEP, GRADED, STEP),
    "reset_stbp": (HDLIF, STBP, GRADED, STBP),
    "rule_lif": (LIF, STBP, LIF, STEP),
    "rule_graded": (GRADED, STBP, GRADED, STEP),
    "rule_hdlif": (HDLIF, STEP, HDLIF, STBP),
    "memory_stbp": (HDLIF, STBP, PARALLEL, STBP),
    "memory_step": (HDLIF, STEP, PARALLEL, STEP),
    "rows_hdlif": ((ROWS, "HD-LIF"), STBP, (ROWS, "Parallel"), STBP),
    "rows_lif": ((ROWS, "LIF"), STBP, (ROWS, "Parallel"), STBP),
    "rows_hdlif_step": ((ROWS, "HD-LIF"), STEP, (ROWS, "Parallel"), STEP),
    "rows_rule_lif": ((ROWS, "LIF"), STBP, (ROWS, "LIF"), STEP),
    "rows_rule_hdlif": ((ROWS, "HD-LIF"), STBP, (ROWS, "HD-LIF"), STEP),
    "rows_rule_parallel": ((ROWS, "Parallel"), STEP, (ROWS, "Parallel"), STBP),
}
"""By name: so many points the first cell is above the second; each a record's row and its column."""


def _accuracies(cell: Cell, rule: str) -> list[float]:
    found: list[float] = record(cell[0])["rows"][cell[1]][rule]["accuracies"]
    return [100 * accuracy for accuracy in found]


def difference(first: list[float], second: list[float]) -> tuple[float, float]:
    """Of the means, with its standard error.

    >>> difference([3.0, 5.0], [1.0, 1.0])
    (3.0, 1.0)
    """
    error = math.sqrt(sum(statistics.variance(values) / len(values) for values in (first, second)))
    return statistics.mean(first) - statistics.mean(second), error


def _registered(name: str, cells: tuple[Cell, str, Cell, str]) -> None:
    def both() -> tuple[float, float]:
        first, rule, second, other = cells
        return difference(_accuracies(first, rule), _accuracies(second, other))

    figure(f"gain/{name}")(lambda: f"{both()[0]:.1f}")
    figure(f"gain/{name}/error")(lambda: f"{both()[1]:.1f}")


for _name, _cells in DIFFERENCES.items():
    _registered(_name, _cells)


FASTER = {
    "compressed": "HD-LIF w1.5 s4 random step",
    "fp32": "HD-LIF random step",
    "naive": "naive random step",
    "stbp": "HD-LIF STBP",
    "sltt": "HD-LIF SLTT",
}
DIGITS = {"compressed": 1, "fp32": 1, "naive": 1, "stbp": 2, "sltt": 2}


def _faster(name: str, steps: int, other: str, digits: int) -> None:
    def said() -> str:
        found: dict[str, Any] = cells(record("training_resnet18"), 16, steps)[FASTER[name]]
        return f"{found['beside']['clock'][other][1]:.{digits}f}"

    figure(f"faster/{name}/{steps}/{other.split()[-1]}")(said)


for _steps in (4, 16):
    for _name, _digits in DIGITS.items():
        _faster(_name, _steps, "fastest peer", _digits)
    _faster("compressed", _steps, "naive", 1)
    _faster("fp32", _steps, "naive", 2)
