"""Tables of `hdlif ablate`: every neuron, every rule."""

from collections.abc import Callable, Sequence
from typing import Any

from figures.markdown import MISSING, mean_std, megabytes, table
from figures.registry import Record

Cell = dict[str, Any]
NOT_RUN = "not run"
SHORT = {
    "random step": "random",
    "random window of 4": "window of 4",
    "random window of 16": "window of 16",
    "random step, 1.5-bit, 4-bit spikes": "random, low-bit",
}
"""Headings of columns."""


def value(cell: Cell) -> tuple[float, float | None, bool]:
    """Mean and deviation of a cell, and whether it is a share of right answers."""
    if "value" in cell:
        return cell["value"], cell["value_std"], cell["metric"] == "accuracy"
    return cell["accuracy"], cell["std"], True


def said(cell: Cell, digits: int | None = None, seeds: int = 3) -> str:
    """An accuracy in per cent, any other metric as it is; with the number of seeds where it is not the table's."""
    mean, std, share = value(cell)
    form = f".{digits if digits is not None else 2 if share else 4}f"
    text = mean_std(mean, std, form, 100 if share else 1)
    return text if cell["n"] == seeds else f"{text} ({cell['n']})"


def cost(cell: Cell) -> str:
    """Seconds of the training, and its peak memory."""
    return f"{cell['train_seconds']:.0f}, {megabytes(cell['peak_bytes'], '.0f')}"


def grid(
    record: Record,
    head: str,
    columns: Sequence[str] | None = None,
    rows: Sequence[str] | None = None,
    cell: Callable[[Cell], str] = said,
) -> str:
    """Rows by columns of the record, or those that are named."""
    columns = list(columns or dict.fromkeys(c for of_row in record["rows"].values() for c in of_row))
    lines = []
    for row in rows or record["rows"]:
        undefined = record["undefined"].get(row, [])
        of_row = record["rows"][row]
        cells = [cell(of_row[c]) if c in of_row else MISSING if c in undefined else NOT_RUN for c in columns]
        lines.append([row, *cells])
    return table([head, *(SHORT.get(c, c) for c in columns)], lines)


def neurons(record: Record, head: str, columns: Sequence[str]) -> str:
    """Every neuron, by a few rules: its parameters, its file, and of each rule the value, seconds and memory."""
    lines = []
    for row, of_row in record["rows"].items():
        cells = [of_row[c] for c in columns if c in of_row]
        line = [row, f"{cells[0]['parameters']:,}", f"{1e3 * cells[0]['stored_mb']:.0f}"]
        for column in columns:
            line += [said(of_row[column]), cost(of_row[column])] if column in of_row else [NOT_RUN, ""]
        lines.append(line)
    names = [SHORT.get(c, c) for c in columns]
    return table([head, "parameters", "kB", *(word for name in names for word in (name, "s, MB"))], lines)


def rules(record: Record, rows: Sequence[str]) -> str:
    """Every rule with a few neurons: the value, seconds and memory."""
    columns = list(dict.fromkeys(c for row in rows for c in record["rows"][row]))
    lines = []
    for column in columns:
        line = [column]
        for row in rows:
            cell = record["rows"][row].get(column)
            line += [NOT_RUN, ""] if cell is None else [said(cell), cost(cell)]
        lines.append(line)
    return table(["rule", *(word for row in rows for word in (row, "s, MB"))], lines)
