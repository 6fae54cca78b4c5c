"""Combine charts with captions and tables of the plotted numbers."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import mean
from typing import Any

from markupsafe import Markup

from hdlif.report import charts
from hdlif.report.charts import Series, Text
from hdlif.report.comparison import DASH, aligned

_MARKED = 16
"""Maximum number of marked points of a line in a small chart; more marks would cover the line."""


@dataclass(frozen=True)
class Figure:
    """One or more charts, with a caption and a table of the plotted numbers.

    Attributes:
        kind: key of the figure in `explanations.EXPLANATIONS`.
        small: whether several charts share the width of the page.
        broad: whether these charts are larger.
        wide: whether a single chart takes the width of the page.
    """

    caption: str
    charts: list[Markup]
    headings: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    small: bool = False
    broad: bool = False
    wide: bool = False
    kind: str = ""


@dataclass(frozen=True)
class Section:
    """The figures under one heading, with a shared legend; style i belongs to `names[i]`."""

    names: Sequence[str]
    figures: Sequence[Figure]


def lines(
    ident: str, caption: str, names: Sequence[str], series: Sequence[Series], *, kind: str | None = None, **options: Any
) -> Figure:
    """Draw a line chart of all series that have points."""
    drawn = [one for one in series if one.y]
    if not drawn:
        return Figure(caption, [])
    text = Text(ident, caption, spans(names, drawn))
    return Figure(caption, [charts.lines(text, drawn, **options)], kind=kind or ident)


def points(
    ident: str, caption: str, names: Sequence[str], series: Sequence[Series], *, x_label: str, y_label: str
) -> Figure:
    """Draw a chart with one marker for each series that has a point."""
    drawn = [one for one in series if one.x]
    if not drawn:
        return Figure(caption, [])
    said = "; ".join(f"{names[one.style]} at {one.x[0]:.3g} and {one.y[0]:.4g}" for one in drawn)
    chart = charts.points(Text(ident, caption, f"{said}."), drawn, x_label=x_label, y_label=y_label)
    return Figure(caption, [chart], kind=ident)


def dots(
    ident: str,
    caption: str,
    names: Sequence[str],
    values: Sequence[Mapping[str, float | None]],
    *,
    x_label: str,
    rows_are: str = "layer",
    within: tuple[float, float] | None = None,
    kind: str | None = None,
) -> Figure:
    """Draw a dot plot with one row for every layer that has a value in at least one series.

    Args:
        rows_are: noun for a row, if it is not a layer.
        within: as in `charts.dots`; the rows are then sorted by their mean, with the smallest on top.
        kind: as in `Figure`, by default `ident`.
    """
    rows = union([name for name, value in layers.items() if value is not None] for layers in values)
    if not rows:
        return Figure(caption, [])
    if within is not None:
        rows.sort(key=lambda row: mean(value for of_one in values if (value := of_one.get(row)) is not None))
    series, spans = [], []
    for style, layers in enumerate(values):
        known = [(value, rows.index(name)) for name, value in layers.items() if value is not None]
        if known:
            series.append(Series(style, [value for value, _ in known], [row for _, row in known]))
            spans.append(f"{names[style]} between {min(known)[0]:.3g} and {max(known)[0]:.3g}")
    chart = charts.dots(Text(ident, caption, "; ".join(spans) + "."), rows, series, x_label=x_label, within=within)
    columns = [aligned([layers.get(row) for row in rows]) for layers in values]
    cells = [[row, *(column[i] for column in columns)] for i, row in enumerate(rows)]
    return Figure(caption, [chart], [f"{rows_are} ({x_label})", *names], cells, kind=kind or ident)


def panels(
    ident: str,
    quantity: str,
    caption: str,
    names: Sequence[str],
    values: Sequence[Mapping[str, Sequence[float]]],
    *,
    top: float = 1.0,
    bottom: float = 0.0,
    limits: Mapping[str, tuple[float, float]] | None = None,
    starts: Sequence[Mapping[str, Sequence[float]]] = (),
    ends: bool = False,
) -> Figure:
    """Draw one small chart over time steps for each layer, by default with equal axis limits.

    NaN marks a time step without a value.

    Args:
        limits: limits for each layer, which replace `bottom` and `top`.
        starts: values before training, drawn as thin lines.
        ends: whether to print the last value of each line at its end.
    """
    layers = union(values)
    drawn, rows = [], []
    for place, layer in enumerate(layers):
        series = [
            Series(i, time_axis(by_layer[layer]), by_layer[layer])
            for i, by_layer in enumerate(values)
            if layer in by_layer
        ]
        drawn.append(
            charts.lines(
                Text(f"{ident}-{place}", f"{quantity} of {layer}", spans(names, series)),
                series,
                x_label="time step",
                y_label=layer,
                y_limits=limits[layer] if limits else (bottom, top),
                markers=max(len(one.y) for one in series) <= _MARKED,
                size=charts.PANEL,
                starts=[by_layer[layer] for by_layer in starts if layer in by_layer],
                ends=ends,
            )
        )
        rows += [[layer, names[one.style], listed(one.y)] for one in series]
    headings = ["layer", "network", f"{quantity}, t = 1, 2, …"]
    return Figure(caption, drawn, headings, rows, small=True, kind=ident)


def listed(values: Iterable[float]) -> str:
    """Format values for a table cell; NaN becomes a dash."""
    return ", ".join(DASH if math.isnan(value) else f"{value:.3f}" for value in values)


def spans(names: Sequence[str], series: Sequence[Series]) -> str:
    """Describe a line chart in words that contain the first and the last value of each line."""
    known = [(names[one.style], [value for value in one.y if not math.isnan(value)]) for one in series]
    return "; ".join(f"{name} from {y[0]:.4g} to {y[-1]:.4g}" for name, y in known if y) + "."


def time_axis(values: Sequence[float]) -> range:
    """Return the time-step numbers for an axis, starting at 1."""
    return range(1, len(values) + 1)


def union(names: Iterable[Iterable[str]]) -> list[str]:
    """Return the distinct names in the order in which they first appear."""
    return list(dict.fromkeys(name for some in names for name in some))
