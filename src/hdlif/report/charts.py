"""Draw charts as SVG fragments that take their colours from the page's style sheet.

matplotlib draws with placeholder colours (`#0000xx`), which become CSS variables such as `--ink`, `--rule` and
`--series-0`. Charts are legible in light mode, in dark mode and in print. Fragments contain no namespace, date or
version, so identical numbers produce identical bytes.
"""

import io
import math
import re
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from hdlif.errors import printable

INK = "#000001"
_RULE = "#000002"
SERIES = [f"#0000{16 + i:02x}" for i in range(7)]
_VARIABLES = {INK: "var(--ink)", _RULE: "var(--rule)"} | {
    colour: f"var(--series-{i})" for i, colour in enumerate(SERIES)
}
# Dashes and markers also differ, for colour-blind readers. 7 colours with 4 of each give 28 styles.
_DASHES = ("-", (0, (5, 1.6)), (0, (1.2, 1.4)), (0, (6, 1.6, 1.2, 1.6)))
_MARKERS = ("o", "s", "^", "D")
_WIDTH = 4.2
"""Width of a single chart in inches, at which its text is legible on a phone."""
PANEL = (1.9, 1.4)
"""Size of a small multiple in inches."""
_MARGINS = {"left": 0.19, "right": 0.96, "bottom": 0.25, "top": 0.85}
"""Margins of small multiples, equal in all so their axes line up."""
_RIGHT_OF_ENDS = 0.84
"""Right margin of a small multiple with values at the ends of its lines."""
_CHARACTERS_AN_INCH = 12
"""Characters per inch of the names below the x axis."""
_END_POINTS = 6.5
"""Font size in points of the values at the ends of lines."""
_RC: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "hdlif",
    "text.parse_math": False,
    "text.color": INK,
    "font.family": "DejaVu Sans",
    "font.size": 8.0,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.formatter.useoffset": False,
    "axes.grid": True,
    "axes.titlelocation": "left",
    "axes.titlesize": 8.0,
    "axes.titlepad": 7.0,
    "grid.color": _RULE,
    "grid.linewidth": 0.5,
    "xtick.color": INK,
    "ytick.color": INK,
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
    """The points of one network; the network's number `style` determines how they are drawn.

    Each value of `error` is half the length of an error bar.
    """

    style: int
    x: Sequence[float]
    y: Sequence[float]
    error: Sequence[float] = ()


@dataclass(frozen=True)
class Text:
    """A chart's unique id, title and description for screen readers."""

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
    thin: Sequence[Series] = (),
    levels: Sequence[float] = (),
) -> Markup:
    """Draw one line per network over x, with gaps at non-finite values.

    Args:
        levels: y of dashed horizontal lines.
        thin: lines to draw below the others, without markers.
        starts: values at x = 1, 2, ... before training, drawn as thin lines.
        rings: points to highlight, as (style, x, y).
        ends: whether to print the last value of each line at its end.
        rules: x of dotted vertical lines.
        within: range of possible y, which the axis does not exceed.
        whole: whether x contains integers, such as updates and time steps.
        x_names: names that replace the numbers 0, 1, ... on the axis.
    """
    with chart(size, right=_RIGHT_OF_ENDS if ends else _MARGINS["right"]) as axes:
        for values in dict.fromkeys(map(tuple, starts)):
            look: dict[str, Any] = {"color": INK, "linewidth": 0.5, "linestyle": (0, (3, 2)), "zorder": 1.5}
            axes.plot(range(1, len(values) + 1), values, clip_on=False, **look)
        for one in thin:
            draw(axes, one.style, one.x, one.y, linewidth=0.8, alpha=0.8, zorder=1.5)
        for level in levels:
            axes.axhline(level, color=INK, linewidth=0.7, linestyle=(0, (5, 3)), zorder=1)
        for one in series:
            y = [value if math.isfinite(value) else math.nan for value in one.y]
            draw(axes, one.style, one.x, y, marker=_MARKERS[one.style % 4] if markers else "")
            draw_errors(axes, one)
        ring: dict[str, Any] = {"marker": "o", "markersize": 9, "markerfacecolor": "none", "markeredgewidth": 1.2}
        for style, place, height in rings:
            draw(axes, style, [place], [height], linestyle="", **ring)
        rule(axes, rules)
        if x_names:
            room = int(size[0] * _CHARACTERS_AN_INCH / len(x_names))
            axes.set_xticks(range(len(x_names)), [_wrapped(name, room) for name in x_names])
            axes.set_xlim(-0.3, len(x_names) - 0.7)
        if y_limits:
            axes.set_ylim(*y_limits)
        elif within:
            low, high = axes.get_ylim()
            axes.set_ylim(max(low, within[0]), min(high, within[1]))
        if ends:
            _print_ends(axes, series)
        x_ticks = None if x_names else ticks(6, whole=whole)
        return finish(axes, text, title=y_label, x_label=x_label, x_ticks=x_ticks, y_ticks=ticks(5))


