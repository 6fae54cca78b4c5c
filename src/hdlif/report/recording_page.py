"""Render a page that shows a network's input, neurons and predictions during one recording."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from hdlif.errors import InputError
from hdlif.graph.artefact import InputRecord, load
from hdlif.graph.graph import PLACED_TASKS
from hdlif.report import charts
from hdlif.report.charts import Series, Text
from hdlif.report.figures import Figure, Section, lines
from hdlif.report.maps import draw_map
from hdlif.report.templates import set_page
from hdlif.report.traces import NeuronTrace, Traces, of_channels, trace_of
from hdlif.report.traces import figures as trace_figures
from hdlif.runtime import DEFAULT_MAX_BYTES, DEFAULT_MAX_OPERATIONS, Session
from hdlif.runtime.answers import answers, in_words, said_so_far
from hdlif.runtime.at_work import LayerAtWork, layers_at_work
from hdlif.runtime.inputs import read_inputs

Floats = NDArray[np.float32]
MOST_STEPS = 2000
"""Maximum number of time steps on a page, unless its first window has more."""
_LIVELIEST, _LAYERS = 4, 3
"""Number of drawn neurons per layer, and number of drawn layers."""
_POINTS = 400
"""Maximum number of points on a line; if there are more, neighbours are averaged."""
_LINES = 7
"""Maximum number of channels or outputs that are drawn as lines."""
_COLUMNS = 160
_ROWS = 64
"""Maximum number of rows of a map."""
_LISTED = 200
"""Maximum number of windows in the table."""
_BROAD = (9.4, 2.7)
"""Size in inches of a chart as wide as the page."""


@dataclass(frozen=True)
class Recording:
    """A recording, and a network's activity on it; S is the total number of time steps of all windows.

    Attributes:
        name: name of the recording.
        channels: names of the channels; empty if the channels are numbered.
        shown: input at each step in its original units, [S, C].
        windows: name and prediction of each window.
        lengths: number of steps in each window.
        outputs: names of the outputs.
        said: predictions after each step of a window, [S, outputs].
        unit: the quantity in `said`.
        firing: fraction of non-zero outputs for each neuron layer, [S].
        traces: traces of single neurons on the first window, by "layer:index".
        facts: facts about the file and its network.
    """

    name: str
    channels: Sequence[str]
    shown: Floats
    windows: Sequence[tuple[str, str]]
    lengths: Sequence[int]
    outputs: Sequence[str]
    said: Floats
    unit: str
    firing: Mapping[str, Floats]
    traces: Mapping[str, NeuronTrace]
    facts: Sequence[tuple[str, str]]


def recording_page(
    artefact: Path,
    recording: Path,
    *,
    threads: int | None = None,
    max_bytes: int = DEFAULT_MAX_BYTES,
    max_operations: int = DEFAULT_MAX_OPERATIONS,
) -> str:
    """Return a self-contained page that shows non-overlapping windows of a recording.

    Args:
        recording: path of a time series, an audio file, or an event-camera recording.
    Raises:
        ArtefactError, InputError: the network or the recording cannot be used.
        LimitError: a limit is exceeded.
    """
    if recording.is_dir():
        raise InputError(f"{recording}: is a folder; --page takes one file")
    graph = load(artefact)
    session = Session(graph, threads, max_bytes=max_bytes, max_operations=max_operations)
    record = session.input
    if record.kind not in ("series", "events"):
        raise InputError(
            f"{artefact}: the network takes inputs of kind {record.kind}; --page applies to series, sounds and "
            "recordings"
        )
    if session.task.kind in PLACED_TASKS:
        raise InputError(f"{artefact}: the network's task is {session.task.kind}, which --page does not draw")
    windows, left_out = _apart(recording, record, session.time_steps)
    shown, said, firing, stated = [], [], [], []
    traces: Mapping[str, NeuronTrace] = {}
    for name, x in windows:
        layers = layers_at_work(graph, values := session.values(x))
        outputs = values[graph.output].astype(np.float32)
        answer = next(answers(outputs, session.task, session.labels))
        if answer is None:
            raise InputError(f"{recording} {name}: its values are so large that the network's output is not finite")
        shown.append(_as_read(x, record))
        said.append(said_so_far(outputs[:, 0], session.task))
        firing.append({layer: (one.spike != 0).mean(1, dtype=np.float32) for layer, one in layers.items()})
        stated.append((name, answer.get("label"), in_words(answer)))
        traces = traces or _liveliest(layers)
    unit = {"regress": "value", "multilabel": "probability of each label"}.get(session.task.kind, "probability")
    found = Recording(
        name=recording.name,
        channels=("off", "on") if record.kind == "events" else record.columns,
        shown=np.concatenate(shown),
        windows=[(name, words) for name, _, words in stated],
        lengths=[len(x) for x in shown],
        outputs=session.labels,
        said=np.concatenate(said),
        unit=unit,
        firing={layer: np.concatenate([one[layer] for one in firing]) for layer in firing[0]},
        traces=traces,
        facts=_facts(artefact, session, len(graph.nodes)),
    )
    kind = "frame of sound" if record.sound else "frame of events" if record.kind == "events" else "reading"
    text = render(found, findings=_findings([label for _, label, _ in stated], found.windows, left_out), kind=kind)
    # A file name can contain half a surrogate pair, which UTF-8 cannot encode.
    return text.encode("utf-8", errors="replace").decode("utf-8")


def _apart(recording: Path, record: InputRecord, time_steps: int) -> tuple[list[tuple[str, Floats]], int]:
    """Return the non-overlapping windows to show, and the number of omitted windows."""
    length, hop = record.windows or (1, 1)
    if record.sound is not None and record.sound.clips == "windows":
        length, hop = record.sound.samples, record.sound.every
    every, steps, left_out = -(-length // hop), 0, 0
    windows: list[tuple[str, Floats]] = []
    for place, (name, x, _) in enumerate(read_inputs(recording, record, time_steps)):
        if place % every or (windows and steps + len(x) > MOST_STEPS):
            left_out += 1
            continue
        # Remove the file name, which is in the heading.
        windows.append((name.removeprefix(str(recording)) or recording.name, x))
        steps += len(x)
    return windows, left_out


def _as_read(x: Floats, record: InputRecord) -> Floats:
    """Convert inputs [T, 1, C, H, W] to their original units, and return their sums over pixels, [T, C]."""
    scaled = (
        x[:, 0] * np.array(record.std, np.float32)[:, None, None] + np.array(record.mean, np.float32)[:, None, None]
    )
    summed: Floats = scaled.sum(axis=(2, 3), dtype=np.float32)
    return summed


def _liveliest(layers: Mapping[str, LayerAtWork]) -> dict[str, NeuronTrace]:
    """Return traces of the most active neurons from different channels of the first, middle and last layers."""
    names = list(layers)
    chosen = (
        dict.fromkeys(names[place * (len(names) - 1) // (_LAYERS - 1)] for place in range(_LAYERS)) if names else {}
    )
    traces = {}
    for name in chosen:
        layer = layers[name]
        order = np.argsort(-(layer.spike != 0).sum(0), kind="stable")
        for index in of_channels(order.tolist(), layer.shape, _LIVELIEST):
            traces[f"{name}:{index}"] = trace_of(layer, index)
    return traces


def _findings(labels: Sequence[str | None], windows: Sequence[tuple[str, str]], left_out: int) -> str:
    """Summarise the predictions for all windows."""
    if len(windows) == 1:
        said = f"{windows[0][1]}."
    elif None in labels:
        said = f"{len(windows)} windows."
    else:
        counts = Counter(labels).most_common()
        said = f"{', '.join(f'{label} in {count}' for label, count in counts)} of {len(windows)} windows."
    more = f" {left_out} further windows, which overlap these or lie after them, are not shown." if left_out else ""
    return said + more


def _facts(artefact: Path, session: Session, nodes: int) -> list[tuple[str, str]]:
    return [
        ("File", str(artefact)),
        ("Size", f"{artefact.stat().st_size:,} bytes"),
        ("Operations", f"{nodes} nodes"),
        ("Time steps of a window", f"{session.time_steps}"),
        ("Task", session.task.kind),
    ]


def render(recording: Recording, *, findings: str, kind: str) -> str:
    """Return the page about a recording as HTML without external links.

    Identical recordings always produce identical bytes.

    Args:
        findings: the conclusion, in one sentence.
        kind: content of a step: "reading", "frame of sound" or "frame of events".
    """
    outputs, said = _most_said(recording)
    figures = {
        "The recording": Section(*_shown(recording, kind)),
        "Outputs over time": Section(outputs, [_said(recording, outputs, said)]),
        "Firing by layer": Section(list(recording.firing), [_firing(recording)]),
        "Neuron activity": Section(
            ["network"], trace_figures(["network"], Traces(_first(recording), {"network": recording.traces}))
        ),
    }
    return set_page(
        "recording.html.j2",
        figures,
        title=recording.name,
        findings=findings,
        windows=recording.windows[:_LISTED],
        unlisted=max(0, len(recording.windows) - _LISTED),
        facts=recording.facts,
    )


def _first(recording: Recording) -> str:
    """Return the name of the first window, prefixed with the recording's name."""
    first = recording.windows[0][0]
    return first if first.startswith(recording.name) else recording.name + first


