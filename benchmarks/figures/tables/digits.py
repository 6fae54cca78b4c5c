"""Digits: every neuron with every rule, row by row, fewer spikes, statistics of batch norm."""

import statistics
from functools import partial

from figures.markdown import of_values, table
from figures.registry import Record
from figures.registry import table as registered
from figures.tables.ablations import Cell, grid, said

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


@registered("digits_norms", "ablations/digits_norms")
def two_seeds(record: Record) -> str:
    return grid(record, "accuracy %", cell=partial(said, seeds=2))


RULES = ("STBP", "SLTT", "OTTT", "NDOT", "random step")


@registered("digits", "ablations/digits")
def every(record: Record) -> str:
    """Neurons by rules, and means over rules and over neurons."""
    cells = record["rows"]
    by_neuron = {name: [a for rule in RULES for a in of[rule]["accuracies"]] for name, of in cells.items()}
    by_rule = {rule: [a for of in cells.values() for a in of[rule]["accuracies"]] for rule in RULES}
    means = [
        table([head, "mean accuracy %", "standard error"], [[name, *_mean(values)] for name, values in found.items()])
        for head, found in (
            ("neuron, over the five rules in fp32", by_neuron),
            ("rule, over the eight neurons", by_rule),
        )
    ]
    return "\n\n".join([grid(record, "accuracy %", cell=partial(said, digits=1, seeds=2)), *means])


def _mean(accuracies: list[float]) -> list[str]:
    values = [100 * accuracy for accuracy in accuracies]
    return [f"{statistics.mean(values):.1f}", f"± {statistics.stdev(values) / len(values) ** 0.5:.1f}"]


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
    return table(["network", "accuracy %", "paper, µJ", "honest, µJ", "traffic, kB", "traffic, µJ"], lines)
