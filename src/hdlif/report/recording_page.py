"""Make the page of one recording: the activity of neurons, and the predictions over time."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hdlif.errors import InputError, MissingExtraError
from hdlif.graph.artefact import InputRecord, load
from hdlif.graph.graph import PLACED_TASKS
from hdlif.runtime import DEFAULT_MAX_BYTES, DEFAULT_MAX_OPERATIONS, Session
from hdlif.runtime.answers import answers, in_words, said_so_far
from hdlif.runtime.at_work import LayerAtWork, layers_at_work
from hdlif.runtime.inputs import read_inputs

if TYPE_CHECKING:
    from hdlif.report.traces import NeuronTrace

Floats = NDArray[np.float32]
MOST_STEPS = 2000
"""Most time steps on a page, unless its first window has more."""
_LIVELIEST, _LAYERS = 4, 3
"""Number of drawn neurons per layer, and of drawn layers."""


def recording_page(
    artefact: Path,
    recording: Path,
    *,
    threads: int | None = None,
    max_bytes: int = DEFAULT_MAX_BYTES,
    max_operations: int = DEFAULT_MAX_OPERATIONS,
) -> str:
    """Return a self-contained page; it omits windows that overlap an earlier one, and those after `MOST_STEPS`.

    Args:
        recording: a series, a sound, or a recording of events.
    Raises:
        ArtefactError, InputError: the network or the recording cannot be used.
        LimitError: a limit is exceeded.
        MissingExtraError: a package that draws the page is not installed.
    """
    try:
        from hdlif.report.recording import Recording, render
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"{error.name} is not installed; pip install 'hdlif[train]'") from error

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
            raise InputError(f"{recording} {name}: its values are so large that the network's answer is not finite")
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
    # A name can contain half a surrogate pair, which UTF-8 cannot encode.
    return text.encode("utf-8", errors="replace").decode("utf-8")


def _apart(recording: Path, record: InputRecord, time_steps: int) -> tuple[list[tuple[str, Floats]], int]:
    """Return the shown windows, which do not overlap, and the number of omitted ones."""
    length, hop = record.windows or (1, 1)
    if record.sound is not None and record.sound.clips == "windows":
        length, hop = record.sound.samples, record.sound.every
    every, steps, left_out = -(-length // hop), 0, 0
    windows: list[tuple[str, Floats]] = []
    for place, (name, x, _) in enumerate(read_inputs(recording, record, time_steps)):
        if place % every or (windows and steps + len(x) > MOST_STEPS):
            left_out += 1
            continue
        # Without the file name, which is in the heading.
        windows.append((name.removeprefix(str(recording)) or recording.name, x))
        steps += len(x)
    return windows, left_out


def _as_read(x: Floats, record: InputRecord) -> Floats:
    """Convert inputs [T, 1, C, H, W] back to their own units, and sum them over pixels, [T, C]."""
    scaled = (
        x[:, 0] * np.array(record.std, np.float32)[:, None, None] + np.array(record.mean, np.float32)[:, None, None]
    )
    summed: Floats = scaled.sum(axis=(2, 3), dtype=np.float32)
    return summed


def _liveliest(layers: Mapping[str, LayerAtWork]) -> dict[str, "NeuronTrace"]:
    """Select the neurons of the first, middle and last layer that fire most often, in different channels."""
    from hdlif.report.traces import of_channels, trace_of

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
    """Count the predictions of several windows, or return the whole prediction of a single one."""
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
