"""Format a table of training runs as Markdown, HTML and text."""

from collections.abc import Mapping, Sequence
from typing import Any

from hdlif.graph.input_record import SampleName
from hdlif.recipe.runs.ablation_tables import Table
from hdlif.recipe.runs.summary import in_percent
from hdlif.report import ablation
from hdlif.report.tables import figure

UNDEFINED = "—"
UNITS = {
    "sops": " M SOPs",
    "nops": " M NOPs",
    "firing_rate": " fire",
    "parameters": " parameters",
    "train_seconds": " s",
    "peak_bytes": " MB",
    "stored_mb": " kB stored",
}
"""Unit of each quantity, appended to the number in a cell."""
HEADINGS = {"nops": "M NOPs", "parameters": "parameters", "stored_mb": "kB stored"}
"""Column headings of quantities that may be the same in all columns of a row."""


def markdown(table: Table, result: dict[str, Any]) -> str:
    """Format a Markdown table of accuracies (mean ± standard deviation, n) and other quantities.

    A quantity that has the same value in all columns of every row gets its own column on the left.
    """
    headings, texts = _texts(table, result)
    lines = [f"| {table.title} | {' | '.join(headings)} |", "| --- |" + " --- |" * len(headings)]
    lines += [f"| {row} | {' | '.join(cells)} |" for row, cells in texts.items()]
    return "\n".join(lines) + "\n"


def page(table: Table, result: dict[str, Any], samples: SampleName) -> str:
    of_cells = [cell for row in result["rows"].values() for cell in row.values()]
    machines = {_machine(run["hardware"]) for cell in of_cells for run in cell["runs"]} or {
        _machine(result["hardware"])
    }
    provenance = [
        ("Base recipe of all cells", table.base),
        ("Changes in all cells", ", ".join(table.overrides) or "nothing"),
        ("Seeds per cell", " or ".join(map(str, sorted({cell["n"] for cell in of_cells}))) or "none"),
        ("Versions", ", ".join(f"{name} {version}" for name, version in result["versions"].items())),
        ("Hardware", "; ".join(sorted(machines))),
    ]
    headings, texts = _texts(table, result)
    return ablation.render(
        table.title,
        list(table.columns),
        result["rows"],
        headings,
        texts,
        quantities=table.quantities,
        samples=samples,
        provenance=provenance,
    )


def _machine(hardware: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in hardware.items())


def _texts(table: Table, result: dict[str, Any]) -> tuple[list[str], dict[str, list[str]]]:
    """Return the column headings and, for each row, the texts of the cells."""
    rows = result["rows"]
    known = {row: [_quantities(rows[row][c]) for c in table.columns if c in rows[row]] for row in table.rows}
    of_rows = [
        quantity
        for quantity in table.quantities
        if quantity in HEADINGS
        and len(table.columns) > 1
        and all(len({cell[quantity] for cell in cells}) <= 1 for cells in known.values())
    ]
    of_cells = [quantity for quantity in table.quantities if quantity not in of_rows]
    texts = {}
    for row in table.rows:
        first = [known[row][0][quantity] if known[row] else "not run" for quantity in of_rows]
        texts[row] = first + [_cell_text(table, row, c, rows[row].get(c), of_cells) for c in table.columns]
    return [*(HEADINGS[quantity] for quantity in of_rows), *table.columns], texts


def _cell_text(table: Table, row: str, column: str, found: dict[str, Any] | None, quantities: Sequence[str]) -> str:
    if column in table.undefined.get(row, ()):
        return UNDEFINED
    if found is None:
        return "not run"
    texts = _quantities(found)
    said = (f"{texts[quantity]}{UNITS.get(quantity, '')}" for quantity in quantities)
    return f"{', '.join(said)} ({found['n']})"


def _quantities(found: Mapping[str, Any]) -> dict[str, str]:
    """Format the quantities in a table cell, without units."""
    return {
        "accuracy": in_percent(found["accuracy"], found["std"]) if "accuracy" in found else UNDEFINED,
        "metric": _metric_text(found),
        "sops": figure(found["sops"], ".3f", 1e-6),
        "nops": figure(found["nops"], ".3f", 1e-6),
        "firing_rate": f"{found['firing_rate']:.0%}",
        "parameters": figure(found["parameters"], ",.0f"),
        "train_seconds": figure(found["train_seconds"], ",.0f"),
        "peak_bytes": figure(found["peak_bytes"], ",.1f", 1e-6),
        "stored_mb": figure(found["stored_mb"], ",.1f", 1e3),
    }


def _metric_text(found: Mapping[str, Any]) -> str:
    """Format the main metric of a task; accuracies are in percent."""
    if "accuracy" in found:
        return in_percent(found["accuracy"], found["std"])
    if found["value"] is None:
        return UNDEFINED
    spread = "" if found["value_std"] is None else f" ± {found['value_std']:.3g}"
    return f"{found['metric']} {found['value']:.4g}{spread}"
