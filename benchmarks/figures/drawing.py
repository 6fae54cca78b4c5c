"""A plot as data, and its drawing as SVG.

One file serves light and dark pages: colours are variables, which follow the reader's colour scheme, on a ground of the
plot's own. Equal data give equal bytes with one version of matplotlib; the digest in the file does not depend on it.
"""

import hashlib
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

LIGHT = {"ground": "#ffffff", "ink": "#1f2328", "grid": "#d8dee4"}
DARK = {"ground": "#161b22", "ink": "#e6edf3", "grid": "#363d46"}
LINES = (
    ("#0b62c4", "#6cb0ff"),
    ("#b3470c", "#ff9b5e"),
    ("#1d7a3d", "#5fd38a"),
    ("#7b3fb5", "#c79bff"),
    ("#a11d4c", "#ff8fb3"),
    ("#5c5f00", "#d5d64f"),
    ("#00707a", "#4fd0dd"),
    ("#6e4a2d", "#d3a683"),
    ("#555b63", "#a9b1bb"),
)
"""Of each line, on a light and on a dark ground; both have a contrast of at least 4.5."""
MARKERS = "osD^vP*Xh"
MOST_TICKS = 8
DASHES = {"solid": "-", "dashed": "--", "dotted": ":", "points": " "}
BAR = 0.36
"""Width of a bar, of a step of x."""
# Stands for a variable while matplotlib draws.
_STANDS = {"ground": "#010101", "ink": "#020202", "grid": "#030303"} | {
    f"line{i}": f"#0404{i + 16:02x}" for i in range(len(LINES))
}


@dataclass(frozen=True)
class Line:
    """Points (x, y), and where they have a spread (x, y, low, high)."""

    name: str
    points: tuple[tuple[float, ...], ...]
    dashes: str = "solid"
    """Or "points", which no line connects, or "bars", beside one another."""
    colour: int | None = None
    """Which of the colours; its place by default."""
    marked: bool = True
    """Whether its points have markers; dotted lines have none."""


@dataclass(frozen=True)
class Panel:
    x: str
    y: str
    lines: tuple[Line, ...]
    log_x: bool = False
    log_y: bool = False
    lowest_y: float | None = None
    title: str = ""


@dataclass(frozen=True)
class Plot:
    """Panels side by side, with one legend."""

    what: str
    """For who does not see it."""
    panels: tuple[Panel, ...]
    rows: int = 1
    """Rows of panels, filled one after the other."""

    @property
    def digest(self) -> str:
        return hashlib.sha256(repr(self).encode()).hexdigest()[:16]


def digest_of(svg: str) -> str | None:
    """The digest that a drawn plot states."""
    found = re.search(r"data-digest=\"([0-9a-f]+)\"", svg)
    return found[1] if found else None


def drawn(plot: Plot) -> str:
    """The plot as SVG."""
    settings = {
        "svg.hashsalt": "hdlif",
        "svg.fonttype": "none",
        "font.family": "sans-serif",
        "font.size": 9,
        "axes.edgecolor": _STANDS["ink"],
        "axes.labelcolor": _STANDS["ink"],
        "axes.titlecolor": _STANDS["ink"],
        "axes.titlesize": 9,
        "text.color": _STANDS["ink"],
        "xtick.color": _STANDS["ink"],
        "ytick.color": _STANDS["ink"],
        "grid.color": _STANDS["grid"],
        "axes.spines.top": False,
        "axes.spines.right": False,
    }
    with rc_context(settings):
        columns = len(plot.panels) // plot.rows
        size = 1.6 + 3.6 * columns, 3.4 + 1.9 * (plot.rows - 1)
        figure = Figure(size, layout="constrained", facecolor=_STANDS["ground"])
        axes = list(figure.subplots(plot.rows, columns, squeeze=False).flat)
        for panel, axis in zip(plot.panels, axes, strict=True):
            _draw(panel, axis)
        shown = {name: handle for axis in axes for handle, name in zip(*axis.get_legend_handles_labels(), strict=True)}
        if len(shown) > 1:
            style = {"loc": "outside right upper", "frameon": False, "fontsize": 8, "handlelength": 2.6}
            if max(map(len, shown)) > 25:
                style |= {"loc": "outside lower center", "ncols": 2}
            figure.legend(list(shown.values()), list(shown), **style)
        file = io.StringIO()
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return _with_variables(file.getvalue(), plot)


def _draw(panel, axis) -> None:  # type: ignore[no-untyped-def]
    axis.set(xlabel=panel.x, ylabel=panel.y, title=panel.title, facecolor=_STANDS["ground"])
    axis.grid(linewidth=0.6)
    axis.set_axisbelow(True)
    for place, line in enumerate(panel.lines):
        colour = place if line.colour is None else line.colour
        stand = _STANDS[f"line{colour % len(LINES)}"]
        x, y = [point[0] for point in line.points], [point[1] for point in line.points]
        if line.dashes == "bars":
            axis.bar(
                [at + BAR * (place - (len(panel.lines) - 1) / 2) for at in x], y, BAR, color=stand, label=line.name
            )
            continue
        spreads = [point for point in line.points if len(point) == 4]
        axis.plot(
            x, y, DASHES["dashed" if place >= len(LINES) else line.dashes], color=stand, label=line.name, linewidth=1.4,
            marker="" if line.dashes == "dotted" or not line.marked else MARKERS[colour % len(MARKERS)], markersize=3.5,
        )  # fmt: skip
        if spreads:
            axis.vlines([s[0] for s in spreads], [s[2] for s in spreads], [s[3] for s in spreads], stand, linewidth=1)
    everywhere = sorted({point[0] for line in panel.lines for point in line.points})
    if not panel.log_x and len(everywhere) <= MOST_TICKS and all(float(x).is_integer() for x in everywhere):
        axis.set_xticks(everywhere)
    if panel.lowest_y is not None:
        axis.set_ylim(bottom=panel.lowest_y)
    if panel.log_x:
        axis.set_xscale("log")
        axis.set_xticks(_apart(everywhere))
        axis.xaxis.set_minor_formatter(NullFormatter())
        axis.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
        axis.minorticks_off()
    if panel.log_y:
        axis.set_yscale("log")
        axis.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:,g}"))


def _apart(places: Sequence[float]) -> list[float]:
    """Those whose labels do not touch."""
    kept: list[float] = []
    for place in places:
        if not kept or place >= 1.7 * kept[-1]:
            kept.append(place)
    return kept


def _with_variables(svg: str, plot: Plot) -> str:
    light = LIGHT | {f"line{i}": pair[0] for i, pair in enumerate(LINES)}
    dark = DARK | {f"line{i}": pair[1] for i, pair in enumerate(LINES)}
    used = {name for name, stand in _STANDS.items() if stand in svg}
    for name in used:
        svg = svg.replace(_STANDS[name], f"var(--{name})")
    schemes = ["".join(f"--{name}:{of[name]};" for name in sorted(used)) for of in (light, dark)]
    style = f"svg{{{schemes[0]}}}@media(prefers-color-scheme:dark){{svg{{{schemes[1]}}}}}"
    start = svg.index("<svg")
    end = svg.index(">", start)
    svg = svg[:end] + f' role="img" data-digest="{plot.digest}"' + svg[end:]
    end = svg.index(">", start) + 1
    # Lines end without blanks, as in every other file.
    svg = f"{svg[start:end]}\n <title>{plot.what}</title>\n <style>{style}</style>{svg[end:]}"
    return "\n".join(line.rstrip() for line in svg.splitlines()) + "\n"
