"""Digits: every neuron with every rule, row by row, fewer spikes, energy."""

import statistics

from figures.markdown import MISSING, mean_std, of_values, table
from figures.registry import Record
from figures.registry import table as registered
from figures.tables.ablations import SHORT, Cell, grid, said

OPERATIONS_AND_WORDS = {
    "HD-LIF": (3, 1),
    "HD-LIF, recurrent": (3, 2),
    "adaptive": (7, 2),
    "second order": (5, 2),
    "resonate": (8, 2),
    "Parallel": (1, 0),
    "sliding parallel, taps 1, 1": (2, 1),
    "sliding parallel, taps 1, 1, 1, 1": (4, 3),
}
"""Of a neuron and step, as `hdlif neurons show` says, and of HD-LIF and Parallel as published."""


RULES = ("STBP", "SLTT", "OTTT", "NDOT", "random step")


@registered("digits", "ablations/digits")
def every(record: Record) -> str:
    """Write neurons by rules, with the mean over the rules in float32 and the mean over the neurons."""
    cells = record["rows"]
    columns = list(dict.fromkeys(column for of in cells.values() for column in of))
    lines = []
    for name, of in cells.items():
        found = [said(of[column], digits=1, seeds=2) if column in of else MISSING for column in columns]
        lines.append([name, *found, _mean([a for rule in RULES for a in of[rule]["accuracies"]])])
    means = [_mean([a for of in cells.values() for a in of[rule]["accuracies"]]) for rule in RULES]
    lines.append(["mean", *means, *([""] * (len(columns) - len(RULES))), ""])
    return table(["accuracy %", *(SHORT.get(column, column) for column in columns), "mean of the five rules"], lines)


def _mean(accuracies: list[float]) -> str:
    """Return the mean and its standard error, in percent."""
    return mean_std(statistics.mean(accuracies), statistics.stdev(accuracies) / len(accuracies) ** 0.5, ".1f", 100)


@registered("digits_rows", "ablations/digits_rows")
def rows(record: Record) -> str:
    return grid(record, "accuracy %")


@registered("digits_rows_neurons", "ablations/digits_rows_neurons")
def rows_neurons(record: Record) -> str:
    lines = []
    for name, of_row in record["rows"].items():
        lines.append([name, *(said(cell) for cell in of_row.values()), *map(str, OPERATIONS_AND_WORDS[name])])
    rules = [rule.replace("random step", "random") for rule in next(iter(record["rows"].values()))]
    return table(["accuracy %", *rules, "operations", "words"], lines)


@registered("digits_activity", "ablations/digits_activity")
def activity(record: Record) -> str:
    """A row for each density, a column for each network."""

    def both(cell: Cell) -> str:
        return f"{said(cell, seeds=2)}, {cell['sops'] / 1e6:.3f}"

    networks = record["rows"]
    densities = next(iter(networks.values()))
    lines = [[density, *(both(of_row[density]) for of_row in networks.values())] for density in densities]
    return table(["accuracy %, M SOPs", *(name.removeprefix("HD-LIF, ") for name in networks)], lines)


@registered("energy_of_digits", "energy_of_digits")
def energy(record: Record) -> str:
    """Operations in both counts, and the traffic that neither has, in microjoules."""
    lines = []
    for name, of in record["networks"].items():
        runs, moved = of["runs"], sum(of["traffic_bytes"].values())
        lines.append(
            [name, of_values([run["accuracy"] for run in runs], ".1f", 100),
             *(of_values([run[key] for run in runs], ".3f", 1e3) for key in ("energy_mj", "energy_mj_honest")),
             f"{moved / 1e3:.0f}", f"{moved * record['pj_per_byte'] / 1e6:.2f}"]
        )  # fmt: skip
    return table(["network", "accuracy %", "SOPs only, µJ", "all operations, µJ", "traffic, kB", "traffic, µJ"], lines)
