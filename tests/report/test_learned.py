"""Leak and threshold by time step: what changed is seen, and what it came from."""

import re
from dataclasses import replace
from xml.etree import ElementTree

from hdlif.recipe.runs.summary import Neuron, TrainResult
from hdlif.report.outcomes import per_step


def network(name: str, *neurons: Neuron) -> TrainResult:
    return TrainResult(name=name, accuracy=0.5, accuracy_per_step=(), neurons=neurons)


FIXED = network("lif", *(Neuron(name=name, leak=(0.5, 0.5), threshold=(1.0, 1.0)) for name in "ab"))
LEARNED = network(
    "hdlif",
    Neuron(name="a", leak=(0.48, 0.52), threshold=(0.4, 0.6), initial_leak=(0.5, 0.5), initial_threshold=(0.45, 0.55)),
    Neuron(name="b", threshold=(0.5, 0.55), initial_threshold=(0.45, 0.55)),
)


def texts(chart: str) -> list[str]:
    return [text.text or "" for text in ElementTree.fromstring(chart).iter("text")]


def test_axes_fit_what_is_drawn_and_what_was_not_learned_is_told_of():
    figure = per_step([FIXED, LEARNED], "leak", "Leak.")
    assert "lif (0.5)" in figure.caption
    (chart,) = figure.charts
    values = [float(text) for text in texts(chart) if re.fullmatch(r"\d[.]\d+", text)]
    assert 0.4 < min(values) < max(values) < 0.6
    assert [row[:2] for row in figure.rows] == [["a", "hdlif"]]


def test_lines_say_their_last_value_and_come_from_the_one_before_training():
    figure = per_step([LEARNED], "threshold", "Threshold.")
    first, second = figure.charts
    assert "0.600" in texts(first)
    assert "0.550" in texts(second)
    assert "before training" in figure.caption
    unknown = network("hdlif", *(replace(n, initial_leak=None, initial_threshold=None) for n in LEARNED.neurons))
    without = per_step([unknown], "threshold", "Threshold.")
    assert "before training" not in without.caption
    assert len(without.charts[0]) < len(first)
