"""Charts as SVG fragments that stand inside the page and take their colours from its style sheet.

matplotlib draws with marker colours (`#0000xx`), which become CSS variables: `--ink`, `--rule` and
`--series-0` and up. So one drawing is legible on light and on dark paper, and in print. The fragments carry
no namespace, date or version: the same numbers give the same bytes.
"""

import io
import itertools
import math
import re
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from matplotlib.ticker import MaxNLocator

from hdlif.errors import printable

_INK, _RULE = "#000001", "#000002"
_SERIES = [f"#0000{16 + i:02x}" for i in range(7)]
_VARIABLES = {_INK: "var(--ink)", _RULE: "var(--rule)"} | {
    colour: f"var(--series-{i})" for i, colour in enumerate(_SERIES)
}
# Colour is never the only sign: dashes and markers differ too. 7 colours with 4 of each give 28 styles.
_DASHES = ("-", (0, (5, 1.6)), (0, (1.2, 1.4)), (0, (6, 1.6, 1.2, 1.6)))
_MARKERS = ("o", "s", "^", "D")
_STEPS = [1, 2, 5, 10]
_WIDTH = 4.2
"""Inches of a chart of its own: so wide that its letters are read on a telephone."""
PANEL = (1.9, 1.4)
"""Inches of a small multiple."""
_MARGINS = {"left": 0.19, "right": 0.96, "bottom": 0.25, "top": 0.85}
"""Of a small multiple, the same in all, so that their axes stand in line."""
_ENDS = 0.84
"""Where the axes end in one that has values at the ends of its lines."""
_CHARACTERS_AN_INCH = 12
"""Of a chart's width that names below its x axis have, at their size."""
_RC: dict[Any, Any] = {
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
    "axes.formatter.useoffset": False,
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
    """The points of one network; `style` is its place among the networks, the same in every chart.

    `error`, where given, is how far y may be from what it stands for, to each side.
    """

    style: int
    x: Sequence[float]
    y: Sequence[float]
    error: Sequence[float] = ()


@dataclass(frozen=True)
class Spikes:
    """When the neurons of one network fire: `y` are places in the rows, `size` is a share of the largest spike."""

    style: int
    x: Sequence[float]
    y: Sequence[float]
    size: Sequence[float]


@dataclass(frozen=True)
class Membrane:
    """One neuron of one network over time."""

    style: int
    x: Sequence[float]
    membrane: Sequence[float]
    threshold: Sequence[float]
    fired: Sequence[bool]


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
    size: tuple[float, float] = (_WIDTH, 2.5),
    whole: bool = True,
    x_names: Sequence[str] = (),
    within: tuple[float, float] | None = None,
    rules: Sequence[float] = (),
    starts: Sequence[Sequence[float]] = (),
    ends: bool = False,
    rings: Sequence[tuple[int, float, float]] = (),
) -> str:
    """One line per network over x; a value that is not finite leaves a gap.

    Args:
        starts: values at x = 1, 2, ..., that thin lines without markers join: what the lines have come from.
        rings: points of lines that are singled out: style, x, y.
        ends: whether the last value of each line stands at its end.
        rules: where on x something ends and the next begins.
        within: the least and the most that y can be, beyond which the axis does not go.
        whole: whether x is of whole numbers, such as updates and time steps.
        x_names: what stands at 0, 1, ... instead of the number.
    """
    with _style():
        figure, axes = _panel(right=_ENDS if ends else None) if size == PANEL else _chart(size)
        for values in dict.fromkeys(map(tuple, starts)):
            axes.plot(
                range(1, len(values) + 1),
                values,
                color=_INK,
                linewidth=0.5,
                linestyle=(0, (3, 2)),
                zorder=1.5,
                clip_on=False,
            )
        for one in series:
            y = [value if math.isfinite(value) else math.nan for value in one.y]
            _draw(axes, one.style, one.x, y, marker=_MARKERS[one.style % 4] if markers else "")
            for x, middle, error in zip(one.x, y, one.error, strict=False):
                _draw(axes, one.style, [x, x], [middle - error, middle + error], linestyle="-", linewidth=0.8)
        for style, place, height in rings:
            _draw(
                axes,
                style,
                [place],
                [height],
                marker="o",
                markersize=9,
                markerfacecolor="none",
                markeredgewidth=1.2,
                linestyle="",
            )
        _rule(axes, rules)
        axes.set_title(y_label)
        axes.set_xlabel(x_label)
        if x_names:
            room = int(size[0] * _CHARACTERS_AN_INCH / len(x_names))
            axes.set_xticks(range(len(x_names)), [_wrapped(name, room) for name in x_names])
            axes.set_xlim(-0.3, len(x_names) - 0.7)
        else:
            axes.xaxis.set_major_locator(MaxNLocator(nbins=6, steps=_STEPS, integer=whole, min_n_ticks=1))
        axes.yaxis.set_major_locator(MaxNLocator(nbins=5, steps=_STEPS))
        if y_limits:
            axes.set_ylim(*y_limits)
        elif within:
            low, high = axes.get_ylim()
            axes.set_ylim(max(low, within[0]), min(high, within[1]))
        if ends:
            _say_ends(axes, series)
        return _svg(figure, text)


