"""Draw figures of single neurons on one sample: their spikes and membranes."""

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
from markupsafe import Markup

from hdlif.report import charts
from hdlif.report.charts import Text
from hdlif.report.figures import Figure, listed, time_axis, union
from hdlif.runtime.at_work import LayerAtWork

_AXES = ("channel", "row", "column")


@dataclass(frozen=True)
class NeuronTrace:
    """One neuron of one network at each time step: m_t before firing, θ_t, and the emitted spike.

    Attributes:
        threshold: NaN if there is none.
        place: its place in the layer, by `place_of`.
        states: its states after each step, except the one that the membrane is reset to.
    """

    membrane: Sequence[float]
    threshold: Sequence[float]
    spike: Sequence[float]
    place: str
    states: Mapping[str, Sequence[float]] = field(default_factory=dict)


def trace_of(layer: LayerAtWork, index: int, states: Mapping[str, Any] = MappingProxyType({})) -> NeuronTrace:
    """Return the trace of one neuron of a layer.

    Args:
        index: counted in the order [C, H, W].
        states: states of the layer, [T, N], by name, except the one that the membrane is reset to.
    """
    membrane, threshold, spike = (one[:, index].tolist() for one in (layer.membrane, layer.threshold, layer.spike))
    others = {name: one[:, index].tolist() for name, one in states.items()}
    return NeuronTrace(membrane, threshold, spike, place_of(index, layer.shape), others)


@dataclass(frozen=True)
class Traces:
    """Traces of neurons on the sample described by `sample`: by network, then by "layer:index"."""

    sample: str
    networks: Mapping[str, Mapping[str, NeuronTrace]]


def place_of(index: int, shape: Sequence[int]) -> str:
    """Describe the place of a neuron in a layer of shape [C, H, W], or [C], counted from 0.

    >>> place_of(21, (2, 4, 4))
    'channel 1, row 1, column 1'
    >>> place_of(7, (10,))
    'channel 7'
    """
    places = np.unravel_index(index, tuple(shape))
    return ", ".join(f"{axis} {place}" for axis, place in zip(_AXES, places, strict=False))


def of_channels(order: Iterable[int], shape: Sequence[int], count: int) -> list[int]:
    """Return the first `count` neurons of an order from as many channels as possible: neighbours on a map behave alike.

    >>> of_channels([21, 20, 3, 19], (2, 4, 4), 2), of_channels([21, 20, 3, 19], (2, 4, 4), 3)
    ([3, 21], [3, 20, 21])

    Args:
        order: indices of neurons, the most active first.
        shape: shape of the layer, [C, H, W] or [C].
    Returns:
        their indices, ascending.
    """
    size, order = math.prod(shape[1:]), list(order)
    first: dict[int, int] = {}
    for index in order:
        first.setdefault(index // size, index)
    chosen = dict.fromkeys([*first.values(), *order])
    return sorted(itertools.islice(chosen, count))


def figures(names: Sequence[str], traces: Traces) -> list[Figure]:
    """Draw a raster of all neurons, and a panel for the membrane of each."""
    of_networks = [traces.networks.get(name, {}) for name in names]
    neurons = union(of_networks)
    if not neurons:
        return []
    found = [
        (neuron, style, trace)
        for neuron in neurons
        for style, network in enumerate(of_networks)
        if (trace := network.get(neuron))
    ]
    return [_raster(names, found, neurons, traces.sample), _membranes(names, found, neurons, traces.sample)]


Found = Sequence[tuple[str, int, NeuronTrace]]
"""Neuron, network's style and trace, grouped by neuron."""


def _raster(names: Sequence[str], found: Found, neurons: Sequence[str], sample: str) -> Figure:
    caption = (
        f"Spikes of single neurons (layer:index) on {sample}; the area of a mark is the value of the spike. "
        "The index counts the neurons of a layer from 0: channel by channel, and in each row by row; the table says "
        "where each stands."
    )
    largest = max(max(trace.spike) for _, _, trace in found) or 1.0
    counts = []
    with charts.chart_of_rows(neurons) as axes:
        for style, name in enumerate(names):
            marks = [
                (t, neurons.index(neuron), value / largest)
                for neuron, network, trace in found
                for t, value in enumerate(trace.spike, start=1)
                if value > 0 and network == style
            ]
            rows = charts.set_apart([row for _, row, _ in marks], style, len(names), room=0.7 / len(names))
            for (t, _, size), row in zip(marks, rows, strict=True):
                # The area is proportional to the spike's value; the smallest is still visible.
                charts.mark(axes, style, [t], [row], markersize=max(1.5, 6.5 * math.sqrt(size)))
            counts.append(f"{name} fires {len(marks)} times")
        axes.set_xlim(0.5, max(len(trace.spike) for _, _, trace in found) + 0.5)
        text = Text("raster", caption, "; ".join(counts) + ".")
        chart = charts.finish(axes, text, x_label="time step", x_ticks=charts.ticks(8, whole=True))
    cells = [[neuron, trace.place, names[style], listed(trace.spike)] for neuron, style, trace in found]
    return Figure(caption, [chart], ["neuron", "place", "network", "spike, t = 1, 2, …"], cells, kind="raster")


def _membranes(names: Sequence[str], found: Found, neurons: Sequence[str], sample: str) -> Figure:
    caption = (
        f"Membrane of the same neurons before firing, on {sample}; dotted the threshold θ, and a mark where the neuron "
        "fires."
    )
    if any(trace.states for _, _, trace in found):
        caption += " Below it each further state of the neuron, after the step."
    drawn = []
    for place, neuron in enumerate(neurons):
        own = {style: trace for one, style, trace in found if one == neuron}
        description = "; ".join(f"{names[style]}: {listed(trace.membrane)}" for style, trace in own.items()) + "."
        drawn.append(_panel(Text(f"membrane-{place}", f"membrane of {neuron}", description), own, neuron))
        for state in union(trace.states for trace in own.values()):
            values = {style: trace.states[state] for style, trace in own.items() if state in trace.states}
            lines = {style: NeuronTrace(one, [math.nan] * len(one), (), "") for style, one in values.items()}
            text = Text(f"state-{place}-{state}", f"{state} of {neuron}", "; ".join(map(listed, values.values())) + ".")
            drawn.append(_panel(text, lines, f"{neuron} {state}"))
    rows = [
        [neuron, trace.place, names[style], listed(trace.membrane), listed(trace.threshold)]
        for neuron, style, trace in found
    ]
    headings = ["neuron", "place", "network", "membrane, t = 1, 2, …", "threshold"]
    return Figure(caption, drawn, headings, rows, small=True, kind="membranes")


def _panel(text: Text, traces: Mapping[int, NeuronTrace], title: str) -> Markup:
    """Draw a line for each membrane, a dotted one for its threshold, and a mark if it fires."""
    with charts.chart(charts.PANEL) as axes:
        for style, trace in traces.items():
            x = time_axis(trace.membrane)
            charts.draw(axes, style, x, trace.membrane)
            charts.draw(axes, style, x, trace.threshold, linestyle=(0, (1, 1.6)), linewidth=0.8)
            fired = [t for t, spike in enumerate(trace.spike) if spike > 0]
            charts.mark(axes, style, [t + 1 for t in fired], [trace.membrane[t] for t in fired])
        title = charts.shortened(title)
        x_ticks, y_ticks = charts.ticks(6, whole=True), charts.ticks(4)
        return charts.finish(axes, text, title=title, x_label="time step", x_ticks=x_ticks, y_ticks=y_ticks)