def points(text: Text, series: Sequence[Series], *, x_label: str, y_label: str) -> Markup:
    """Draw one marker per point on a logarithmic x axis."""
    with chart(grid="both") as axes:
        for one in series:
            mark(axes, one.style, one.x, one.y, markersize=6)
        axes.set_xscale("log")
        axes.margins(0.12)
        axes.minorticks_off()
        places: list[float] = []
        for x in sorted(x for one in series for x in one.x):
            # Labels that would touch are omitted.
            if not places or x >= 1.5 * places[-1]:
                places.append(x)
        axes.set_xticks(places, [f"{float(f'{place:.2g}'):g}" for place in places])
        return finish(axes, text, title=y_label, x_label=x_label, y_ticks=ticks(5))


def dots(
    text: Text,
    rows: Sequence[str],
    series: Sequence[Series],
    *,
    x_label: str,
    within: tuple[float, float] | None = None,
) -> Markup:
    """Draw a dot plot with one row per layer; each point's `y` is an index into `rows`.

    Args:
        within: range of possible x. The axis then begins below the least value and ends at the maximum of the range; if
            it does not begin at the minimum, its label and two strokes mark this. Without `within`, it begins at 0 or
            at a negative least value.
    """
    with chart_of_rows(rows, networks=len(series)) as axes:
        for i, one in enumerate(series):
            y = set_apart(one.y, i, len(series), room=min(0.17, 0.7 / len(series)))
            mark(axes, one.style, one.x, y, markersize=4.5)
        least = min(x for one in series for x in one.x)
        if within is None:
            axes.set_xlim(left=min(0, least))
        else:
            low = below(least, within)
            axes.set_xlim(low, within[1])
            if low > within[0]:
                x_label = f"{x_label} (the axis begins at {low:g}, not at {within[0]:g})"
                # Draw two strokes, which usually mark an axis that does not begin at zero.
                stroke: dict[str, Any] = {"marker": [(-0.6, -1.0), (0.6, 1.0)], "markersize": 8, "markeredgewidth": 0.9}
                stroke |= {"color": INK, "linestyle": "none", "clip_on": False, "zorder": 5}
                axes.plot([0.012, 0.03], [0, 0], transform=axes.transAxes, **stroke)
        return finish(axes, text, x_label=x_label, x_ticks=ticks(5))


def below(least: float, within: tuple[float, float]) -> float:
    """Return the start of an axis, which is a round number below the smallest value.

    >>> below(88.6, (0, 100)), below(99.7, (0, 100)), below(31.0, (0, 100)), below(12.0, (0, 100)), below(0.93, (0, 1))
    (88.0, 99.0, 30.0, 0.0, 0.92)
    """
    whole = within[1] - within[0]
    rough = max((within[1] - least) / 8, whole / 100)
    power = 10.0 ** math.floor(math.log10(rough) + 1e-9)
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))
    low = round(math.floor((least - whole / 400) / step + 1e-9) * step, 9)
    return low if low > within[0] + whole / 8 else float(within[0])


def swatch(text: Text, style: int) -> Markup:
    """Draw a network's legend entry, which is a short line with the network's marker."""
    with _page_style():
        axes = Figure(figsize=(0.42, 0.14)).add_axes((0.05, 0, 0.9, 1))
        axes.set_axis_off()
        draw(axes, style, [0, 1, 2], [0, 0, 0], marker=_MARKERS[style % 4], markevery=[1])
        return finish(axes, text)


@contextmanager
def chart(
    size: tuple[float, float] = (_WIDTH, 2.5), *, grid: str = "y", right: float = _MARGINS["right"]
) -> Iterator[Axes]:
    """Yield axes in the page's style, with the given size in inches."""
    with _page_style(grid):
        figure = Figure(figsize=size, layout=None if size == PANEL else "constrained")
        if size == PANEL:
            figure.subplots_adjust(**_MARGINS | {"right": right})
        yield figure.add_subplot()


@contextmanager
def chart_of_rows(rows: Sequence[str], *, networks: int = 1) -> Iterator[Axes]:
    """Yield axes with one labelled row per name, from top to bottom."""
    with chart((_WIDTH, 0.75 + max(0.25, 0.08 * networks) * len(rows)), grid="both") as axes:
        axes.set_yticks(range(len(rows)), [shortened(row) for row in rows])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        yield axes


@contextmanager
def _page_style(grid: str = "y") -> Iterator[None]:
    """Within a context, use the page's style and ignore the machine's matplotlibrc."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_RC | {"axes.grid.axis": grid})
        yield


def draw(axes: Axes, style: int, x: Sequence[float], y: Sequence[float], **look: Any) -> None:
    """Draw a network's line in a chart."""
    of_style: dict[str, Any] = {"color": SERIES[style % 7], "linestyle": _DASHES[style % 4], "clip_on": False}
    axes.plot(x, y, **(of_style | look))


