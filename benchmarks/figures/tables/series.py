"""Series networks beside a GRU and a forest, their training and their runtime."""

import statistics
from typing import Any

from figures.markdown import of_values, spread, table
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
    return table([chosen, "accuracy %", "parameters", "CPU s", "stored kB"], lines)


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
    head = ["", "faults", "standing as sitting", "sitting as standing", "changes of posture", "six activities, %"]
    return table(head, lines)


@registered("series_runtime", "series_runtime")
def _(record: Record) -> str:
    whole, stream = record["ways"]["whole"], record["ways"]["stream"]
    lines = []
    for name in stream:
        line = [name]
        for way in (whole, stream):
            if name not in way:
                line += ["", ""]
                continue
            us = way[name]["us_a_sample"]
            form = ".3f" if way is whole else ".2f"
            line += [f"{us['median']:{form}} ({us['min']:{form}} to {us['max']:{form}})"]
            line += [f"{way[name]['ratio']['median']:.2g}"]
        lines.append(line)
    return table(["µs a sample", "in windows of 128", "times ours", "sample by sample", "times ours"], lines)


def _steps_a_second(record: Record, steps: str, peers: bool) -> str:
    found = {name: of[steps] for name, of in record["seconds"]["now"].items() if steps in of}
    head = [f"T = {steps}", "steps a second", *(["to SpikingJelly", "to snnTorch"] if peers else [])]
    lines = []
    for name, seconds in found.items():
        per_second = statistics.quantiles([int(steps) / one for one in seconds], n=4)
        line = [name, spread(per_second, ",.0f")]
        rule = "STBP" if "STBP" in name else "SLTT" if "SLTT" in name else ""
        for library in ("SpikingJelly", "snnTorch") if peers else ():
            theirs = found.get(f"{library}, {rule}")
            ours = name.startswith(("HD-LIF", "LIF"))
            ratios = [a / b for a, b in zip(theirs, seconds, strict=True)] if theirs and ours else None
            line.append(spread(statistics.quantiles(ratios, n=4), ".2f") if ratios else "")
        lines.append(line)
    return table(head, lines)


for _steps in ("128", "1024"):
    registered(f"series_training_{_steps}", "series_training")(
        lambda record, steps=_steps: _steps_a_second(record, steps, peers=True)  # type: ignore[misc]
    )


@registered("series_chunks", "series_chunks")
def _(record: Record) -> str:
    lines = []
    for name, found in record["seconds"]["now"].items():
        per_second = {steps: [int(steps) / one for one in seconds] for steps, seconds in found.items()}
        lines.append([name, *(spread(statistics.quantiles(of, n=4), ",.0f") for of in per_second.values())])
    return table(["steps a second", "T = 128", "T = 1024"], lines)
