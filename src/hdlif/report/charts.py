"""Charts as SVG fragments that stand inside the page and take their colours from its style sheet.

matplotlib draws with marker colours (`#0000xx`), which become CSS variables: `--ink`, `--rule` and
`--series-0` and up. So one drawing is legible on light and on dark paper, and in print. The fragments carry
no namespace, date or version: the same numbers give the same bytes.
"""

import io
import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from xml.etree import ElementTree

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

_INK, _RULE = "#000001", "#000002"
_SERIES = [f"#0000{16 + i:02x}" for i in range(7)]
_VARIABLES = {_INK: "var(--ink)", _RULE: "var(--rule)"} | {
    colour: f"var(--series-{i})" for i, colour in enumerate(_SERIES)
}
# Colour is never the only sign: dashes and markers differ too. 7 colours with 4 of each give 28 styles.
_DASHES = ("-", (0, (5, 1.6)), (0, (1.2, 1.4)), (0, (6, 1.6, 1.2, 1.6)))
_MARKERS = ("o", "s", "^", "D")
_RC = {
    "svg.fonttype": "none",
    "svg.hashsalt": "hdlif",
    "text.parse_math": False,
    "text.color": _INK,
    "font.family": "DejaVu Sans",
    "font.size": 8.0,
    "axes.edgecolor": _INK,
    "axes.labelcolor": _INK,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid.axis": "y",
    "axes.grid": True,
    "axes.titlelocation": "left",
    "axes.titlesize": 8.0,
    "axes.titlepad": 7.0,
    "grid.color": _RULE,
    "grid.linewidth": 0.5,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "xtick.major.size": 2.5,
    "xtick.major.width": 0.6,
    "ytick.major.size": 0.0,
    "lines.linewidth": 1.3,
    "lines.markersize": 3.8,
    "lines.markeredgewidth": 0.0,
    "lines.dash_capstyle": "butt",
}


@dataclass(frozen=True)
class Series:
    """The points of one network; `style` is its place among the networks, the same in every chart."""

    style: int
    x: Sequence[float]
    y: Sequence[float]


@dataclass(frozen=True)
class Text:
    """What a chart says of itself: an id unique in the page, a title, and a description for those who cannot see."""

    ident: str
    title: str
    description: str


def lines(
    text: Text,
    series: Sequence[Series],
    *,
    x_label: str,
    y_label: str,
    y_limits: tuple[float, float] | None = None,
    markers: bool = False,
    size: tuple[float, float] = (4.6, 2.7),
) -> str:
    """One line per network over whole numbers (updates, time steps); a value that is not finite leaves a gap."""
    with _axes(size) as (figure, axes):
        for one in series:
            y = [value if math.isfinite(value) else math.nan for value in one.y]
            axes.plot(one.x, y, marker=_MARKERS[one.style % 4] if markers else "", **_line(one.style))
        axes.set_title(y_label)
        axes.set_xlabel(x_label)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=1))
        if y_limits:
            axes.set_ylim(*y_limits)
        axes.yaxis.set_major_locator(MaxNLocator(nbins=5))
    return _svg(figure, text)


def dots(text: Text, rows: Sequence[str], series: Sequence[Series], *, x_label: str) -> str:
    """A dot plot from zero: a row per layer, first at the top; `y` of a series are places in `rows`."""
    with _axes((4.6, 0.75 + 0.21 * len(rows)), grid="both") as (figure, axes):
        for one in series:
            style = _line(one.style) | {"linestyle": "none", "markersize": 5.0}
            axes.plot(one.x, one.y, marker=_MARKERS[one.style % 4], alpha=0.85, **style)
        axes.set_yticks(range(len(rows)), [_shortened(row) for row in rows])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xlim(left=0)
        axes.set_xlabel(x_label)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=5))
    return _svg(figure, text)


def swatch(text: Text, style: int) -> str:
    """A short line with the marker of a network, for the legend."""
    with _axes((0.42, 0.14), grid=None) as (figure, axes):
        axes.set_axis_off()
        axes.plot([0, 1, 2], [0, 0, 0], marker=_MARKERS[style % 4], markevery=[1], **_line(style))
    return _svg(figure, text)


def _line(style: int) -> dict[str, object]:
    colour = _SERIES[style % len(_SERIES)]
    return {"color": colour, "linestyle": _DASHES[style % 4], "clip_on": False}


def _shortened(name: str) -> str:
    return name if len(name) <= 26 else f"{name[:12]}…{name[-13:]}"


@contextmanager
def _axes(size: tuple[float, float], *, grid: str | None = "y") -> Iterator[tuple[Figure, Axes]]:
    """A figure of `size` inches under the page's style, whatever matplotlibrc the user has."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_RC)
        mpl.rcParams.update({"axes.grid": grid is not None, "axes.grid.axis": grid or "y"})
        figure = Figure(figsize=size, layout="constrained")
        yield figure, figure.add_subplot()
        # Saved here so that the style still holds; `_svg` reads it from the figure.