def mark(axes: Axes, style: int, x: Sequence[float], y: Sequence[float], **look: Any) -> None:
    """Draw a network's points without a line."""
    draw(axes, style, x, y, marker=_MARKERS[style % 4], linestyle="none", **look)


def draw_errors(axes: Axes, one: Series) -> None:
    """Draw an error bar for each point."""
    for x, middle, error in zip(one.x, one.y, one.error, strict=False):
        draw(axes, one.style, [x, x], [middle - error, middle + error], linestyle="-", linewidth=0.8)


def rule(axes: Axes, places: Sequence[float]) -> None:
    """Draw dotted vertical lines."""
    for place in places:
        axes.axvline(place, color=INK, linewidth=0.5, linestyle=(0, (1, 2)), zorder=1)


def set_apart(places: Sequence[float], which: int, count: int, *, room: float) -> list[float]:
    """Shift the positions of a network's points so that equal values from different networks do not overlap."""
    apart = (which - (count - 1) / 2) * room
    return [place + apart for place in places]


def ticks(count: int, *, whole: bool | None = None) -> MaxNLocator:
    """Return a locator that places at most `count` ticks at round numbers."""
    more = {} if whole is None else {"integer": whole, "min_n_ticks": 1}
    return MaxNLocator(nbins=count, steps=[1, 2, 5, 10], **more)


def shortened(name: str) -> str:
    """Shorten a name to at most 32 characters by replacing the middle with an ellipsis."""
    name = printable(name)
    return name if len(name) <= 32 else f"{name[:15]}…{name[-16:]}"


def _wrapped(name: str, room: int) -> str:
    """Break a name between words into lines of about `room` characters."""
    return textwrap.fill(shortened(name), max(room, 1), break_long_words=False, break_on_hyphens=False)


def _print_ends(axes: Axes, series: Sequence[Series]) -> None:
    """Print each line's last value at its end, unless the labels would overlap."""
    low, high = axes.get_ylim()
    height = 72 * PANEL[1] * (_MARGINS["top"] - _MARGINS["bottom"])
    room = (high - low) * _END_POINTS / height
    known = sorted(((one.y[-1], one) for one in series if one.y and math.isfinite(one.y[-1])), key=lambda end: end[0])
    if (len(known) - 1) * room > high - low:
        return
    decimals = max(0, 2 - math.floor(math.log10(high - low)))
    places: list[float] = []
    for value, _ in known:
        places.append(max(value, places[-1] + room) if places else value)
    # Labels that would extend beyond the top push the others down.
    for i in range(len(places) - 1, -1, -1):
        places[i] = min(places[i], high if i == len(places) - 1 else places[i + 1] - room)
    for place, (value, one) in zip(places, known, strict=True):
        axes.annotate(
            f"{value:.{min(decimals, 3)}f}",
            (one.x[-1], place),
            (4, 0),
            textcoords="offset points",
            va="center_baseline",
            fontsize=_END_POINTS,
            color=SERIES[one.style % 7],
            annotation_clip=False,
        )


def finish(
    axes: Axes,
    text: Text,
    *,
    title: str = "",
    x_label: str = "",
    x_ticks: MaxNLocator | None = None,
    y_ticks: MaxNLocator | None = None,
) -> Markup:
    """Add a chart's labels and return the chart as an `<svg>` element with unique ids and CSS variables."""
    axes.set_title(title)
    axes.set_xlabel(x_label)
    for axis, locator in ((axes.xaxis, x_ticks), (axes.yaxis, y_ticks)):
        if locator is not None:
            axis.set_major_locator(locator)
    buffer = io.BytesIO()
    metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure: Any = axes.figure
    figure.savefig(buffer, format="svg", transparent=True, metadata=metadata)
    root = ElementTree.fromstring(buffer.getvalue())
    for parent in root.iter():
        # matplotlib's style sheet would apply to the entire page. Its only rule is in the page's own style sheet.
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
    named = []
    for tag, words in (("title", text.title), ("desc", text.description)):
        named.append(ElementTree.Element(tag, id=f"{text.ident}-{tag}"))
        named[-1].text = printable(words)
    root[:0] = named
    root.attrib = {
        "class": "chart",
        "viewBox": f"0 0 {width} {height}",
        "role": "img",
        "aria-labelledby": " ".join(one.attrib["id"] for one in named),
    }
    return Markup(ElementTree.tostring(root, encoding="unicode"))


def _adapted(key: str, value: str, ident: str) -> str:
    """Make the ids in an SVG attribute unique and replace placeholder colours with CSS variables."""
    if key == "id":
        return f"{ident}-{value}"
    if key == "style":
        value = re.sub(r"#0000[0-9a-f]{2}\b", lambda match: _VARIABLES[match[0]], value)
        return re.sub(r"font-family: [^;]*; ?", "", value)
    if key == "d":
        return " ".join(value.split())
    return re.sub(r"(^|\()#", rf"\g<1>#{ident}-", value)
