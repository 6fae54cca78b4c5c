"""Leak and threshold by time step: what changed is seen, and what it came from."""

import re
from dataclasses import replace
from xml.etree import ElementTree

from hdlif.recipe.runs.summary import Neuron, TrainResult
from hdlif.report.outcomes import per_step


def network(name: str, *neurons: Neuron) -> TrainResult:
    return TrainResult(name=name, accuracy=0.5, accuracy_per_step=(), neurons=neurons)


FIXED = network(
    "lif", Neuron(name="a", leak=(0.5, 0.5), threshold=(1.0, 1.0)), Neuron(name="b", leak=(0.5, 0.5), threshold=(1, 1))
)
LEARNED = network(
    "hdlif",
    Neuron(name="a", leak=(0.48, 0.52), threshold=(0.4, 0.6), initial_leak=(0.5, 0.5), initial_threshold=(0.45, 0.55)),
    Neuron(name="b", threshold=(0.5, 0.55), initial_threshold=(0.45, 0.55)),
)


def texts(chart: str) -> list[str]:
    return [text.text or "" for text in ElementTree.fromstring(chart).iter("text")]


def ticks(chart: str) -> list[float]:
    """Of the axis of values, which stand to the left of it; what ends lines has three digits behind the point."""
    return [float(text) for text in texts(chart) if re.fullmatch(r"\d[.]\d+", text) and text not in ENDS]


ENDS = ("0.520", "1.000")


def test_axes_fit_what_is_drawn_and_what_was_not_learned_is_told_of():
    figure = per_step([FIXED, LEARNED], "leak", "Leak.")
    assert "Not drawn, for it is the same everywhere: lif (0.5)." in figure.caption
    (chart,) = figure.charts
    assert min(ticks(chart)) > 0.4
    assert max(ticks(chart)) < 0.6
    assert [row[:2] for row in figure.rows] == [["a", "hdlif"]]


def test_lines_say_their_last_value_and_come_from_the_one_before_training():
    threshold = per_step([LEARNED], "threshold", "Threshold.")
    assert "0.600" in texts(threshold.charts[0])
    assert "0.550" in texts(threshold.charts[1])
    assert "The thin dashed line is the value before training." in threshold.caption
    assert all("stroke-dasharray: 1.5,1; stroke: var(--ink)" in chart or "var(--ink); stroke-width: 0.5" in chart
               for chart in threshold.charts)  # fmt: skip
    unknown = network("hdlif", *(replace(n, initial_leak=None, initial_threshold=None) for n in LEARNED.neurons))
    assert "before training" not in per_step([unknown], "threshold", "Threshold.").caption
    assert len(per_step([unknown], "threshold", "Threshold.").charts[0]) < len(threshold.charts[0])
