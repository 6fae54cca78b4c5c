"""Charts: SVG that can stand in the page."""

import itertools
import math
from xml.etree import ElementTree

import matplotlib as mpl

from hdlif.report.charts import PANEL, Series, Text, lines, swatch
from hdlif.report.recording import heat

TEXT = Text("one", "A title & more", "What it shows")


def drawn(*series: Series, **more: object) -> str:
    return lines(TEXT, list(series), x_label="t", y_label="y", **more)


def paths(svg: str, style: str) -> list[dict[str, str]]:
    return [path.attrib for path in ElementTree.fromstring(svg).iter("path") if style in path.get("style", "")]


def test_line_leaves_a_gap_where_a_value_is_not_finite():
    svg = drawn(Series(0, [1, 2, 3, 4, 5], [1, 2, math.inf, 2, 1]))
    line = next(path for path in paths(svg, "stroke: var(--series-0)") if "fill: none" in path["style"])
    assert line["d"].count("M") == 2


def test_28_networks_differ_in_colour_dash_or_marker():
    assert len({swatch(TEXT, style) for style in range(28)}) == 28


def test_reader_settings_of_matplotlib_change_nothing_and_rules_something():
    series = Series(0, [1, 2], [1, 2])
    plain = drawn(series)
    with mpl.rc_context({"font.size": 30.0, "axes.facecolor": "red", "svg.fonttype": "path"}):
        assert drawn(series) == plain
    assert len(drawn(series, rules=(1.5,))) > len(plain)


def test_a_map_is_the_darker_the_larger_a_value_and_has_few_paths():
    values = [[row + column / 100 for column in range(100)] for row in range(30)]
    filled = paths(heat(TEXT, values, (1, 1), ()), "fill: var(--series-0)")
    shades = [float(path["style"].partition("opacity: ")[2].partition(";")[0] or 1) for path in filled]
    assert shades == sorted(shades)
    assert max(shades) == 1
    assert len(filled) <= 12
    assert "--series-0" not in heat(TEXT, [[1.0, 1.0], [math.nan, 1.0]], (1, 1), ())


def test_values_at_the_ends_of_lines_do_not_cover_each_other():
    def places(ends: list[float]) -> list[float]:
        series = [Series(i, [1, 2], [0.45, end]) for i, end in enumerate(ends)]
        svg = drawn(*series, size=PANEL, y_limits=(0.4, 0.6), ends=True)
        said = {f"{end:.3f}" for end in ends}
        return sorted(float(one.attrib["y"]) for one in ElementTree.fromstring(svg).iter("text") if one.text in said)

    heights = places([0.5, 0.501, 0.502, 0.4, 0.6])
    assert len(heights) == 5
    assert min(b - a for a, b in itertools.pairwise(heights)) > 6
    # There is no room for 28.
    assert places([0.5] * 28) == []
