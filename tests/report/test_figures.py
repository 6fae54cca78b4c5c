"""Charts and tables of a report: gaps, axes, legends, confusions, traces and learned parameters."""

import itertools
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
import pytest

from cases import every
from hdlif.graph.input_record import SampleName
from hdlif.recipe.runs.summary import Neuron, TrainResult
from hdlif.report import outcomes
from hdlif.report.ablation import render
from hdlif.report.charts import PANEL, Series, Text, lines, swatch
from hdlif.report.figures import dots
from hdlif.report.outcomes import accuracy_by_class, f1_by_label, matrices, per_step, predicted_against_true
from hdlif.report.recording_page import heat
from hdlif.report.single_neurons import LIVELIEST, traces_of
from hdlif.report.traces import NeuronTrace, Traces, figures
from hdlif.training import checkpoint
from small_recipes import built, recipe

TEXT = Text("one", "A title & more", "What it shows")


def texts(chart: str) -> list[str]:
    return [text.text or "" for text in ElementTree.fromstring(chart).iter() if text.tag.endswith("text")]


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
    classes = accuracy_by_class(["net"], {"net": many(50)})
    assert [row[0] for row in classes.rows] == [f"class {n}" for n in range(49, 9, -1)]


def test_classes_are_in_the_order_of_their_mean_accuracy_and_coloured_by_their_errors():
    of_three = {
        "x": [[100, 0, 0], [0, 100, 0], [0, 0, 100]],
        "y": [[90, 10, 0], [0, 80, 20], [0, 0, 100]],
        "z": [[90, 10, 0], [0, 97, 3], [1, 0, 99]],
    }
    counts = {name: {"labels": ["a", "b", "c"], "counts": rows} for name, rows in of_three.items()}
    assert [row[0] for row in accuracy_by_class(["x", "y", "z"], counts).rows] == ["b", "a", "c"]
    # Without a class that has no image; a run without counts has a dash.
    rows = [("cat", [("—", 0.0), ("75.0", 1.0)]), ("dog", [("—", 0.0), ("100.0", 0.0)])]
    assert accuracy_by_class(["old", "net"], {"net": THREE}).rows == rows
    assert accuracy_by_class(["net"], {}) is None
    assert accuracy_by_class(["net"], {"net": {"labels": ["a"], "counts": [[9]]}}).rows == [("a", [("100.0", 0.0)])]
    # The larger of two errors has the whole colour, the other its share of it.
    two = {"labels": ["a", "b"], "counts": [[90, 10], [5, 95]]}
    assert accuracy_by_class(["net"], {"net": two}).rows == [("a", [("90.0", 1.0)]), ("b", [("95.0", 0.5)])]


def test_an_axis_of_shares_covers_them_and_says_where_it_begins():
    good, poor = (
        dots("x", "", ["net"], [{"a": share, "b": 100.0}], x_label="%", within=(0, 100)).charts[0] for share in (98, 5)
    )
    assert "the axis begins at 97" in good
    assert not {"0", "20", "50"} & set(texts(good))
    assert "the axis begins" not in poor


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


QUIET = NeuronTrace([0.1, 0.2], [0.5, 0.5], [0.0, 0.0], "channel 7")
LOUD = NeuronTrace([0.75, 1.5], [0.5, 0.5], [0.25, 1.0], "channel 7")
FIRST = replace(LOUD, place="channel 0")
TRACES = Traces("test image 3 of digits", {"a": {"act1:0": FIRST, "act1:7": QUIET}, "b": {"act1:7": LOUD}})


def marks(chart: str, style: int) -> int:
    """Count the marks of a network, which are filled with its colour."""
    return sum(f"--series-{style})" in use.get("style", "") for use in ElementTree.fromstring(chart).iter("use"))


def test_neurons_have_marks_for_their_spikes_and_a_panel_for_each_membrane_and_further_state() -> None:
    raster, membranes = figures(["a", "b"], TRACES)
    assert [marks(raster.charts[0], style) for style in (0, 1)] == [2, 2]
    assert raster.rows == [
        ["act1:0", "channel 0", "a", "0.250, 1.000"],
        ["act1:7", "channel 7", "a", "0.000, 0.000"],
        ["act1:7", "channel 7", "b", "0.250, 1.000"],
    ]
    assert "test image 3 of digits" in raster.caption
    assert membranes.small
    assert ["act1:0" in chart for chart in membranes.charts] == [True, False]
    assert "neurons in a before" in membranes.caption
    assert [row[3] for row in membranes.rows] == ["0.750, 1.500", "0.100, 0.200", "0.750, 1.500"]
    # One that is silent has a line and no mark.
    assert [marks(chart, 0) for chart in membranes.charts] == [2, 0]
    assert figures(["a"], Traces("x", {})) == []
    own = replace(LOUD, threshold=[float("nan")] * 2, states={"trace": [0.1, 0.3]})
    *_, membranes = figures(["a"], Traces("test image 0", {"a": {"act1:7": own}}))
    _, further = membranes.charts
    assert "trace of act1:7" in further
    assert "0.100, 0.300" in further
    assert membranes.rows[0][-1] == "—, —"


