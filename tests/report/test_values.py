"""Predicted against true values."""

from xml.etree import ElementTree

from hdlif.report.values import predicted_against_true

# Two values of four samples: the first is predicted well, and the second is the same whatever is true.
ERRORS = {
    "names": ["level", "peak"],
    "mean": [0.0, 0.5],
    "deviation": [0.1, 1.0],
    "true": [[0.0, 1.0, 2.0, 4.0], [0.0, 1.0, 2.0, 4.0]],
    "predicted": [[0.1, 0.9, 2.1, 3.9], [2.0, 2.0, 2.0, 2.0]],
}


def styled(chart: str, word: str) -> list[ElementTree.Element]:
    return [one for one in ElementTree.fromstring(chart).iter() if word in one.get("style", "")]


def numbers(path: ElementTree.Element) -> list[float]:
    return [float(word) for word in path.attrib["d"].split() if word not in "ML"]


def test_the_diagonal_is_drawn_from_corner_to_corner() -> None:
    for chart in predicted_against_true(["net"], {"net": ERRORS}).charts:
        (diagonal,) = styled(chart, "stroke-dasharray")
        x0, y0, x1, y1 = numbers(diagonal)
        assert x0 < x1
        assert y0 > y1
        frame = [numbers(one) for one in styled(chart, "stroke-linecap: square")]
        assert {x0, x1} <= {x for one in frame for x in one[::2]}
        assert {y0, y1} <= {y for one in frame for y in one[1::2]}


def test_no_line_joins_the_points() -> None:
    (chart, _) = predicted_against_true(["net"], {"net": ERRORS}).charts
    marks = [one for one in styled(chart, "--series-0") if one.tag == "use"]
    assert len(marks) == 4
    # A bar for each of them, which is vertical.
    bars = [
        numbers(one) for one in styled(chart, "--series-0") if one.tag == "path" and "fill: none" in one.get("style")
    ]
    assert len(bars) == 4
    assert all(x0 == x1 for x0, _, x1, _ in bars)


def test_one_value_has_a_chart_as_wide_as_others_and_several_a_third_of_the_page() -> None:
    several = predicted_against_true(["net"], {"net": ERRORS})
    assert (several.small, several.broad, len(several.charts)) == (True, True, 2)
    one = predicted_against_true(["net"], {"net": {key: values[:1] for key, values in ERRORS.items()}})
    assert (one.small, len(one.charts)) == (False, 1)
    assert "predicted level" in one.charts[0]
    assert one.rows == several.rows[:1]
