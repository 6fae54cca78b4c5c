"""Which class is taken for which, as tables and by class."""

import re

from hdlif.ops import SampleName
from hdlif.report.confusion import Count, accuracy_by_class, matrices

THREE = {"labels": ["cat", "dog", "owl"], "counts": [[3, 1, 0], [0, 4, 0], [0, 0, 0]]}


def many(classes: int) -> dict:
    """Every image is right, but for n + 1 of class n's 100, which are taken for the next."""
    counts = [[0] * classes for _ in range(classes)]
    for n in range(classes):
        counts[n][n], counts[n][(n + 1) % classes] = 99 - n, n + 1
    return {"labels": [f"class {n}" for n in range(classes)], "counts": counts}


def test_matrix_has_a_row_for_each_true_class_shaded_by_its_share():
    (matrix,) = matrices({"net": THREE})
    assert (matrix.name, matrix.whole) == ("net", True)
    assert matrix.headings == ["true class", "cat", "dog", "owl"]
    assert matrix.rows[0] == ("cat", [Count("3", 0.75), Count("1", 0.25), Count("·", 0.0)])
    # A class without images.
    assert matrix.rows[2] == ("owl", [Count("·", 0.0)] * 3)


def test_of_many_classes_the_commonest_confusions_are_listed():
    (matrix,) = matrices({"net": many(30)})
    assert not matrix.whole
    assert len(matrix.rows) == 20
    assert matrix.rows[0] == ("class 29", [Count("class 0"), Count("30"), Count("30.0 %")])
    assert matrix.rows[1][0] == "class 28"


def test_what_is_counted_is_named():
    windows = SampleName("window", "windows")
    assert [matrix.of for matrix in matrices({"a": THREE, "b": THREE | {"of": "steps"}}, windows)] == [
        "windows",
        "steps",
    ]
    (commonest,) = matrices({"net": many(30)}, windows)
    assert commonest.headings == ["true class", "taken for", "windows", "of the class"]


def test_the_axis_of_accuracies_covers_those_that_there_are():
    figure = accuracy_by_class(["net"], {"net": {"labels": ["a", "b"], "counts": [[98, 2], [0, 100]]}})
    ticks = set(re.findall(r"<text[^>]*>([^<]*)</text>", figure.charts[0]))
    assert {"98", "100", "accuracy, % (the axis begins at 97, not at 0)"} <= ticks
    assert not {"0", "20", "50"} & ticks
    assert figure.headings[0] == "class (accuracy, %)"


def test_classes_stand_in_the_order_of_their_mean_accuracy_the_worst_on_top():
    ten, eight, nine = ({"labels": ["a", "b", "c"], "counts": counts} for counts in (
        [[100, 0, 0], [0, 100, 0], [0, 0, 100]],
        [[90, 10, 0], [0, 80, 20], [0, 0, 100]],
        [[90, 10, 0], [0, 97, 3], [1, 0, 99]],
    ))  # fmt: skip
    figure = accuracy_by_class(["x", "y", "z"], {"x": ten, "y": eight, "z": nine})
    assert [row[0] for row in figure.rows] == ["b", "a", "c"]


def test_an_axis_that_begins_at_zero_is_not_marked():
    poor = {"labels": ["a", "b"], "counts": [[5, 95], [0, 100]]}
    figure = accuracy_by_class(["net"], {"net": poor})
    assert "the axis begins" not in figure.charts[0]


def test_accuracy_by_class_is_in_per_cent_and_without_classes_that_have_no_image():
    figure = accuracy_by_class(["old", "net"], {"net": THREE})
    assert figure.rows == [["cat", "—", "75.0"], ["dog", "—", "100.0"]]


def test_of_many_classes_the_worst_are_drawn():
    figure = accuracy_by_class(["net"], {"net": many(50)})
    assert "40 classes that are worst" in figure.caption
    assert [row[0] for row in figure.rows][:2] == ["class 49", "class 48"]
    assert len(figure.rows) == 40


def test_runs_without_counts_have_no_figure():
    assert accuracy_by_class(["net"], {}).charts == []
    assert matrices({}) == []