def test_one_network_has_its_membranes_drawn_after_its_input() -> None:
    both = {"a": {"act1:0": FIRST}, "b": {"act1:0": LOUD}}
    images = {"a": np.zeros((1, 3, 4, 4), np.float32), "b": np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4)}
    _, membranes = figures(["a", "b"], Traces("x", both, images), best="b")
    read, panel = membranes.charts
    assert (marks(panel, 0), marks(panel, 1)) == (0, 2)
    assert "neurons in b before" in membranes.caption
    assert "input; the stronger" in membranes.caption
    assert len(paths(read, "fill: var(--series-0)")) == 12
    assert [row[2] for row in membranes.rows] == ["a", "b"]
    # The first is drawn without a best one, and the one with the most neurons before all.
    assert "averaged over channels;" in figures(["a", "b"], Traces("x", both, images))[1].caption
    more = {"a": {"act1:0": FIRST, "act1:7": QUIET}, "b": {"act1:7": LOUD}}
    assert len(figures(["a", "b"], Traces("x", more), best="b")[1].charts) == 2


@every(
    "shape",
    "words",
    "lines",
    of=[
        ((1, 13, 1, 1), "input; the stronger", 0),
        ((8, 1, 1, 1), "input.", 1),
        ((8, 3, 1, 1), "with one line per channel", 3),
        ((8, 1, 1, 16), "with one row per channel", 0),
        ((300, 90, 1, 1), "with one row per channel", 0),
        ((8, 2, 9, 120), "averaged over channels and time steps", 0),
    ],
)
def test_an_input_is_an_image_lines_or_a_map_over_time(shape: tuple[int, ...], words: str, lines: int) -> None:
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    _, membranes = figures(["a"], Traces("x", {"a": {"act1:0": FIRST}}, {"a": x}))
    assert words in membranes.caption
    (svg, _) = membranes.charts
    assert len([path for path in paths(svg, "stroke: var(--series-0)") if "fill: none" in path["style"]]) == lines
    assert bool(paths(svg, "fill: var(--series-0)")) == (not lines)
    assert len(svg) < 250_000


def test_parameters_are_drawn_from_before_training_to_their_last_value_if_they_were_learned():
    fixed = [Neuron(name=name, leak=(0.5, 0.5), threshold=(1.0, 1.0)) for name in "ab"]
    start = {"initial_threshold": (0.45, 0.55)}
    learned = [
        Neuron(name="a", leak=(0.48, 0.52), threshold=(0.4, 0.6), initial_leak=(0.5, 0.5), **start),
        Neuron(name="b", threshold=(0.5, 0.55), **start),
    ]
    bare = {"accuracy": 0.5, "accuracy_per_step": ()}
    lif, hdlif = TrainResult(name="lif", neurons=fixed, **bare), TrainResult(name="hdlif", neurons=learned, **bare)
    figure = per_step([lif, hdlif], "leak", "Leak.")
    assert "lif (0.5)" in figure.caption
    (chart,) = figure.charts
    values = [float(text) for text in texts(chart) if re.fullmatch(r"\d[.]\d+", text)]
    assert 0.4 < min(values) < max(values) < 0.6
    assert [row[:2] for row in figure.rows] == [["a", "hdlif"]]
    figure = per_step([hdlif], "threshold", "Threshold.")
    first, second = figure.charts
    assert "0.600" in texts(first)
    assert "0.550" in texts(second)
    assert "before training" in figure.caption
    unknown = replace(hdlif, neurons=[replace(n, initial_leak=None, initial_threshold=None) for n in learned])
    without = per_step([unknown], "threshold", "Threshold.")
    assert "before training" not in without.caption
    assert len(without.charts[0]) < len(first)


SMALL = ("model.blocks=[1, 1]",)


def test_the_liveliest_neurons_of_a_layer_are_of_different_channels(tmp_path: Path) -> None:
    """Those of a network that is not trained fire too."""
    stated = {"recipe": recipe(*SMALL).model_dump(mode="json")}
    checkpoint.save_model(tmp_path / "model.safetensors", built(*SMALL), stated)
    (drawn,) = traces_of({"run": tmp_path}, neurons=None, image=0).networks.values()
    layers: dict[str, list[str]] = {}
    for name, trace in drawn.items():
        layers.setdefault(name.rpartition(":")[0], []).append(trace.place)
    assert len(layers) == 3
    for places in layers.values():
        assert len({place.partition(",")[0] for place in places}) == len(places) == LIVELIEST
    assert sum(any(trace.spike) for trace in drawn.values()) > len(drawn) / 2


def test_a_column_that_was_not_run_leaves_a_gap() -> None:
    columns = list("abcd")
    cell = {"accuracy": 0.5, "std": 0.01, "accuracy_per_step": [], "sops": None, "n": 3}
    cells = {row: dict.fromkeys(run, cell) for row, run in (("whole", "abcd"), ("gap", "abd"), ("none", ""))}
    more: dict[str, Any] = {"quantities": ["accuracy"], "samples": SampleName("image", "images"), "provenance": []}
    page = render("table", columns, cells, columns, {row: ["not run"] * 4 for row in cells}, **more)
    start = page.rindex("<svg", 0, page.index('id="by-column-title"'))
    chart = page[start : page.index("</svg>", start) + 6]
    lines_of_rows = []
    for row in range(3):
        found = paths(chart, f"stroke: var(--series-{row})")
        # The others are bars of the errors.
        lines_of_rows.append([path["d"].count("L ") for path in found if "stroke-width: 0.8" not in path["style"]])
    assert lines_of_rows == [[3], [1], []]
