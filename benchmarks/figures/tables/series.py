"""Time-series networks compared with a GRU and a random forest."""

import statistics
from typing import Any

from figures.markdown import of_values, table
from figures.registry import Record
from figures.registry import table as registered

PEERS = ("GRU", "random forest")


def _accuracy(cell: dict[str, Any]) -> float:
    found: float = cell["metrics"]["accuracy"] if "metrics" in cell else cell["accuracy"]
    return found


def beside_peers(record: Record, chosen: str) -> str:
    """Write the recipes of a set, and then its peers."""
    cells = record["cells"][chosen]
    ordered = [*(name for name in cells if name not in PEERS), *(name for name in PEERS if name in cells)]
    lines = []
    for name in ordered:
        seeds = list(cells[name].values())
        mean = {key: statistics.mean(cell[key] for cell in seeds) for key in ("parameters", "cpu_seconds", "stored_kb")}
        counts = [f"{round(mean['parameters']):,}", f"{mean['cpu_seconds']:.0f}", f"{mean['stored_kb']:,.0f}"]
        lines.append([name, of_values([_accuracy(cell) for cell in seeds], ".1f", 100), *counts])
    return table([chosen, "accuracy %", "parameters", "CPU s", "file, kB"], lines)


for _set, _record in (("hapt", "series"), ("voices", "series"), ("vowels", "series_vowels")):
    registered(f"beside_gru_{_set}", _record)(
        lambda record, chosen=_set: beside_peers(record, chosen)  # type: ignore[misc]
    )


ACTIVITIES = ("lying", "sitting", "standing", "walking", "walking downstairs", "walking upstairs")
"""The other classes are changes of posture."""


@registered("hapt_confusions", "hapt_confusions")
def hapt_confusions(record: Record) -> str:
    lines = []
    for run in record["runs"]:
        labels, counts = run["labels"], run["counts"]
        right = {label: row[i] for i, (label, row) in enumerate(zip(labels, counts, strict=True))}
        all_of = {label: sum(row) for label, row in zip(labels, counts, strict=True)}
        changes = [label for label in labels if label not in ACTIVITIES]
        sitting, standing = labels.index("sitting"), labels.index("standing")
        basic = sum(right[label] for label in ACTIVITIES) / sum(all_of[label] for label in ACTIVITIES)
        lines.append(
            [run["recipe"], *map(str, (sum(all_of.values()) - sum(right.values()), counts[standing][sitting],
             counts[sitting][standing], sum(all_of[label] - right[label] for label in changes))), f"{100 * basic:.1f}"]
        )  # fmt: skip
    head = ["", "errors", "standing as sitting", "sitting as standing", "changes of posture", "six activities, %"]
    return table(head, lines)
