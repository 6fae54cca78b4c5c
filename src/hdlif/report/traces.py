"""Draw the spikes and membrane potentials of single neurons for one sample."""

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from hdlif.report import charts
from hdlif.report.charts import Text
from hdlif.report.figures import Figure, listed, time_axis, union
from hdlif.report.maps import draw_map, thinned
from hdlif.runtime.at_work import LayerAtWork

_AXES = ("channel", "row", "column")
_PIXELS = 48
"""Maximum number of rows and columns of an input's map."""
_STEPS = 64
"""Maximum number of time steps of an input's map."""
_LINES = 4
"""Maximum number of channels of an input that are drawn as lines."""


@dataclass(frozen=True)
class NeuronTrace:
    """One neuron's membrane potential m_t before firing, threshold θ_t and spike at each time step.

    Attributes:
        threshold: the threshold at each step, or NaN if there is none.
        place: place of the neuron in its layer, from `place_of`.
        states: other states of the neuron after each step, without the potential to which the membrane is reset.
    """

    membrane: Sequence[float]
    threshold: Sequence[float]
    spike: Sequence[float]
    place: str
    states: Mapping[str, Sequence[float]] = field(default_factory=dict)


def trace_of(layer: LayerAtWork, index: int, states: Mapping[str, Any] = MappingProxyType({})) -> NeuronTrace:
    """Extract the trace of a single neuron from a layer's activity.

    Args:
        index: index of the neuron in the order [C, H, W].
        states: other states of the layer by name, [T, N], without the potential to which the membrane is reset.
    """
    membrane, threshold, spike = (one[:, index].tolist() for one in (layer.membrane, layer.threshold, layer.spike))
    others = {name: one[:, index].tolist() for name, one in states.items()}
    return NeuronTrace(membrane, threshold, spike, place_of(index, layer.shape), others)


@dataclass(frozen=True)
class Traces:
    """Neuron traces for one sample, keyed first by network name and then by "layer:index"."""

    sample: str
    networks: Mapping[str, Mapping[str, NeuronTrace]]
    inputs: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    """The sample in the form that each network receives, [T or 1, C, H, W]."""


def place_of(index: int, shape: Sequence[int]) -> str:
    """Describe the position of a neuron in a layer of shape [C, H, W] or [C].

    >>> place_of(21, (2, 4, 4))
    'channel 1, row 1, column 1'
    >>> place_of(7, (10,))
    'channel 7'
    """
    places = np.unravel_index(index, tuple(shape))
    return ", ".join(f"{axis} {place}" for axis, place in zip(_AXES, places, strict=False))


