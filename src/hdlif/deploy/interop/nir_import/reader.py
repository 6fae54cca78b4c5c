"""From a NIR file or graph to a network that trains and is deployed; `docs/how_to/nir.md` says what maps to what."""

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hdlif.deploy.interop.nir_import.graph import plain_graph
from hdlif.deploy.interop.nir_import.network import shape_of, translated
from hdlif.deploy.interop.nir_import.values import text_of
from hdlif.deploy.interop.structure import build
from hdlif.deploy.network import export, lower
from hdlif.deploy.nir_export.extension import ARTEFACT, NAME, WEIGHT
from hdlif.deploy.nir_export.translation import DT, METADATA, STEP
from hdlif.errors import ArtefactError, ConversionError, HdlifError, MissingExtraError
from hdlif.functional import Surrogate
from hdlif.graph.artefact import Graph, InputRecord, TaskRecord, joined, loads, read_statement
from hdlif.graph.inference import infer_values
from hdlif.inputs.hdf5_tree import read_tree
from hdlif.models import OwnNetwork

TIME_STEPS = 4
"""Of a graph that does not say them."""


@dataclass(frozen=True)
class Imported:
    """A network that was read.

    An example is at `from_nir`.

    Attributes:
        network: [K, B, ...] to [K, B, outputs], in train mode; any rule trains it.
        structure: what `hdlif.deploy.interop.structure.build` makes it of, without its weights.
        input, labels, task, time_steps: as `hdlif.deploy.export` takes them: of a graph that `hdlif` wrote its own;
            of another those that `read` was given, with numbered outputs.
    """

    network: OwnNetwork
    structure: Mapping[str, Any]
    input: InputRecord
    labels: tuple[str, ...]
    task: TaskRecord
    time_steps: int

    def graph(self) -> Graph:
        """The deployed graph of the network as it is now."""
        return lower(self.network.eval(), **self._record())

    def export(self, path: Path | str) -> Graph:
        """Write the artefact of the network as it is now."""
        return export(self.network.eval(), path, **self._record())

    def _record(self) -> dict[str, Any]:
        return {"input": self.input, "labels": self.labels, "time_steps": self.time_steps, "task": self.task}

    def structure_text(self) -> str:
        """The structure as a recipe has it."""
        return json.dumps(self.structure, separators=(",", ":"))


def read(
    path: Path | str,
    *,
    dt: float | None = None,
    time_steps: int | None = None,
    kind: str | None = None,
    fires_at_threshold: bool = False,
    surrogate: Surrogate | None = None,
) -> Imported:
    """The network of a NIR file; the file is not trusted.

    An example is at `from_nir`.

    Args:
        dt: seconds of a time step: 1e-4 where the file does not say, as snnTorch and SpikingJelly have it.
        time_steps: T, `TIME_STEPS` where the file does not say.
        kind: of input, as `InputRecord` has it. Where the file does not say: "events" of 2 channels, "image" of other
            maps, "series" of vectors.
        fires_at_threshold: whether neurons fire at v = v_threshold too, as SpikingJelly's do; in NIR they do not.
        surrogate: of the neurons, of which NIR says nothing; by default `UnitLIF`'s.
        path: of the file.
    Raises:
        InputError: no NIR file.
        ConversionError: nodes that have no counterpart, or that do not fit together; or a file of `--extension`, which
            holds an artefact (`read_artefact`).
        MissingExtraError: h5py is not installed.
    """
    path = Path(path)
    with _naming(path):
        return _imported(read_tree(path), dt, time_steps, kind, fires_at_threshold, surrogate)


def from_nir(
    graph: Any,
    *,
    dt: float | None = None,
    time_steps: int | None = None,
    kind: str | None = None,
    fires_at_threshold: bool = False,
    surrogate: Surrogate | None = None,
) -> Imported:
    """The network of a `nir.NIRGraph`, which has been read or made in memory; errors as in `read`.

    >>> import nir
    >>> import numpy as np
    >>> import torch
    >>> from hdlif.deploy.interop.nir_import import from_nir
    >>> ones = np.ones(2)
    >>> lif = nir.LIF(tau=2e-4 * ones, r=2 * ones, v_leak=0 * ones, v_threshold=ones)
    >>> network = from_nir(nir.NIRGraph.from_list(nir.Linear(np.eye(2)), lif), time_steps=4).network
    >>> spikes, state = network(torch.ones(4, 1, 2))
    >>> spikes[:, 0].tolist()
    [[0.0, 0.0], [1.0, 1.0], [0.0, 0.0], [1.0, 1.0]]

    Args:
        graph: a `nir.NIRGraph`.
        dt, time_steps, kind, fires_at_threshold, surrogate: as in `read`.
    """
    return _imported(graph.to_dict(), dt, time_steps, kind, fires_at_threshold, surrogate)


