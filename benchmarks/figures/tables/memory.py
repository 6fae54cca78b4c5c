"""Peak memory against the number of time steps."""

import re
from collections.abc import Mapping
from typing import Any

from figures.markdown import MISSING, megabytes, table
from figures.registry import Record
from figures.registry import table as registered


def steps_at_once(rule: str) -> int:
    """Return the length of the chunk or window that a rule's name ends with; 1 for other rules.

    >>> steps_at_once("SLTT, chunk 16"), steps_at_once("window of 4"), steps_at_once("SLTT")
    (16, 4, 1)
    """
    found = re.search(r"(?:chunk|window of) (\d+)$", rule)
    return 1 if found is None else int(found[1])


def growth(peaks: Mapping[Any, int | None], above: int = 0) -> float:
    """Return the largest peak over the smallest one, of more than so many time steps."""
    known = [peak for steps, peak in peaks.items() if peak is not None and int(steps) > above]
    return max(known) / min(known)


@registered("memory_curve", "memory_curve")
def _(record: Record) -> str:
    steps = [str(t) for t in record["time_steps"]]
    lines = []
    for rule, peaks in record["peak_bytes"].items():
        cells = [MISSING if peaks.get(t) is None else megabytes(peaks[t]) for t in steps]
        lines.append([rule, *cells, f"{growth(peaks, 1):.3f}" if "STBP" not in rule else ""])
    laws = {"random step, SLTT": "random step", "STBP": "STBP"}
    for name, rule in laws.items():
        law = record["law_bytes"][rule]
        parts = ("optimiser", "saved", "state")
        lines.append(
            [f"law: {name}", *(megabytes(sum(law[t][p] for p in parts)) if t in law else "" for t in steps), ""]
        )
    return table(["peak, MB; T =", *steps, "growth"], lines)


@registered("memory_series", "memory_series")
def _(record: Record) -> str:
    steps = [str(t) for t in record["time_steps"]]
    lines = []
    for rule, peaks in record["peak_bytes"].items():
        law = record["law_bytes"].get(rule, {}).get("64")
        saved = f"{law['saved'] / 1e6:.3g}" if law else ""
        lines.append([rule, *(megabytes(peaks[t]) for t in steps), f"{growth(peaks, steps_at_once(rule)):.3f}", saved])
    return table(["peak, MB; T =", *steps, "largest / smallest", "saved, T = 64"], lines)
