"""Charts: SVG that can stand in the page."""

import itertools
import math
from xml.etree import ElementTree

import matplotlib as mpl

from hdlif.report.charts import PANEL, Series, Text, lines, swatch
from hdlif.report.recording import heat

TEXT = Text("one", "A title & more", "What it shows")


def test_line_leaves_a_gap_where_a_value_is_not_finite():
    svg = lines(TEXT, [Series(0, [1, 2, 3, 4, 5], [1, 2, math.inf, 2, 1])], x_label="t", y_label="y")
    line = next(
        path
        for path in ElementTree.fromstring(svg).iter("path")
        if "stroke: var(--series-0)" in path.get("style", "") and "fill: none" in path.get("style", "")
    )
    assert line.attrib["d"].count("M") == 2


def test_28_networks_differ_in_colour_dash_or_marker():
    drawn = {swatch(TEXT, style) for style in range(28)}
    assert len(drawn) == 28


def test_reader_settings_of_matplotlib_change_nothing():
    series = [Series(0, [1, 2], [1, 2])]
    plain = lines(TEXT, series, x_label="t", y_label="y")
    with mpl.rc_context({"font.size": 30.0, "axes.facecolor": "red", "svg.fonttype": "path"}):
        assert lines(TEXT, series, x_label="t", y_label="y") == plain


def test_a_map_is_the_darker_the_larger_a_value_and_has_few_paths():
    values = [[row + column / 100 for column in range(100)] for row in range(30)]
    svg = heat(TEXT, values, (1, 1), ())
    filled = [
        path for path in ElementTree.fromstring(svg).iter("path") if "fill: var(--series-0)" in path.get("style", "")
    ]
    shades = [float(path.attrib["style"].partition("opacity: ")[2].partition(";")[0] or 1) for path in filled]
    assert shades == sorted(shades)
    assert max(shades) == 1
    assert len(filled) <= 12
    assert "--series-0" not in heat(TEXT, [[1.0, 1.0], [math.nan, 1.0]], (1, 1), ())


def test_lines_may_be_ruled_where_something_ends():
    plain, ruled = (
        lines(TEXT, [Series(0, [1, 2, 3], [1, 2, 1])], x_label="t", y_label="y", rules=r) for r in ((), (2.5,))
    )
    assert len(ruled) > len(plain)


def test_values_at_the_ends_of_lines_do_not_cover_each_other():
    ends = [0.5, 0.501, 0.502, 0.4, 0.6]
    series = [Series(i, [1, 2], [0.45, end]) for i, end in enumerate(ends)]
    svg = lines(TEXT, series, x_label="t", y_label="y", size=PANEL, y_limits=(0.4, 0.6), ends=True)
    said = {f"{end:.3f}" for end in ends}
    heights = sorted(float(text.attrib["y"]) for text in ElementTree.fromstring(svg).iter("text") if text.text in said)
    assert len(heights) == 5
    assert min(b - a for a, b in itertools.pairwise(heights)) > 6
    # There is no room for 28.
    series = [Series(i, [1, 2], [0.45, 0.5]) for i in range(28)]
    svg = lines(TEXT, series, x_label="t", y_label="y", size=PANEL, y_limits=(0.4, 0.6), ends=True)
    assert "0.500" not in [text.text for text in ElementTree.fromstring(svg).iter("text")]
