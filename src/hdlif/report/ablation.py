"""Render the HTML page for an ablation, with a table and charts of accuracy."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from hdlif.graph.input_record import SampleName
from hdlif.report.charts import Series, set_apart
from hdlif.report.figures import Figure, Section, lines, panels
from hdlif.report.templates import set_page

_FEW_COLUMNS = 4
"""Maximum number of columns in a chart that takes half of the page's width."""
_ROOM = 0.5
"""Fraction of a column's width that its points span."""

Cells = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""Results by row and column."""


_WORDS: Mapping[str, str] = {
    "sops": "synaptic operations (SOPs) per {sample}",
    "nops": "operations of neurons (NOPs) per {sample}",
    "firing_rate": "the fraction of neurons that emit a spike",
    "parameters": "learned numbers",
    "train_seconds": "seconds of training, including validation",
    "peak_bytes": "peak training memory beyond program and weights",
    "stored_mb": "size of the deployed file",
}
"""Descriptions of the quantities in a cell other than accuracy."""


def render(
    title: str,
    columns: Sequence[str],
    cells: Cells,
    headings: Sequence[str],
    texts: Mapping[str, Sequence[str]],
    *,
    quantities: Sequence[str],
    samples: SampleName,
    provenance: Sequence[tuple[str, str]],
) -> str:
    """Return the ablation page as HTML without external links.

    Args:
        columns: names of the columns.
        cells: results by row and column: "accuracy", "std" (None for one seed), "accuracy_per_step" in 0..1 (empty
            unless known for all seeds), "sops" (None for a network without a deployed form), and "n", the number of
            seeds. The first three are absent if the task is not a classification.
        headings: headings of the table's columns, including quantities that all cells of a row share.
        texts: text of each column, by row.
        quantities: quantities in a cell of the table.
        samples: name of a sample.
        provenance: terms and values for the provenance section.
    """
    names = list(texts)
    # Other tasks have no accuracies to draw.
    cells = {row: {c: cell for c, cell in of_row.items() if "accuracy" in cell} for row, of_row in cells.items()}
    classified, operations = any(cells.values()), "sops" in quantities
    figures = {
        "Accuracy": [_by_column(names, columns, cells)] if len(columns) > 1 else [],
        "Accuracy against operations": [_by_operations(names, columns, cells, samples)] if operations else [],
        "Accuracy over time": [_over_time(names, columns, cells)],
    }
    return set_page(
        "ablation.html.j2",
        {heading: Section(names, drawn) for heading, drawn in figures.items()},
        title=title,
        finding=_finding(columns, cells) if classified else "",
        classified=classified,
        more="".join(f", {_WORDS[one].format(sample=samples.one)}" for one in quantities if one in _WORDS),
        headings=headings,
        rows=list(texts.items()),
        provenance=provenance,
    )


def _finding(columns: Sequence[str], cells: Cells) -> str:
    """Return a sentence that lists the most accurate cell of each column."""
    best = {
        column: max((row for row in cells if column in cells[row]), key=lambda row: cells[row][column]["accuracy"])
        for column in columns
        if any(column in of_row for of_row in cells.values())
    }
    leads = [f"{column}: {row} ({100 * cells[row][column]['accuracy']:.2f} %)" for column, row in best.items()]
    return f"Highest mean accuracy by column: {'; '.join(leads)}." if leads else "No cell is trained yet."


def _by_column(names: Sequence[str], columns: Sequence[str], cells: Cells) -> Figure:
    caption = "Test accuracy (%) by column; error bars show one standard deviation."
    series = []
    for style, name in enumerate(names):
        of_row = cells.get(name, {})
        if not of_row:
            continue
        # Untrained columns leave gaps.
        accuracies = [100 * of_row[c]["accuracy"] if c in of_row else math.nan for c in columns]
        errors = [100 * (of_row[c]["std"] or 0.0) if c in of_row else 0.0 for c in columns]
        places = set_apart(range(len(columns)), style, len(names), room=_ROOM / len(names))
        series.append(Series(style, places, accuracies, errors))
    options: dict[str, Any] = {
        "x_label": "",
        "y_label": "accuracy, %",
        "markers": True,
        "x_names": columns,
        "within": (0, 100),
        "size": (4.2, 2.5) if len(columns) <= _FEW_COLUMNS else (9.2, 3.0),
    }
    return replace(lines("by-column", caption, names, series, **options), wide=len(columns) > _FEW_COLUMNS)


def _by_operations(names: Sequence[str], columns: Sequence[str], cells: Cells, samples: SampleName) -> Figure:
    caption = (
        f"Test accuracy (%) against synaptic operations per {samples.one}, with one point per column, in column order."
    )
    series = []
    for style, name in enumerate(names):
        known = [cell for c in columns if (cell := cells.get(name, {}).get(c)) and cell["sops"] is not None]
        series.append(Series(style, [cell["sops"] / 1e6 for cell in known], [100 * cell["accuracy"] for cell in known]))
    options: dict[str, Any] = {
        "x_label": "SOPs, millions",
        "y_label": "accuracy, %",
        "markers": True,
        "whole": False,
        "within": (0, 100),
    }
    return lines("by-operations", caption, names, series, **options)


def _over_time(names: Sequence[str], columns: Sequence[str], cells: Cells) -> Figure:
    caption = "Test accuracy (%) after each time step, by the mean of the outputs so far, with one panel per column."
    values = [
        {
            c: [100 * a for a in curve]
            for c in columns
            if (curve := cells.get(name, {}).get(c, {}).get("accuracy_per_step"))
        }
        for name in names
    ]
    if not any(values):
        return Figure(caption, [])
    known = [accuracy for by_column in values for accuracies in by_column.values() for accuracy in accuracies]
    low, high = math.floor(min(known)), math.ceil(max(known))
    return panels("over-time", "accuracy", caption, names, values, bottom=float(low), top=float(max(high, low + 1)))
