"""Single neurons at work on one sample: when they fire, and their membranes."""

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np
from markupsafe import Markup

from hdlif.report import charts
from hdlif.report.charts import Membrane, Spikes, Text
from hdlif.report.figures import Figure, time_axis, union

_AXES = ("channel", "row", "column")


@dataclass(frozen=True)
class NeuronTrace:
    """One neuron of one network at each time step: m_t before firing, θ_t, and what is emitted.

    Attributes:
        threshold: NaN where there is none.
        place: where it stands in its layer, as `place_of` says.
        states: those that it has beside the one that the membrane is reset to, after each step.
    """

    membrane: Sequence[float]
    threshold: Sequence[float]
    spike: Sequence[float]
    place: str
    states: Mapping[str, Sequence[float]] = field(default_factory=dict)


class Layer(Protocol):
    """A layer of N neurons at work: membrane, threshold and spike [T, N], arrays or tensors, and its shape."""

    @property
    def membrane(self) -> Any: ...
    @property
    def threshold(self) -> Any: ...
    @property
    def spike(self) -> Any: ...
    @property
    def shape(self) -> Sequence[int]: ...


def trace_of(layer: Layer, index: int, states: Mapping[str, Any] = MappingProxyType({})) -> NeuronTrace:
    """One neuron of a layer.

    Args:
        index: counted in the order [C, H, W].
        states: of the layer, [T, N], by name, those beside the one that the membrane is reset to.
    """

    def of_neuron(values: Any) -> Sequence[float]:
        column: Sequence[float] = values[:, index].tolist()
        return column

    return NeuronTrace(
        of_neuron(layer.membrane),
        of_neuron(layer.threshold),
        of_neuron(layer.spike),
        place_of(index, layer.shape),
        {name: of_neuron(values) for name, values in states.items()},
    )


@dataclass(frozen=True)
class Traces:
    """What neurons do on a sample, which `sample` names; the traces of a network by "layer:index", by its name."""

    sample: str
    networks: Mapping[str, Mapping[str, NeuronTrace]]


def place_of(index: int, shape: Sequence[int]) -> str:
    """Where a neuron stands in a layer of shape [C, H, W], or [C]; all is counted from 0.

    >>> place_of(21, (2, 4, 4))
    'channel 1, row 1, column 1'
    >>> place_of(7, (10,))
    'channel 7'
    """
    places = np.unravel_index(index, tuple(shape))
    return ", ".join(f"{axis} {place}" for axis, place in zip(_AXES, places, strict=False))


def of_channels(order: Iterable[int], shape: Sequence[int], count: int) -> list[int]:
    """The first `count` neurons of an order, of as many channels as there are: neighbours of a map do much the same.

    >>> of_channels([21, 20, 3, 19], (2, 4, 4), 2), of_channels([21, 20, 3, 19], (2, 4, 4), 3)
    ([3, 21], [3, 20, 21])

    Args:
        order: the liveliest first.
        shape: of the layer, [C, H, W] or [C].
    Returns:
        their indices, which rise.
    """
    size, order = math.prod(shape[1:]), list(order)
    first: dict[int, int] = {}
    for index in order:
        first.setdefault(index // size, index)
    chosen = dict.fromkeys([*first.values(), *order])
    return sorted(itertools.islice(chosen, count))


def figures(names: Sequence[str], traces: Traces) -> list[Figure]:
    """A raster of all neurons, and a panel for the membrane of each."""
    found = [traces.networks.get(name, {}) for name in names]
    neurons = union(found)
    if not neurons:
        return []
    return [_raster(names, found, neurons, traces.sample), _membranes(names, found, neurons, traces.sample)]


def _raster(
    names: Sequence[str], found: Sequence[Mapping[str, NeuronTrace]], neurons: Sequence[str], sample: str
) -> Figure:
    caption = (
        f"Spikes of single neurons (layer:index) on {sample}; the area of a mark is the value of the spike. "
        "The index counts the neurons of a layer from 0: channel by channel, and in each row by row; the table says "
        "where each stands."
    )
    largest = max((max(trace.spike) for of_one in found for trace in of_one.values()), default=0.0) or 1.0
    spikes, counts = [], []
    for style, of_one in enumerate(found):
        marks = [
            (t, neurons.index(neuron), value / largest)
            for neuron, trace in of_one.items()
            for t, value in enumerate(trace.spike, start=1)
            if value > 0
        ]
        spikes.append(Spikes(style, *([mark[i] for mark in marks] for i in range(3))))
        counts.append(f"{names[style]} fires {len(marks)} times")
    steps = max(len(trace.spike) for of_one in found for trace in of_one.values())
    chart = charts.raster(Text("raster", caption, "; ".join(counts) + "."), neurons, spikes, steps=steps)
    rows = [
        [neuron, of_one[neuron].place, names[style], _numbers(of_one[neuron].spike)]
        for neuron in neurons
        for style, of_one in enumerate(found)
        if neuron in of_one
    ]
    return Figure(caption, [Markup(chart)], ["neuron", "place", "network", "spike, t = 1, 2, …"], rows, kind="raster")


def _membranes(
    names: Sequence[str], found: Sequence[Mapping[str, NeuronTrace]], neurons: Sequence[str], sample: str
) -> Figure:
    caption = (
        f"Membrane of the same neurons before firing, on {sample}; dotted the threshold θ, and a mark where the neuron "
        "fires."
    )
    if any(trace.states for of_one in found for trace in of_one.values()):
        caption += " Below it each further state of the neuron, after the step."
    drawn, rows = [], []
    for place, neuron in enumerate(neurons):
        panel = [
            Membrane(style, time_axis(trace.membrane), trace.membrane, trace.threshold, [s > 0 for s in trace.spike])
            for style, of_one in enumerate(found)
            if (trace := of_one.get(neuron)) is not None
        ]
        description = "; ".join(f"{names[one.style]}: {_numbers(one.membrane)}" for one in panel) + "."
        text = Text(f"membrane-{place}", f"membrane of {neuron}", description)
        drawn.append(Markup(charts.membranes(text, panel, title=neuron)))
        drawn += _other_states(found, neuron, place)
        rows += [
            [neuron, found[one.style][neuron].place, names[one.style], _numbers(one.membrane), _numbers(one.threshold)]
            for one in panel
        ]
    headings = ["neuron", "place", "network", "membrane, t = 1, 2, …", "threshold"]
    return Figure(caption, drawn, headings, rows, small=True, kind="membranes")


def _other_states(found: Sequence[Mapping[str, NeuronTrace]], neuron: str, place: int) -> list[Markup]:
    """A panel for each further state."""
    drawn = []
    for name in list(union([of_one[neuron].states for of_one in found if neuron in of_one])):
        lines = [
            Membrane(style, time_axis(values), values, [math.nan] * len(values), [False] * len(values))
            for style, of_one in enumerate(found)
            if neuron in of_one and (values := of_one[neuron].states.get(name)) is not None
        ]
        description = "; ".join(_numbers(one.membrane) for one in lines) + "."
        text = Text(f"state-{place}-{name}", f"{name} of {neuron}", description)
        drawn.append(Markup(charts.membranes(text, lines, title=f"{neuron} {name}")))
    return drawn


def _numbers(values: Sequence[float]) -> str:
    return ", ".join("—" if math.isnan(value) else f"{value:.3f}" for value in values)
