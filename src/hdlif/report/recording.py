"""The page of one recording: the input of a network over time, its neurons and its answers."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from numpy.typing import NDArray

from hdlif.report import charts
from hdlif.report.charts import Series, Text
from hdlif.report.figures import Figure, Section, lines
from hdlif.report.templates import set_page
from hdlif.report.traces import NeuronTrace, Traces
from hdlif.report.traces import figures as trace_figures

Floats = NDArray[np.float32]
_POINTS = 400
"""On a line; of more each is the mean of some."""
_LINES = 7
"""Channels, or outputs, that have a line of their own."""
_COLUMNS = 160
_ROWS = 64
"""Of a map."""
_LISTED = 200
"""Windows in the table."""
_SHADES = 12
_BROAD = (9.4, 2.7)
"""Inches of a chart as wide as the page."""


@dataclass(frozen=True)
class Recording:
    """A recording and a network on it, S steps of all its windows together.

    Attributes:
        name: of the recording.
        channels: their names; none where they are numbered.
        shown: what the steps are shown, in its own units, [S, C].
        windows: of each its name, and what is said of it.
        lengths: the steps of each window.
        outputs: their names.
        said: what is said after each step of a window, [S, outputs].
        unit: what `said` is.
        firing: of each neuron layer the share of its outputs that are not zero, [S].
        traces: single neurons on the first window, by "layer:index".
        facts: of the file and its network.
    """

    name: str
    channels: Sequence[str]
    shown: Floats
    windows: Sequence[tuple[str, str]]
    lengths: Sequence[int]
    outputs: Sequence[str]
    said: Floats
    unit: str
    firing: Mapping[str, Floats]
    traces: Mapping[str, NeuronTrace]
    facts: Sequence[tuple[str, str]]


def render(recording: Recording, *, findings: str, kind: str) -> str:
    """The whole page as HTML: one script, which sorts tables, no links out, the same bytes for the same numbers.

    Args:
        findings: what it comes to, in a sentence.
        kind: what a step shows: "reading", "frame of sound" or "frame of events".
    """
    outputs, said = _most_said(recording)
    figures = {
        "The recording": Section(*_shown(recording, kind)),
        "What is said": Section(outputs, [_said(recording, outputs, said)]),
        "Firing by layer": Section(list(recording.firing), [_firing(recording)]),
        "Neurons at work": Section(
            ["network"], trace_figures(["network"], Traces(_first(recording), {"network": recording.traces}))
        ),
    }
    return set_page(
        "recording.html.j2",
        figures,
        title=recording.name,
        findings=findings,
        windows=recording.windows[:_LISTED],
        unlisted=max(0, len(recording.windows) - _LISTED),
        facts=recording.facts,
    )


def _first(recording: Recording) -> str:
    """The first window, by the name of its recording too."""
    first = recording.windows[0][0]
    return first if first.startswith(recording.name) else recording.name + first


def _rules(recording: Recording) -> list[float]:
    """Between the windows."""
    return [float(end) + 0.5 for end in np.cumsum(recording.lengths)[:-1]]


def _where(recording: Recording) -> str:
    dotted = "; a dotted line stands where a window ends and the next begins" if len(recording.windows) > 1 else ""
    return f"by time step{dotted}"


def _thinned(values: Floats, most: int) -> tuple[list[float], Floats]:
    """Means of neighbours along the first axis, at most so many, and their places from 1."""
    block = -(-len(values) // most)
    begins = range(0, len(values), block)
    means = np.array([values[begin : begin + block].mean(0, dtype=np.float64) for begin in begins], np.float32)
    places = [1 + (begin + min(begin + block, len(values)) - 1) / 2 for begin in begins]
    return places, means


def _lines(
    recording: Recording, ident: str, caption: str, names: Sequence[str], values: Floats, **options: Any
) -> Figure:
    places, means = _thinned(values, _POINTS)
    drawn = [Series(style, places, column.tolist()) for style, column in enumerate(means.T)]
    options |= {"x_label": "time step", "rules": _rules(recording), "whole": False, "size": _BROAD}
    return replace(lines(ident, caption, names, drawn, **options), wide=True)


def _shown(recording: Recording, kind: str) -> tuple[Sequence[str], list[Figure]]:
    """The names of the legend, and what the network is shown."""
    count = recording.shown.shape[1]
    names = list(recording.channels) or [f"channel {number}" for number in range(1, count + 1)]
    if count <= _LINES:
        caption = f"What the network is shown, a {kind} a step, {_where(recording)}."
        return names, [_lines(recording, "shown", caption, names, recording.shown, y_label="value")]
    _, columns = _thinned(recording.shown, _COLUMNS)
    _, rows = _thinned(np.ascontiguousarray(columns.T), _ROWS)
    caption = (
        f"What the network is shown, a {kind} a step, {_where(recording)}: a row for each of {count} channels, the "
        "first at the bottom, the darker the larger."
    )
    shown = recording.shown
    text = Text("shown", caption, f"{count} channels between {shown.min():.3g} and {shown.max():.3g}.")
    steps = -(-len(shown) // _COLUMNS), -(-count // _ROWS)
    return [], [Figure(caption, [heat(text, rows.tolist(), steps, _rules(recording))], wide=True, kind="shown")]


def heat(text: Text, values: Sequence[Sequence[float]], steps: tuple[float, float], rules: Sequence[float]) -> Markup:
    """Draw a row for each channel, the first at the bottom; the larger a value among all, the darker.

    Args:
        values: [rows][columns].
        steps: distance of two columns, and of two rows; the first is at 1.
        rules: as `charts.lines` takes them.
    """
    (width, height), columns = steps, max(map(len, values), default=0)
    known = [value for row in values for value in row if math.isfinite(value)]
    low, high = (min(known), max(known)) if known else (0.0, 0.0)
    boxes: dict[int, list[Path]] = {}
    for place, row in enumerate(values):
        bottom, top = 0.5 + place * height, 0.5 + (place + 1) * height
        begin = 0
        for shade, alike in itertools.groupby(_shade(value, low, high) for value in row):
            end = begin + sum(1 for _ in alike)
            left, right = 0.5 + begin * width, 0.5 + end * width
            corners = [(left, bottom), (left, top), (right, top), (right, bottom), (left, bottom)]
            boxes.setdefault(shade, []).append(Path(corners, closed=True))
            begin = end
    with charts.chart(_BROAD) as axes:
        axes.grid(visible=False)
        # A path for each shade, and not one for each value: some thousands would make a page of megabytes.
        for shade, paths in sorted(boxes.items()):
            if shade:
                whole = Path.make_compound_path(*paths)
                axes.add_patch(PathPatch(whole, facecolor=charts.SERIES[0], alpha=shade / _SHADES, linewidth=0))
        axes.set_xlim(0.5, 0.5 + columns * width)
        axes.set_ylim(0.5, 0.5 + len(values) * height)
        charts.rule(axes, rules)
        x_ticks, y_ticks = charts.ticks(6, whole=True), charts.ticks(5, whole=True)
        return charts.finish(axes, text, title="channel", x_label="time step", x_ticks=x_ticks, y_ticks=y_ticks)


def _shade(value: float, low: float, high: float) -> int:
    return round(_SHADES * (value - low) / (high - low)) if math.isfinite(value) and high > low else 0


def _most_said(recording: Recording) -> tuple[list[str], Floats]:
    """The outputs that are the largest at some time, in their own order: no more than have a line."""
    count = len(recording.outputs)
    order = np.argsort(-np.nan_to_num(recording.said).max(0), kind="stable")[:_LINES]
    chosen = sorted(order.tolist()) if count > _LINES else list(range(count))
    return [recording.outputs[place] for place in chosen], recording.said[:, chosen]


def _said(recording: Recording, outputs: Sequence[str], said: Floats) -> Figure:
    which = (
        ""
        if len(outputs) == len(recording.outputs)
        else f", of the {len(outputs)} outputs that are the largest at some time,"
    )
    caption = f"The {recording.unit}{which} after each step of a window, {_where(recording)}."
    within = None if "value" in recording.unit else (0.0, 1.0)
    kind = "said" if within else "said-values"
    return _lines(recording, "said", caption, outputs, said, y_label=recording.unit, within=within, kind=kind)


def _firing(recording: Recording) -> Figure:
    caption = f"Share of each neuron layer’s outputs that are not zero, {_where(recording)}."
    values = np.stack(list(recording.firing.values()), 1) if recording.firing else np.empty((1, 0), np.float32)
    return _lines(
        recording, "firing", caption, list(recording.firing), values, y_label="share of outputs not zero", within=(0, 1)
    )