def _chart(size: tuple[float, float]) -> tuple[Figure, Axes]:
    figure = Figure(figsize=size, layout="constrained")
    return figure, figure.add_subplot()


def _panel(*, right: float | None = None) -> tuple[Figure, Axes]:
    figure = Figure(figsize=PANEL)
    figure.subplots_adjust(**_MARGINS | ({} if right is None else {"right": right}))
    return figure, figure.add_subplot()


_LETTERS = 6.5
"""Points of the values at the ends of lines."""


def _say_ends(axes: Axes, series: Sequence[Series]) -> None:
    """The last value of each line beside it, in its colour, apart from the others; none where there is no room."""
    low, high = axes.get_ylim()
    height = 72 * PANEL[1] * (_MARGINS["top"] - _MARGINS["bottom"])
    room = (high - low) * _LETTERS / height
    known = sorted(((one.y[-1], one) for one in series if one.y and math.isfinite(one.y[-1])), key=lambda end: end[0])
    if (len(known) - 1) * room > high - low:
        return
    decimals = max(0, 2 - math.floor(math.log10(high - low)))
    places: list[float] = []
    for value, _ in known:
        places.append(max(value, places[-1] + room) if places else value)
    # Those that were pushed beyond the top push the others down.
    for i in range(len(places) - 1, -1, -1):
        places[i] = min(places[i], high if i == len(places) - 1 else places[i + 1] - room)
    for place, (value, one) in zip(places, known, strict=True):
        axes.annotate(
            f"{value:.{min(decimals, 3)}f}",
            (one.x[-1], place),
            (4, 0),
            textcoords="offset points",
            va="center_baseline",
            fontsize=_LETTERS,
            color=_SERIES[one.style % 7],
            annotation_clip=False,
        )


def heat(
    text: Text,
    values: Sequence[Sequence[float]],
    *,
    x_label: str,
    y_label: str,
    x_step: float = 1,
    y_step: float = 1,
    size: tuple[float, float] = (_WIDTH, 2.5),
    rules: Sequence[float] = (),
) -> str:
    """A row for each channel, the first at the bottom, the darker the larger a value is among all.

    Args:
        values: [rows][columns].
        x_step, y_step: what lies between two columns, or rows; the first is at 1.
        rules: as `lines` takes them.
    """
    known = [value for row in values for value in row if math.isfinite(value)]
    low, high = (min(known), max(known)) if known else (0.0, 0.0)
    boxes: dict[int, list[Path]] = {}
    for place, row in enumerate(values):
        shades = [_shade(value, low, high) for value in row]
        begin = 0
        for shade, alike in itertools.groupby(shades):
            end = begin + sum(1 for _ in alike)
            left, right = 0.5 + begin * x_step, 0.5 + end * x_step
            low_edge, high_edge = 0.5 + place * y_step, 0.5 + (place + 1) * y_step
            corners = [(left, low_edge), (left, high_edge), (right, high_edge), (right, low_edge), (left, low_edge)]
            boxes.setdefault(shade, []).append(Path(corners, closed=True))
            begin = end
    with _style():
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.add_subplot()
        axes.grid(visible=False)
        # A path for each shade, and not one for each value: some thousands would make a page of megabytes.
        for shade, paths in sorted(boxes.items()):
            if shade:
                whole = Path.make_compound_path(*paths)
                axes.add_patch(PathPatch(whole, facecolor=_SERIES[0], alpha=shade / _SHADES, linewidth=0))
        columns = max(map(len, values), default=0)
        axes.set_xlim(0.5, 0.5 + columns * x_step)
        axes.set_ylim(0.5, 0.5 + len(values) * y_step)
        _rule(axes, rules)
        axes.set_title(y_label)
        axes.set_xlabel(x_label)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6, steps=_STEPS, integer=True, min_n_ticks=1))
        axes.yaxis.set_major_locator(MaxNLocator(nbins=5, steps=_STEPS, integer=True))
        return _svg(figure, text)


_SHADES = 12


def _shade(value: float, low: float, high: float) -> int:
    return round(_SHADES * (value - low) / (high - low)) if math.isfinite(value) and high > low else 0


def _rule(axes: Axes, places: Sequence[float]) -> None:
    for place in places:
        axes.axvline(place, color=_INK, linewidth=0.5, linestyle=(0, (1, 2)), zorder=1)


