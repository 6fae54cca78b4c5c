"""Render an HTML page that runs a deployed image network on the user's drawings."""

import base64
import gzip
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdlif.deploy import browser as wasm
from hdlif.errors import ArtefactError
from hdlif.graph.artefact import Graph, dumps, loads
from hdlif.graph.graph import PLACED_TASKS
from hdlif.graph.learning import trained, with_classes
from hdlif.report.templates import Script, set_page
from hdlif.runtime import Session, normalise
from hdlif.runtime.learning import numbered

_PAD = 256
"""Approximate longer side of the drawing area in pixels; drawn predictions double it."""
_MOST_STEPS = 1000
_NEW_CLASSES = 3
"""Classes that a reader can add to a page that learns."""
_PUSH = 16.0
"""The learning rate of a page: largest change of a sample's own logit per update, times the samples of the update."""
_FOLDER = Path(__file__).parent
_LAYOUT = re.compile(r"^ *((//[^\n]*|/\*(?:(?!\*/).)*\*/)\n)?", re.MULTILINE | re.DOTALL)
"""Matches indentation and full-line comments in a script; the page is smaller without them."""


def live_page(
    content: bytes,
    name: str,
    *,
    stroke: Sequence[tuple[float, float]] = (),
    known: tuple[NDArray[np.uint8], Sequence[int]] | None = None,
) -> str:
    """Return a self-contained HTML page that contains a network and the runtime and needs no server.

    Args:
        content: content of a model file.
        name: name of the file.
        stroke: points (x, y) of a line that is drawn when the page opens, in 0..1 from the left and the top. The
            reader's first stroke clears it.
        known: pixels [N, C, H, W] and classes of a few training samples; with them, the page learns symbols that the
            reader draws, and does not forget these classes.
    Raises:
        ArtefactError: the content is not a model file, or the page does not support the network.
        HdlifError: the network cannot learn new classes.
    """
    graph, lesson, files = loads(content, name), "", ["live_network.js", "live.js"]
    record = graph.input
    channels, height, width = record.shape
    if record.kind != "image" or record.frames != "constant" or channels not in (1, 3):
        raise ArtefactError(
            f"{name}: takes {record.kind} of shape {list(record.shape)} with frames {record.frames!r}; a page "
            "supports images of 1 or 3 channels, shown whole at each step"
        )
    if graph.task.kind not in ("classify", *PLACED_TASKS) or graph.time_steps > _MOST_STEPS:
        raise ArtefactError(
            f"{name}: has task {graph.task.kind} and {graph.time_steps} time steps; a page supports the tasks "
            f"{', '.join(('classify', *PLACED_TASKS))}, with at most {_MOST_STEPS} steps"
        )
    placed = graph.task.kind in PLACED_TASKS
    runtime = re.sub(r"^export ", "", wasm.script() + wasm.answers_script(), flags=re.MULTILINE)
    if known is not None:
        graph = with_classes(graph, [f"new class {k}" for k in range(1, 1 + _NEW_CLASSES)])
        content, lesson = dumps(graph), json.dumps(_lesson(graph, *known))
        files.insert(0, "live_learn.js")
    own = "".join((_FOLDER / file).read_text("utf-8") for file in files)
    return set_page(
        "live.html.j2",
        {},
        title="A spiking network, live",
        name=name,
        bytes=f"{len(content):,}",
        width=width,
        height=height,
        placed=placed,
        steps=graph.time_steps,
        stroke=json.dumps([[float(x), float(y)] for x, y in stroke]),
        scale=max(1, (2 * _PAD if placed else _PAD) // max(height, width)),
        module=_text(wasm.packed_module()),
        artefact=_text(gzip.compress(content, 9, mtime=0)),
        lesson=lesson,
        samples="" if known is None else _text(gzip.compress(known[0].tobytes(), 9, mtime=0)),
        script=Script(_LAYOUT.sub("", runtime + own)),
    )


def _lesson(graph: Graph, pixels: NDArray[np.uint8], classes: Sequence[int]) -> dict[str, Any]:
    """Return the data that live_learn.js needs: the tensors to train, the learning rates and the samples' classes."""
    places = trained(graph, "classifier")
    (classifier, *_), nodes = places, {node.name: node for node in graph.nodes}
    x = normalise(pixels[None].astype(np.float32), graph.input)
    features = Session(graph, 1).values(x)[nodes[classifier.node].inputs[0]]
    squares = np.square(features, dtype=np.float64).sum() / np.prod(features.shape[:2])
    scales = [np.square(nodes[node].tensors[role]).mean() for node, role in places if role == "scale"]
    rate = _PUSH / max(float(squares * np.prod(scales)), 1.0)
    numbers, needed = numbered(graph, places)
    own = {"spare": _NEW_CLASSES, "classes": [int(one) for one in classes]}
    return {**own, "places": numbers, "needed": needed, "rate": [min(rate, 1.0), 0.01, 0.0]}


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()