def _rules(recording: Recording) -> list[float]:
    """Return the positions of the boundaries between windows."""
    return [float(end) + 0.5 for end in np.cumsum(recording.lengths)[:-1]]


def _where(recording: Recording) -> str:
    dotted = "; dotted lines separate windows" if len(recording.windows) > 1 else ""
    return f"by time step{dotted}"


def _thinned(values: Floats, most: int) -> tuple[list[float], Floats]:
    """Average groups of neighbouring values along the first axis, and return each group's position and mean.

    Positions start at 1.
    """
    block = -(-len(values) // most)
    begins = range(0, len(values), block)
    means = np.array([values[begin : begin + block].mean(0, dtype=np.float64) for begin in begins], np.float32)
    places = [1 + (begin + min(begin + block, len(values)) - 1) / 2 for begin in begins]
    return places, means


def _lines(
    recording: Recording, ident: str, caption: str, names: Sequence[str], values: Floats, **options: Any
) -> Figure:
    places, means = _thinned(values, _POINTS)
    drawn = [Series(style, places, column.tolist()) for style, column in enumerate(means.T)]
    options |= {"x_label": "time step", "rules": _rules(recording), "whole": False, "size": _BROAD}
    return replace(lines(ident, caption, names, drawn, **options), wide=True)


def _shown(recording: Recording, kind: str) -> tuple[Sequence[str], list[Figure]]:
    """Return the names for the legend, and the figures that show the network's input."""
    count = recording.shown.shape[1]
    names = list(recording.channels) or [f"channel {number}" for number in range(1, count + 1)]
    if count <= _LINES:
        caption = f"Input of the network, one {kind} per step, {_where(recording)}."
        return names, [_lines(recording, "shown", caption, names, recording.shown, y_label="value")]
    _, columns = _thinned(recording.shown, _COLUMNS)
    _, rows = _thinned(np.ascontiguousarray(columns.T), _ROWS)
    caption = (
        f"Input of the network, one {kind} per step, {_where(recording)}: one row per channel ({count}), the first at "
        "the bottom; the stronger the colour, the larger the value."
    )
    shown = recording.shown
    text = Text("shown", caption, f"{count} channels between {shown.min():.3g} and {shown.max():.3g}.")
    steps = -(-len(shown) // _COLUMNS), -(-count // _ROWS)
    return [], [Figure(caption, [heat(text, rows.tolist(), steps, _rules(recording))], wide=True, kind="shown")]


def heat(text: Text, values: Sequence[Sequence[float]], steps: tuple[float, float], rules: Sequence[float]) -> Markup:
    """Draw a heat map with one row per channel, from bottom to top.

    Args:
        values: values as [rows][columns].
        steps: distance between columns, and distance between rows; the first column and row are at 1.
        rules: as in `charts.lines`.
    """
    with charts.chart(_BROAD) as axes:
        draw_map(axes, values, steps)
        charts.rule(axes, rules)
        x_ticks, y_ticks = charts.ticks(6, whole=True), charts.ticks(5, whole=True)
        return charts.finish(axes, text, title="channel", x_label="time step", x_ticks=x_ticks, y_ticks=y_ticks)


def _most_said(recording: Recording) -> tuple[list[str], Floats]:
    """Return the names of the outputs that reach the largest values, and the values of these outputs at each step.

    The number of outputs is limited to the maximum number of lines in a chart.
    """
    count = len(recording.outputs)
    order = np.argsort(-np.nan_to_num(recording.said).max(0), kind="stable")[:_LINES]
    chosen = sorted(order.tolist()) if count > _LINES else list(range(count))
    return [recording.outputs[place] for place in chosen], recording.said[:, chosen]


def _said(recording: Recording, outputs: Sequence[str], said: Floats) -> Figure:
    which = "" if len(outputs) == len(recording.outputs) else f" for the {len(outputs)} outputs with the largest values"
    caption = f"The {recording.unit}{which} after each step of a window, {_where(recording)}."
    within = None if "value" in recording.unit else (0.0, 1.0)
    kind = "said" if within else "said-values"
    return _lines(recording, "said", caption, outputs, said, y_label=recording.unit, within=within, kind=kind)


def _firing(recording: Recording) -> Figure:
    caption = f"Fraction of non-zero outputs of each neuron layer, {_where(recording)}."
    values = np.stack(list(recording.firing.values()), 1) if recording.firing else np.empty((1, 0), np.float32)
    return _lines(
        recording,
        "firing",
        caption,
        list(recording.firing),
        values,
        y_label="fraction of non-zero outputs",
        within=(0, 1),
    )
