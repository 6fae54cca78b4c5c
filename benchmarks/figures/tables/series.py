"""Time-series networks compared with a GRU and a random forest."""

import statistics
from typing import Any

from figures.markdown import of_values, table
from figures.registry import Record
from figures.registry import table as registered

PEERS = ("GRU", "GRU behind its front", "random forest", "persistence")


def _quality(cells: list[dict[str, Any]], metric: str) -> str:
    values = [cell["metrics"][metric] if "metrics" in cell else cell[metric] for cell in cells]
    return of_values(values, ".1f", 100) if metric == "accuracy" else of_values(values, ".4f")


def _beside(record: Record, chosen: str, metric: str = "accuracy") -> str:
    cells = record["cells"][chosen]
    ordered = [*(name for name in cells if name not in PEERS), *(name for name in PEERS if name in cells)]
    lines = []
    for name in ordered:
        seeds = list(cells[name].values())
        mean = {key: statistics.mean(cell[key] for cell in seeds) for key in ("parameters", "cpu_seconds", "stored_kb")}
        counts = [f"{round(mean['parameters']):,}", f"{mean['cpu_seconds']:.0f}", f"{mean['stored_kb']:,.0f}"]
        lines.append([name, _quality(seeds, metric), *counts])
    return table([chosen, "accuracy %" if metric == "accuracy" else metric, "parameters", "CPU s", "stored kB"], lines)


for _record, _sets, _metric in (
    ("series", ("hapt", "voices"), "accuracy"),
    ("series_vowels", ("vowels",), "accuracy"),
    ("hapt_companded", ("hapt_companded",), "accuracy"),
    ("long_series", ("delayed_xor", "copy", "digits_pixels"), "accuracy"),
    ("forecasts", ("mackey_glass", "hapt_next"), "rmse"),
):
    for _set in _sets:
        registered(f"beside_gru_{_set}", _record)(
            lambda record, chosen=_set, metric=_metric: _beside(record, chosen, metric)  # type: ignore[misc]
        )


@registered("hapt_features", "hapt_features")
def _(record: Record) -> str:
    lines = []
    for name, fits in record["models"].items():
        accuracy, of_basic = ([fit[key] for fit in fits] for key in ("accuracy", "accuracy_of_basic"))
        swapped = statistics.mean(fit["sitting_or_standing_for_the_other"] for fit in fits)
        lines.append([name, of_values(accuracy, ".1f", 100), f"{statistics.mean(of_basic):.1%}"[:-1], f"{swapped:.0f}"])
    return table(["", "accuracy %", "six activities, %", "sitting for standing, and back"], lines)


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
    head = ["", "faults", "standing as sitting", "sitting as standing", "changes of posture", "six activities, %"]
    return table(head, lines)
