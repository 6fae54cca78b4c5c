"""Make a page that runs a deployed image network on drawings and shows its predictions and neurons."""

import base64
import gzip
import json
import re
from collections.abc import Sequence
from pathlib import Path

from hdlif.deploy import browser as wasm
from hdlif.errors import ArtefactError
from hdlif.graph.artefact import loads
from hdlif.graph.graph import PLACED_TASKS
from hdlif.report.templates import Script, set_page

_PAD = 256
"""Approximate longer side of the drawing area in pixels; drawn predictions double it."""
_MOST_STEPS = 1000
_FOLDER = Path(__file__).parent
_LAYOUT = re.compile(r"^ *((//[^\n]*|/\*(?:(?!\*/).)*\*/)\n)?", re.MULTILINE | re.DOTALL)
"""Matches indentation and full-line comments in a script; the page is smaller without them."""


def live_page(content: bytes, name: str, *, stroke: Sequence[tuple[float, float]] = ()) -> str:
    """Return a self-contained page with the network and the runtime, which does not need a server.

    Args:
        content: content of a model file.
        name: name of the file.
        stroke: points (x, y) of a line that is drawn when the page opens, in 0..1 from the left and the top. The
            reader's first stroke clears it.
    Raises:
        ArtefactError: the content is not a model file, or the page does not support the network.
    """
    graph = loads(content, name)
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
    own = "".join((_FOLDER / file).read_text("utf-8") for file in ("live_network.js", "live.js"))
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
        script=Script(_LAYOUT.sub("", runtime + own)),
    )


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()
