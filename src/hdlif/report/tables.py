"""Format results and their intervals as plain-text tables without importing slow modules."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from hdlif.errors import printable

if TYPE_CHECKING:
    from hdlif.recipe.runs.summary import TrainResult, TrialResult

TITLES = {
    "lif": "LIF fp32",
    "hdlif": "HD-LIF fp32",
    "hdlif_w1p5_s4": "HD-LIF 1.5-bit, 4-bit spikes",
    "hdlif_w1p5_s4_parallel": "… half parallel",
}

Z = 1.959964
"""The 97.5th percentile of the standard normal distribution."""


def aligned(header: Sequence[str], rows: Sequence[Sequence[str]], *, left: Sequence[int] = (0,)) -> str:
    """Format a plain-text table, left-aligning the columns in `left` and right-aligning all others."""
    header, rows = [printable(cell) for cell in header], [[printable(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    lines = []
    for row in [header, *rows]:
        cells = (
            cell.ljust(w) if i in left else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        lines.append("  ".join(cells).rstrip())
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)


def figure(value: float | None, form: str, factor: float = 1.0) -> str:
    """Format `value` times `factor` as text, or None as a dash.

    >>> figure(1234.5, ",.1f"), figure(None, ",.1f")
    ('1,234.5', '—')
    """
    return "—" if value is None else format(value * factor, form)


def wilson_interval(fraction: float, count: int) -> list[float]:
    """Return Wilson's 95 % interval of a fraction of `count` samples; without samples, it is 0 to 1.

    >>> [round(value, 4) for value in wilson_interval(0.9, 100)]
    [0.8256, 0.9448]
    >>> wilson_interval(1.0, 96) == [96 / (96 + Z**2), 1.0], wilson_interval(0.0, 0)
    (True, [0.0, 1.0])
    """
    middle = fraction * count + Z**2 / 2
    half = Z * math.sqrt(fraction * (1 - fraction) * count + Z**2 / 4)
    return [(middle + sign * half) / (count + Z**2) for sign in (-1, 1)]


def networks_table(networks: Sequence[TrainResult]) -> str:
    """Format a table that shows each network's accuracy, file size, energy and training time."""
    metrics = list(dict.fromkeys(name for n in networks for name in n.beside_accuracy))
    classified = any(n.accuracy is not None for n in networks)
    accuracy = ["accuracy"] if classified else []
    header = ["network", *accuracy, *metrics, "file (kB)", "energy (µJ)", "training (s)"]
    rows = [
        [
            TITLES.get(n.name, n.name),
            *([figure(n.accuracy, ".2%")] if classified else []),
            *(figure(n.beside_accuracy.get(name), ".4g") for name in metrics),
            figure(n.stored_mb, ",.1f", 1e3),
            figure(n.energy_mj_honest, ".3f", 1e3),
            figure(n.train_seconds, ".1f"),
        ]
        for n in networks
    ]
    return aligned(header, rows)


def measured(result: TrainResult, *, digits: int = 2) -> str:
    """Format the test accuracy of a training run, or another metric if the task is not classification."""
    if result.accuracy is not None:
        return f"{result.accuracy:.{digits}%}"
    metric = result.metric or ""
    return f"{metric} {figure((result.metrics or {}).get(metric), '.4g')}"


def mean_line(rmse: float) -> str:
    """Format the error of always predicting the training mean, for comparison with a network's error."""
    return f"always the training mean: rmse {rmse:.4g}"


def score(validated: TrainResult | TrialResult) -> str:
    """Format the validation result that determines the best epoch of a training run or trial."""
    accuracy, metrics = validated.validation_accuracy, validated.validation_metrics or {}
    if accuracy is not None and accuracy == validated.validation_score:
        return f"{accuracy:.2%}"
    if (metric := validated.metric) is not None and metric in metrics:
        return f"{metric} {figure(metrics[metric], '.4g')}"
    return figure(validated.validation_score, ".4g")
