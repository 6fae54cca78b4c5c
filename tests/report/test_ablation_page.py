"""The page of a table of trainings."""

from typing import Any
from xml.etree import ElementTree

from hdlif.graph.ops import SampleName
from hdlif.report.ablation import render


def cell(accuracy: float) -> dict[str, Any]:
    return {"accuracy": accuracy, "std": 0.01, "accuracy_per_step": [], "sops": None, "n": 3}


def by_column(cells: dict[str, dict[str, dict[str, Any]]], columns: list[str]) -> ElementTree.Element:
    """The chart of accuracies by column."""
    texts = {row: ["not run"] * len(columns) for row in cells}
    made: dict[str, Any] = {"quantities": ["accuracy"], "samples": SampleName("image", "images"), "provenance": []}
    page = render("table", columns, cells, columns, texts, **made)
    start = page.rindex("<svg", 0, page.index('id="by-column-title"'))
    return ElementTree.fromstring(page[start : page.index("</svg>", start) + 6])


def strokes(chart: ElementTree.Element, style: int) -> list[str]:
    """The paths of one series but for the bars of its errors."""
    return [
        path.attrib["d"]
        for path in chart.iter("path")
        if f"stroke: var(--series-{style})" in path.get("style", "")
        and "stroke-width: 0.8" not in path.get("style", "")
    ]


def test_a_column_that_was_not_run_leaves_a_gap() -> None:
    columns = ["a", "b", "c", "d"]
    whole = {column: cell(0.5) for column in columns}
    chart = by_column({"whole": whole, "gap": {"a": cell(0.6), "b": cell(0.6), "d": cell(0.6)}, "none": {}}, columns)
    assert [path.count("M ") for path in strokes(chart, 0)] == [1]
    assert strokes(chart, 0)[0].count("L ") == 3
    (of_gap,) = strokes(chart, 1)
    assert of_gap.count("L ") == 1
    assert not strokes(chart, 2)
