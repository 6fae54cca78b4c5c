"""Make a page that runs a deployed image network on drawings, and shows its predictions and neurons."""

import base64
import gzip
import re
from pathlib import Path

from hdlif.deploy import browser as wasm
from hdlif.errors import ArtefactError
from hdlif.graph.artefact import loads
from hdlif.graph.graph import PLACED_TASKS
from hdlif.report.templates import Script, set_page

_PAD = 256
"""Approximate pixels of the longer side of the drawing area; twice as many under drawn predictions."""
_MOST_STEPS = 1000


def live_page(content: bytes, name: str) -> str:
    """Return a self-contained page with network and runtime, which needs no server.

    Args:
        content: content of a model file.
        name: name of the file.
    Raises:
        ArtefactError: the content is not a model file, or the network does not take whole images.
    """
    graph = loads(content, name)
    record = graph.input
    channels, height, width = record.shape
    if record.kind != "image" or record.frames != "constant" or channels not in (1, 3):
        raise ArtefactError(
            f"{name}: takes {record.kind} of shape {list(record.shape)}, shown by frames {record.frames!r}; a page "
            "takes networks of pictures, of 1 or 3 channels, that see all of a picture at each step"
        )
    if graph.task.kind not in ("classify", *PLACED_TASKS) or graph.time_steps > _MOST_STEPS:
        raise ArtefactError(
            f"{name}: is of task {graph.task.kind} and {graph.time_steps} time steps; a page takes tasks "
            f"{', '.join(('classify', *PLACED_TASKS))}, of at most {_MOST_STEPS} steps"
        )
    runtime = re.sub(r"^export ", "", wasm.script() + wasm.answers_script(), flags=re.MULTILINE)
    return set_page(
        "live.html.j2",
        {},
        title="A spiking network, live",
        name=name,
        bytes=f"{len(content):,}",
        width=width,
        height=height,
        placed=graph.task.kind in PLACED_TASKS,
        steps=graph.time_steps,
        scale=max(1, (2 * _PAD if graph.task.kind in PLACED_TASKS else _PAD) // max(height, width)),
        module=_text(wasm.packed_module()),
        artefact=_text(gzip.compress(content, 9, mtime=0)),
        script=Script(runtime + (Path(__file__).parent / "live.js").read_text("utf-8")),
    )


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()