def scatter(text: Text, series: Sequence[Series], *, x_label: str, y_label: str, size: tuple[float, float]) -> str:
    """Points with the bars of their errors over the diagonal, on which both axes say the same."""
    with _style(grid="both"):
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.add_subplot()
        for one in series:
            for x, middle, error in zip(one.x, one.y, one.error, strict=False):
                _draw(axes, one.style, [x, x], [middle - error, middle + error], linestyle="-", linewidth=0.8)
            _draw(axes, one.style, one.x, one.y, marker=_MARKERS[one.style % 4], markersize=4.5, linestyle="none")
        sides = (axes.get_xlim(), axes.get_ylim())
        ends = min(low for low, _ in sides), max(high for _, high in sides)
        axes.plot(ends, ends, color=_INK, linewidth=0.8, linestyle=(0, (4, 2)), zorder=1.5)
        axes.set_xlim(*ends)
        axes.set_ylim(*ends)
        axes.set_title(y_label)
        axes.set_xlabel(x_label)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=5, steps=_STEPS))
        axes.yaxis.set_major_locator(MaxNLocator(nbins=5, steps=_STEPS))
        return _svg(figure, text)


def dots(
    text: Text,
    rows: Sequence[str],
    series: Sequence[Series],
    *,
    x_label: str,
    within: tuple[float, float] | None = None,
) -> str:
    """A dot plot from 0 or less: a row per layer, the first at the top; the `y` of a series are places in `rows`.

    Args:
        within: the least and the most that x can be; the axis then begins below the least of the values and says so,
            with two strokes through it, and ends with the most.
    """
    with _style(grid="both"):
        figure = Figure(figsize=(_WIDTH, 0.75 + 0.25 * len(rows)), layout="constrained")
        axes = figure.add_subplot()
        for i, one in enumerate(series):
            y = set_apart(one.y, i, len(series), room=min(0.17, 0.7 / len(series)))
            _draw(axes, one.style, one.x, y, marker=_MARKERS[one.style % 4], markersize=4.5, linestyle="none")
        _name_rows(axes, rows)
        if within is None:
            axes.set_xlim(left=min([0, *(x for one in series for x in one.x)]))
        else:
            low = below(min(x for one in series for x in one.x), within)
            axes.set_xlim(low, within[1])
            if low > within[0]:
                x_label = f"{x_label} (the axis begins at {low:g}, not at {within[0]:g})"
                _break(axes)
        axes.set_xlabel(x_label)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=5, steps=_STEPS))
        return _svg(figure, text)


def below(least: float, within: tuple[float, float]) -> float:
    """Where an axis up to the most that there can be begins, so that it shows the least value: a round number below it.

    >>> below(88.6, (0, 100)), below(99.7, (0, 100)), below(31.0, (0, 100)), below(12.0, (0, 100)), below(0.93, (0, 1))
    (88.0, 99.0, 30.0, 0.0, 0.92)
    """
    whole = within[1] - within[0]
    rough = max((within[1] - least) / 8, whole / 100)
    power = 10.0 ** math.floor(math.log10(rough) + 1e-9)
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))
    low = round(math.floor((least - whole / 400) / step + 1e-9) * step, 9)
    return low if low > within[0] + whole / 8 else float(within[0])


def _break(axes: Axes) -> None:
    """Two strokes through the begin of the axis below, as is usual where it does not begin at zero."""
    stroke = [(-0.6, -1.0), (0.6, 1.0)]
    axes.plot(
        [0.012, 0.03],
        [0, 0],
        marker=stroke,
        markersize=8,
        markeredgewidth=0.9,
        color=_INK,
        linestyle="none",
        transform=axes.transAxes,
        clip_on=False,
        zorder=5,
    )


def raster(text: Text, rows: Sequence[str], spikes: Sequence[Spikes], *, steps: int) -> str:
    """A row per neuron, the first at the top, and a mark for each of its spikes at time steps 1 to `steps`."""
    with _style(grid="both"):
        figure = Figure(figsize=(_WIDTH, 0.75 + 0.25 * len(rows)), layout="constrained")
        axes = figure.add_subplot()
        for i, one in enumerate(spikes):
            y = set_apart(one.y, i, len(spikes), room=0.7 / len(spikes))
            for place, row, size in zip(one.x, y, one.size, strict=True):
                # The area is the spike's value; the smallest still shows.
                width = max(1.5, 6.5 * math.sqrt(size))
                look = {"marker": _MARKERS[one.style % 4], "markersize": width, "linestyle": "none"}
                _draw(axes, one.style, [place], [row], **look)
        _name_rows(axes, rows)
        axes.set_xlim(0.5, steps + 0.5)
        axes.set_xlabel("time step")
        axes.xaxis.set_major_locator(MaxNLocator(nbins=8, steps=_STEPS, integer=True, min_n_ticks=1))
        return _svg(figure, text)