def read_artefact(path: Path | str) -> bytes | None:
    """The artefact that a file of `hdlif export --to nir --extension` holds, in every byte; None if it holds none.

    Args:
        path: of the file.
    Raises:
        InputError: no NIR file.
        ArtefactError: what it holds is damaged.
    """
    path = Path(path)
    tree = read_tree(path)
    inner = tree.get("nodes")
    nodes = [node for node in inner.values() if isinstance(node, dict)] if isinstance(inner, dict) else []
    text = _extension_of(tree)
    if text is None:
        return None
    tensors: dict[str, Any] = {}
    for node in nodes:
        metadata = node.get("metadata")
        if not isinstance(metadata, dict) or not isinstance(metadata.get(NAME), str):
            continue
        held = {key: value for key, value in metadata.items() if key not in (NAME, WEIGHT)}
        if WEIGHT in metadata:
            held["weight"] = node.get("weight")
        for role, value in held.items():
            if not isinstance(value, np.ndarray):
                raise ArtefactError(f"{path}: {role} of {metadata[NAME]!r} is no array; export it again")
            tensors[f"{metadata[NAME]}.{role}"] = value
    content = joined(text, tensors, str(path))
    loads(content, str(path))
    return content


def _extension_of(tree: Mapping[str, Any]) -> str | None:
    """The metadata of the artefact that a tree holds."""
    inner = tree.get("nodes")
    for node in inner.values() if isinstance(inner, dict) else ():
        metadata = node.get("metadata") if isinstance(node, dict) else None
        if isinstance(metadata, dict) and node.get("type") == "Input":
            return text_of(metadata, ARTEFACT)
    return None


def _imported(
    tree: Mapping[str, Any],
    dt: float | None,
    time_steps: int | None,
    kind: str | None,
    fires_at_threshold: bool,
    surrogate: Surrogate | None,
) -> Imported:
    if _extension_of(tree) is not None:
        raise ConversionError(
            "holds a network that NIR cannot say, as metadata; it comes back as the artefact that it was: "
            "hdlif.deploy.interop.nir_import.read_artefact, or `hdlif import`"
        )
    graph = plain_graph(tree)
    said = text_of(graph.input.metadata, METADATA)
    record, labels, task, steps = (None, None, TaskRecord(), None) if said is None else read_statement(said)
    if dt is None:
        held = graph.input.metadata.get(STEP)
        dt = float(held) if isinstance(held, float) and held > 0 else DT
    if not dt > 0:
        raise ConversionError(f"dt = {dt}; a step takes more than 0 seconds")
    structure, weights = translated(graph, dt=dt, fires_at_threshold=fires_at_threshold)
    shape = tuple(structure["input"])
    if record is None or record.shape != shape or kind not in (None, record.kind):
        record = _record_of(shape, kind)
    steps = time_steps or steps or TIME_STEPS
    outputs = int(structure["outputs"])
    if labels is None or len(labels) != outputs:
        is_map = len(shape_of("the output", graph.output)) == 3
        labels, task = tuple(map(str, range(outputs))), TaskRecord("segment") if is_map else TaskRecord()
    network = build(structure, steps, surrogate=surrogate)
    network.load_state_dict({name: torch.from_numpy(values) for name, values in weights.items()})
    found = Imported(OwnNetwork(network), structure, record, labels, task, steps)
    # Whatever could not be deployed is refused now.
    infer_values(found.graph())
    found.network.train()
    return found


def _record_of(shape: tuple[int, ...], kind: str | None) -> InputRecord:
    """What is to be known of inputs of which only their shape is."""
    channels, height, width = shape
    if kind is None:
        kind = "series" if (height, width) == (1, 1) else "events" if channels == 2 else "image"
    rows = kind == "series"
    frames, resize = "rows" if rows else "constant", "bilinear" if kind == "image" else "none"
    return InputRecord((channels, height, width), (0.0,) * channels, (1.0,) * channels, kind, resize, frames=frames)


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Begins the errors about a file with its name."""
    try:
        yield
    except HdlifError as error:
        if str(error).startswith(str(path)) or isinstance(error, MissingExtraError):
            raise
        raise type(error)(f"{path}: {error}") from error
