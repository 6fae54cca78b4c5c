"""The page of a table of trainings."""

from typing import Any
from xml.etree import ElementTree

from hdlif.graph.ops import SampleName
from hdlif.report.ablation import render

COLUMNS = ["a", "b", "c", "d"]


def cell(accuracy: float) -> dict[str, Any]:
    return {"accuracy": accuracy, "std": 0.01, "accuracy_per_step": [], "sops": None, "n": 3}


def lines_by_column(cells: dict[str, dict[str, dict[str, Any]]]) -> list[list[str]]:
    """Draw accuracies by column: the paths of each row's line, without the bars of its errors."""
    texts = {row: ["not run"] * len(COLUMNS) for row in cells}
    made: dict[str, Any] = {"quantities": ["accuracy"], "samples": SampleName("image", "images"), "provenance": []}
    page = render("table", COLUMNS, cells, COLUMNS, texts, **made)
    start = page.rindex("<svg", 0, page.index('id="by-column-title"'))
    chart = ElementTree.fromstring(page[start : page.index("</svg>", start) + 6])
    paths = [(path.get("style", ""), path.get("d", "")) for path in chart.iter("path")]
    lines = [(style, drawn) for style, drawn in paths if "stroke-width: 0.8" not in style]
    return [[drawn for style, drawn in lines if f"stroke: var(--series-{row})" in style] for row in range(len(cells))]


def test_a_column_that_was_not_run_leaves_a_gap() -> None:
    whole = dict.fromkeys(COLUMNS, cell(0.5))
    gap = {column: cell for column, cell in whole.items() if column != "c"}
    (of_whole,), (of_gap,), none = lines_by_column({"whole": whole, "gap": gap, "none": {}})
    assert (of_whole.count("M "), of_whole.count("L ")) == (1, 3)
    assert of_gap.count("L ") == 1
    assert none == []