def membranes(text: Text, traces: Sequence[Membrane], *, title: str) -> str:
    """A small panel: a line for each membrane, dotted its threshold, a mark where it fires."""
    with _style():
        figure, axes = _panel()
        for one in traces:
            _draw(axes, one.style, one.x, one.membrane)
            _draw(axes, one.style, one.x, one.threshold, linestyle=(0, (1, 1.6)), linewidth=0.8)
            fired = [(t, m) for t, m, s in zip(one.x, one.membrane, one.fired, strict=True) if s]
            marks = {"marker": _MARKERS[one.style % 4], "linestyle": "none"}
            _draw(axes, one.style, [t for t, _ in fired], [m for _, m in fired], **marks)
        axes.set_title(_shortened(title))
        axes.set_xlabel("time step")
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6, steps=_STEPS, integer=True, min_n_ticks=1))
        axes.yaxis.set_major_locator(MaxNLocator(nbins=4, steps=_STEPS))
        return _svg(figure, text)


def swatch(text: Text, style: int) -> str:
    """A short line with the marker of a network, for the legend."""
    with _style():
        figure = Figure(figsize=(0.42, 0.14))
        axes = figure.add_axes((0.05, 0, 0.9, 1))
        axes.set_axis_off()
        _draw(axes, style, [0, 1, 2], [0, 0, 0], marker=_MARKERS[style % 4], markevery=[1])
        return _svg(figure, text)


def _draw(axes: Axes, style: int, x: Sequence[float], y: Sequence[float], **options: Any) -> None:
    look: dict[str, Any] = {"color": _SERIES[style % 7], "linestyle": _DASHES[style % 4], "clip_on": False}
    axes.plot(x, y, **(look | options))


def set_apart(places: Sequence[float], which: int, count: int, *, room: float) -> list[float]:
    """The rows, or columns, of one of `count` networks, `room` apart within each, so that equal numbers do not hide."""
    apart = (which - (count - 1) / 2) * room
    return [place + apart for place in places]


def _name_rows(axes: Axes, rows: Sequence[str]) -> None:
    axes.set_yticks(range(len(rows)), [_shortened(row) for row in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)


def _shortened(name: str) -> str:
    name = printable(name)
    return name if len(name) <= 32 else f"{name[:15]}…{name[-16:]}"


def _wrapped(name: str, room: int) -> str:
    """A name in lines of about so many characters, broken between words."""
    return textwrap.fill(_shortened(name), max(room, 1), break_long_words=False, break_on_hyphens=False)


@contextmanager
def _style(*, grid: str = "y") -> Iterator[None]:
    """The page's own style, whatever matplotlibrc the reader's machine has."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_RC | {"axes.grid.axis": grid})
        yield


def _svg(figure: Figure, text: Text) -> str:
    """The figure as an `<svg>` element for HTML: no namespaces, ids of its own, colours by CSS variable."""
    buffer = io.BytesIO()
    metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(buffer, format="svg", transparent=True, metadata=metadata)
    root = ElementTree.fromstring(buffer.getvalue())
    for parent in root.iter():
        # matplotlib's style sheet would reach the whole page: the page's own has its one rule.
        for child in [child for child in parent if child.tag.endswith(("}style", "}metadata"))]:
            parent.remove(child)
    used = set(re.findall(r"#([\w.-]+)", " ".join(v for e in root.iter() for v in e.attrib.values())))
    for element in root.iter():
        element.tag = element.tag.partition("}")[2]
        element.text = element.text if element.tag == "text" else None
        element.tail = None
        element.attrib = {
            key.rpartition("}")[2]: _adapted(key, value, text.ident)
            for key, value in element.attrib.items()
            if key != "id" or value in used
        }
    _, _, width, height = root.attrib["viewBox"].split()
    title = ElementTree.Element("title", id=f"{text.ident}-title")
    title.text = printable(text.title)
    description = ElementTree.Element("desc", id=f"{text.ident}-desc")
    description.text = printable(text.description)
    root[:0] = [title, description]
    root.attrib = {
        "class": "chart",
        "viewBox": f"0 0 {width} {height}",
        "role": "img",
        "aria-labelledby": f"{title.attrib['id']} {description.attrib['id']}",
    }
    return ElementTree.tostring(root, encoding="unicode")


def _adapted(key: str, value: str, ident: str) -> str:
    """One attribute, with ids made the chart's own and marker colours made variables."""
    if key == "id":
        return f"{ident}-{value}"
    if key == "style":
        value = re.sub(r"#0000[0-9a-f]{2}\b", lambda match: _VARIABLES[match[0]], value)
        return re.sub(r"font-family: [^;]*; ?", "", value)
    if key == "d":
        return " ".join(value.split())
    return re.sub(r"(^|\()#", rf"\g<1>#{ident}-", value)
