"""Networks of each kind of input and task as files, and servers of them in this process."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from httpx import ASGITransport, AsyncClient
from starlette.testclient import TestClient

from array_files import npy
from deployed_graphs import CLASSES, Builder, residual_network
from hdlif.graph.artefact import INPUT, Graph, InputRecord, TaskRecord, save
from hdlif.serve import Settings
from hdlif.serve.app import App, create_app

STEPS = 6
REGRESS = {"mean": (1.0, 2.0, 3.0), "std": (0.5, 1.0, 2.0)}
TASKS = {
    "classify": TaskRecord(),
    "last": TaskRecord(combine="last"),
    "sequence": TaskRecord("sequence", "each", delay=2),
    "regress": TaskRecord("regress", **REGRESS),
    "regress_each": TaskRecord("regress", "each", ahead=2, **REGRESS),
    "multilabel": TaskRecord("multilabel"),
}


def series(task: str = "classify", *, seed: int = 0, channels: int = 2, kind: str = "series") -> Graph:
    """A network of series (or of rows of a table) of `STEPS` steps, with a recurrent layer."""
    b = Builder((channels, 1, 1), STEPS, seed)
    hidden = b.hd_lif(b.linear(b.add("flatten", INPUT), 6))
    again = b.recurrent(b.linear(hidden, 5))
    frames = "rows" if kind == "series" else "constant"
    record = InputRecord((channels, 1, 1), (0.5,) * channels, (2.0,) * channels, kind, "none", frames=frames)
    return replace(b.graph(again), input=record, task=TASKS[task])


def unbounded() -> Graph:
    """A network of series whose outputs grow as its inputs do."""
    b = Builder((2, 1, 1), STEPS, 0)
    graph = b.graph(b.add("flatten", INPUT))
    return replace(graph, input=series().input)


def write(folder: Path, **graphs: Graph) -> dict[str, Path]:
    """The file of each graph, by its name."""
    found = {}
    for name, graph in graphs.items():
        found[name] = folder / f"{name}.hdlif.safetensors"
        save(graph, found[name])
    return found


@contextmanager
def client(artefacts: dict[str, Path], **settings: Any) -> Iterator[TestClient]:
    """Send requests to an application of these artefacts, by default without waiting for others."""
    app = create_app(artefacts, Settings(**{"latency_budget_ms": 0, "threads": 1} | settings))
    with TestClient(app) as found:
        yield found


@asynccontextmanager
async def async_client(artefacts: dict[str, Path], **settings: Any) -> AsyncIterator[tuple[App, AsyncClient]]:
    """Give an application of these artefacts, and a client that sends it requests at the same time."""
    app = create_app(artefacts, Settings(**{"threads": 1} | settings))
    async with AsyncClient(transport=ASGITransport(app), base_url="http://test") as http:
        yield app, http


NPY = {"content-type": "application/x-npy"}
STATE = {"content-type": "application/vnd.hdlif.state"}

__all__ = [
    "CLASSES",
    "NPY",
    "STATE",
    "STEPS",
    "TASKS",
    "async_client",
    "client",
    "npy",
    "residual_network",
    "series",
    "unbounded",
    "write",
]
