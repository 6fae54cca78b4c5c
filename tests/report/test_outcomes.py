"""How networks do on the test set: confusions, accuracies by class, and predicted values."""

import re

import pytest

from hdlif.graph.ops import SampleName
from hdlif.report import outcomes
from hdlif.report.outcomes import accuracy_by_class, f1_by_label, matrices, predicted_against_true

THREE = {"labels": ["cat", "dog", "owl"], "counts": [[3, 1, 0], [0, 4, 0], [0, 0, 0]]}
# Two values of four samples: the first is predicted well, and the second is the same whatever is true.
ERRORS = {
    "names": ["level", "peak"],
    "mean": [0.0, 0.5],
    "deviation": [0.1, 1.0],
    "true": [[0.0, 1.0, 2.0, 4.0], [0.0, 1.0, 2.0, 4.0]],
    "predicted": [[0.1, 0.9, 2.1, 3.9], [2.0, 2.0, 2.0, 2.0]],
}


def many(classes: int) -> dict:
    """Every image is right, but for n + 1 of class n's 100, which are taken for the next."""
    counts = [[0] * classes for _ in range(classes)]
    for n in range(classes):
        counts[n][n], counts[n][(n + 1) % classes] = 99 - n, n + 1
    return {"labels": [f"class {n}" for n in range(classes)], "counts": counts}


def test_a_matrix_has_a_row_for_each_true_class_shaded_by_its_share():
    (matrix,) = matrices({"net": THREE})
    assert (matrix.name, matrix.whole, matrix.broad) == ("net", True, False)
    assert matrix.headings == ["true class", "cat", "dog", "owl"]
    assert matrix.rows[0] == ("cat", [("3", 0.75), ("1", 0.25), ("·", 0.0)])
    # A class without images.
    assert matrix.rows[2] == ("owl", [("·", 0.0)] * 3)
    assert matrices({}) == []


def test_of_many_classes_the_commonest_confusions_are_listed_and_the_worst_drawn():
    (matrix,) = matrices({"net": many(30)}, SampleName("window", "windows"))
    assert not matrix.whole
    assert matrix.headings == ["true class", "taken for", "windows", "of the class"]
    assert len(matrix.rows) == 20
    assert matrix.rows[0] == ("class 29", [("class 0", 0.0), ("30", 0.0), ("30.0 %", 0.0)])
    (steps,) = matrices({"net": THREE | {"of": "steps"}}, SampleName("window", "windows"))
    assert steps.of == "steps"
    figure = accuracy_by_class(["net"], {"net": many(50)})
    assert [row[0] for row in figure.rows] == [f"class {n}" for n in range(49, 9, -1)]


def test_the_axis_of_accuracies_covers_those_that_there_are():
    good, poor = ({"labels": ["a", "b"], "counts": [[right, 100 - right], [0, 100]]} for right in (98, 5))
    chart = accuracy_by_class(["net"], {"net": good}).charts[0]
    ticks = set(re.findall(r"<text[^>]*>([^<]*)</text>", chart))
    assert {"98", "100"} <= ticks
    assert not {"0", "20", "50"} & ticks
    assert "the axis begins at 97" in chart
    assert "the axis begins" not in accuracy_by_class(["net"], {"net": poor}).charts[0]


def test_classes_are_in_the_order_of_their_mean_accuracy_in_per_cent():
    of_three = {
        "x": [[100, 0, 0], [0, 100, 0], [0, 0, 100]],
        "y": [[90, 10, 0], [0, 80, 20], [0, 0, 100]],
        "z": [[90, 10, 0], [0, 97, 3], [1, 0, 99]],
    }
    counts = {name: {"labels": ["a", "b", "c"], "counts": rows} for name, rows in of_three.items()}
    assert [row[0] for row in accuracy_by_class(["x", "y", "z"], counts).rows] == ["b", "a", "c"]
    # Without a class that has no image; a run without counts has a dash.
    assert accuracy_by_class(["old", "net"], {"net": THREE}).rows == [["cat", "—", "75.0"], ["dog", "—", "100.0"]]
    assert accuracy_by_class(["net"], {}).charts == []


def test_labels_have_their_counts():
    of_one = {"names": ["a", "b"], "f1": [0.5, 1.0], "true_positives": [1, 2], "false_positives": [3, 4]}
    figure = f1_by_label(["old", "net"], {"net": of_one | {"false_negatives": [5, 6], "true_negatives": [7, 8]}})
    assert figure.rows == [["a", "net", "0.5000", "1", "3", "5"], ["b", "net", "1.0000", "2", "4", "6"]]


def test_several_values_have_a_small_chart_each(monkeypatch: pytest.MonkeyPatch) -> None:
    several = predicted_against_true(["net"], {"net": ERRORS})
    one = predicted_against_true(["net"], {"net": {key: values[:1] for key, values in ERRORS.items()}})
    monkeypatch.setattr(outcomes, "_MOST_PANELS", 1)
    first = predicted_against_true(["net"], {"net": ERRORS})
    assert [(made.small, len(made.charts)) for made in (several, one, first)] == [(True, 2), (False, 1), (True, 1)]
    assert one.rows == several.rows[:1]
    assert first.rows == several.rows
