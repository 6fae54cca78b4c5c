"""Single neurons: a raster, and a panel for each membrane."""

from dataclasses import replace
from xml.etree import ElementTree

from hdlif.report.traces import NeuronTrace, Traces, figures

QUIET = NeuronTrace([0.1, 0.2], [0.5, 0.5], [0.0, 0.0], "channel 7")
LOUD = NeuronTrace([0.75, 1.5], [0.5, 0.5], [0.25, 1.0], "channel 7")
FIRST = replace(LOUD, place="channel 0")
TRACES = Traces("test image 3 of digits", {"a": {"act1:0": FIRST, "act1:7": QUIET}, "b": {"act1:7": LOUD}})


def marks(chart: str, style: int) -> int:
    """Count the marks of a network, which are filled with its colour."""
    return sum(f"--series-{style})" in use.get("style", "") for use in ElementTree.fromstring(chart).iter("use"))


def test_raster_has_a_mark_for_each_spike_of_each_network():
    raster, _ = figures(["a", "b"], TRACES)
    assert [marks(raster.charts[0], style) for style in (0, 1)] == [2, 2]
    assert raster.rows == [
        ["act1:0", "channel 0", "a", "0.250, 1.000"],
        ["act1:7", "channel 7", "a", "0.000, 0.000"],
        ["act1:7", "channel 7", "b", "0.250, 1.000"],
    ]
    assert "test image 3 of digits" in raster.caption
    assert "a fires 2 times; b fires 2 times." in raster.charts[0]
    assert figures(["a"], Traces("x", {})) == []


def test_membrane_has_a_panel_for_each_neuron_with_its_networks():
    _, membranes = figures(["a", "b"], TRACES)
    assert membranes.small
    assert ["act1:0" in chart for chart in membranes.charts] == [True, False]
    assert [row[3] for row in membranes.rows] == ["0.750, 1.500", "0.100, 0.200", "0.750, 1.500"]
    # One that is silent has a line and no mark.
    assert [marks(chart, 0) for chart in membranes.charts] == [2, 0]


def test_each_further_state_has_a_panel() -> None:
    own = NeuronTrace([0.5, 0.5], [float("nan")] * 2, [0.25, 1.0], "channel 7", {"trace": [0.1, 0.3]})
    *_, membranes = figures(["a"], Traces("test image 0", {"a": {"act1:7": own}}))
    _, further = membranes.charts
    assert "trace of act1:7" in further
    assert "0.100, 0.300" in further
    assert membranes.rows[0][-1] == "—, —"
