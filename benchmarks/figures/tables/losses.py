"""What cutting time costs, and what a neuron gains, if both sides have the same loss."""

import statistics

from figures.markdown import table
from figures.registry import Record
from figures.registry import table as registered
from figures.tables.ablations import Cell, said

LOSSES = ("mean output", "each step")
CHANGES = {
    "all": ("HD-LIF", "LIF"),
    "spikes": ("graded LIF", "LIF"),
    "reset": ("HD-LIF", "graded LIF"),
    "memory": ("HD-LIF", "Parallel"),
}
"""By what changes: the neuron with it and the neuron without."""


def paired(first: Cell, second: Cell) -> tuple[float, float]:
    """Return mean and standard error of the difference in points, over the seeds that both have.

    >>> runs = [{"seed": 1, "accuracy": 0.9}, {"seed": 2, "accuracy": 0.8}]
    >>> mean, error = paired({"runs": runs}, {"runs": [{"seed": 2, "accuracy": 0.8}, {"seed": 1, "accuracy": 0.88}]})
    >>> round(mean, 6), round(error, 6)
    (1.0, 1.0)
    """
    other = {run["seed"]: run["accuracy"] for run in second["runs"]}
    differences = [100 * (run["accuracy"] - other[run["seed"]]) for run in first["runs"] if run["seed"] in other]
    return statistics.mean(differences), statistics.stdev(differences) / len(differences) ** 0.5


def _difference(first: Cell, second: Cell) -> str:
    mean, error = paired(first, second)
    return f"{mean:z.1f} ± {error:.1f}"


@registered("digits_rows_losses", "ablations/digits_rows_losses")
@registered("fashion_mnist_losses", "ablations/fashion_mnist_losses")
def losses(record: Record) -> str:
    """Write STBP and the rule that cuts time under each loss, and the points that the cut costs."""
    rules = list(dict.fromkeys(column.split(", ")[0] for column in next(iter(record["rows"].values()))))
    lines = []
    for neuron, of_row in record["rows"].items():
        line = [neuron]
        for loss in LOSSES:
            stbp, cut = (of_row[f"{rule}, {loss}"] for rule in rules)
            line += [said(stbp, seeds=5), said(cut, seeds=5), _difference(stbp, cut)]
        lines.append(line)
    return table(["accuracy %", *(f"{loss}: {what}" for loss in LOSSES for what in (*rules, "lost"))], lines)


@registered("digits_rows_changes", "ablations/digits_rows_losses")
@registered("fashion_mnist_changes", "ablations/fashion_mnist_losses")
def changes(record: Record) -> str:
    """Write the points that a neuron gains by one change, with each rule and loss."""
    rows = record["rows"]
    columns = list(next(iter(rows.values())))
    lines = [
        [f"{what}: {first} over {second}", *(_difference(rows[first][c], rows[second][c]) for c in columns)]
        for what, (first, second) in CHANGES.items()
        if first in rows and second in rows
    ]
    return table(["points gained", *columns], lines)