def of_channels(order: Iterable[int], shape: Sequence[int], count: int) -> list[int]:
    """Choose `count` neurons from as many channels as possible, giving preference to earlier neurons in `order`.

    Different channels are preferred because neighbouring neurons in one channel behave similarly.

    >>> of_channels([21, 20, 3, 19], (2, 4, 4), 2), of_channels([21, 20, 3, 19], (2, 4, 4), 3)
    ([3, 21], [3, 20, 21])

    Args:
        order: indices of neurons, beginning with the most active one.
        shape: shape of the layer, [C, H, W] or [C].
    Returns:
        the indices of the neurons in ascending order.
    """
    size, order = math.prod(shape[1:]), list(order)
    first: dict[int, int] = {}
    for index in order:
        first.setdefault(index // size, index)
    chosen = dict.fromkeys([*first.values(), *order])
    return sorted(itertools.islice(chosen, count))


def figures(names: Sequence[str], traces: Traces, *, best: str = "") -> list[Figure]:
    """Plot all networks' spikes, and the input and membrane potentials of the network with the most traced neurons.

    If several networks have the most traced neurons, the membrane potentials of the network `best` are drawn.
    """
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
    shown = max(range(len(names)), key=lambda style: (len(of_networks[style]), names[style] == best))
    return [_raster(names, found, neurons, traces.sample), _membranes(names, found, traces, shown)]


Found = Sequence[tuple[str, int, NeuronTrace]]
"""Neuron, style of the network, and trace, grouped by neuron."""


def _raster(names: Sequence[str], found: Found, neurons: Sequence[str], sample: str) -> Figure:
    caption = (
        f"Spikes of single neurons (layer:index) on {sample}; the area of a mark shows the value of the spike. The "
        "index numbers the neurons of a layer from 0, channel by channel and row by row; the table lists their "
        "positions."
    )
    largest = max(max(trace.spike) for _, _, trace in found) or 1.0
    counts = []
    with charts.chart_of_rows(neurons, networks=len(names)) as axes:
        for style, name in enumerate(names):
            marks = [
                (t, neurons.index(neuron), value / largest)
                for neuron, network, trace in found
                for t, value in enumerate(trace.spike, start=1)
                if value > 0 and network == style
            ]
            rows = charts.set_apart([row for _, row, _ in marks], style, len(names), room=0.7 / len(names))
            for (t, _, size), row in zip(marks, rows, strict=True):
                # The area of a mark is proportional to the spike's value, with a lower limit so it stays visible.
                charts.mark(axes, style, [t], [row], markersize=max(1.5, 6.5 * math.sqrt(size)))
            counts.append(f"{name} fires {len(marks)} times")
        axes.set_xlim(0.5, max(len(trace.spike) for _, _, trace in found) + 0.5)
        text = Text("raster", caption, "; ".join(counts) + ".")
        chart = charts.finish(axes, text, x_label="time step", x_ticks=charts.ticks(8, whole=True))
    cells = [[neuron, trace.place, names[style], listed(trace.spike)] for neuron, style, trace in found]
    return Figure(caption, [chart], ["neuron", "place", "network", "spike, t = 1, 2, …"], cells, kind="raster")


def _membranes(names: Sequence[str], found: Found, traces: Traces, shown: int) -> Figure:
    """Draw one network's input and each neuron's membrane potential, with a table that covers all networks."""
    own = {neuron: trace for neuron, style, trace in found if style == shown}
    which = f" in {names[shown]}" if len(names) > 1 else ""
    caption = (
        f"Membrane of the same neurons{which} before firing, on {traces.sample}; the dotted line is the threshold θ, "
        "and each mark is a spike."
    )
    if any(trace.states for trace in own.values()):
        caption += " Further states of a neuron, after the step, follow its membrane."
    drawn = []
    if (x := traces.inputs.get(names[shown])) is not None:
        said, panel = _input(x, shown)
        caption += said
        drawn.append(panel)
    for place, (neuron, trace) in enumerate(own.items()):
        text = Text(f"membrane-{place}", f"membrane of {neuron}", f"{names[shown]}: {listed(trace.membrane)}.")
        drawn.append(_panel(text, shown, trace, neuron))
        for state, values in trace.states.items():
            alone = NeuronTrace(values, [math.nan] * len(values), (), "")
            text = Text(f"state-{place}-{state}", f"{state} of {neuron}", f"{listed(values)}.")
            drawn.append(_panel(text, shown, alone, f"{neuron} {state}"))
    rows = [
        [neuron, trace.place, names[style], listed(trace.membrane), listed(trace.threshold)]
        for neuron, style, trace in found
    ]
    headings = ["neuron", "place", "network", "membrane, t = 1, 2, …", "threshold"]
    return Figure(caption, drawn, headings, rows, small=True, kind="membranes")


def _input(x: NDArray[np.float32], style: int) -> tuple[str, Markup]:
    """Draw an input [T or 1, C, H, W] as an image, as lines or as a map over time, and describe it in words."""
    steps, channels, height, width = x.shape
    shape = " × ".join(map(str, x.shape))
    text = Text("network-input", "input", f"{shape} values from {x.min():.3g} to {x.max():.3g}.")
    said = " The first panel is the input"
    is_image = min(height, width) > 1
    if is_image or steps == 1:
        over = [name for name, count in (("channels", channels), ("time steps", steps)) if is_image and count > 1]
        said += f", averaged over {' and '.join(over)}" if over else ""
        said += "; the stronger the colour, the larger the value."
        values = x.mean((0, 1)) if is_image else x.reshape(1, -1)
        with charts.chart(charts.PANEL) as axes:
            draw_map(axes, thinned(values, (_PIXELS, _PIXELS))[::-1])
            axes.set_aspect("equal")
            axes.set_axis_off()
            return said, charts.finish(axes, text, title="input")
    values = x.reshape(steps, -1)
    is_map = values.shape[1] > _LINES
    with charts.chart(charts.PANEL) as axes:
        if not is_map:
            said += ", with one line per channel." if values.shape[1] > 1 else "."
            for line in values.T.tolist():
                charts.draw(axes, style, time_axis(line), line, linestyle="-", linewidth=0.9)
        else:
            said += (
                ", with one row per channel, the first at the bottom; the stronger the colour, the larger the value."
            )
            rows = thinned(values.T, (_PIXELS, _STEPS))
            draw_map(axes, rows, (len(values) / len(rows[0]), values.shape[1] / len(rows)))
        x_ticks, y_ticks = charts.ticks(6, whole=True), charts.ticks(4, whole=True if is_map else None)
        return said, charts.finish(axes, text, title="input", x_label="time step", x_ticks=x_ticks, y_ticks=y_ticks)


def _panel(text: Text, style: int, trace: NeuronTrace, title: str) -> Markup:
    """Draw a neuron's membrane potential as a line, the threshold as a dotted line, and spikes as markers."""
    with charts.chart(charts.PANEL) as axes:
        charts.draw(axes, style, time_axis(trace.membrane), trace.membrane, linestyle="-")
        charts.draw(axes, style, time_axis(trace.threshold), trace.threshold, linestyle=(0, (1, 1.6)), linewidth=0.8)
        fired = [t for t, spike in enumerate(trace.spike) if spike > 0]
        charts.mark(axes, style, [t + 1 for t in fired], [trace.membrane[t] for t in fired])
        title = charts.shortened(title)
        x_ticks, y_ticks = charts.ticks(6, whole=True), charts.ticks(4)
        return charts.finish(axes, text, title=title, x_label="time step", x_ticks=x_ticks, y_ticks=y_ticks)
