"""Read NIR files and graphs as hdlif networks, as described in `docs/how_to/nir.md`."""

import json
from collections.abc import Mapping
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
"""Number of time steps for a graph that does not define it."""


@dataclass(frozen=True)
class Imported:
    """An imported network.

    `from_nir` has an example.

    Attributes:
        network: a network from [K, B, ...] to [K, B, outputs], in train mode; any learning rule can train it.
        structure: the argument of `hdlif.deploy.interop.structure.build`, without weights.
        input, labels, task, time_steps: arguments for `hdlif.deploy.export`. A graph written by `hdlif` contains them;
            otherwise they follow from the arguments of `read`, with numbered outputs.
    """

    network: OwnNetwork
    structure: Mapping[str, Any]
    input: InputRecord
    labels: tuple[str, ...]
    task: TaskRecord
    time_steps: int

    def graph(self) -> Graph:
        """Lower the network with its current weights to a deployed graph."""
        return lower(self.network.eval(), **self._record())

    def export(self, path: Path | str) -> Graph:
        """Write the network with its current weights as a model file."""
        return export(self.network.eval(), path, **self._record())

    def _record(self) -> dict[str, Any]:
        return {"input": self.input, "labels": self.labels, "time_steps": self.time_steps, "task": self.task}

    def structure_text(self) -> str:
        """Return the structure as JSON text for a recipe."""
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
    """Read a network from a NIR file, which may be untrusted.

    `from_nir` has an example.

    Args:
        dt: seconds per time step, unless the file defines it; default 1e-4, as in snnTorch and SpikingJelly.
        time_steps: T, unless the file defines it; default `TIME_STEPS`.
        kind: kind of input, as in `InputRecord`, unless the file defines it. Default: "events" for 2 channels, "image"
            for other maps, "series" for vectors.
        fires_at_threshold: whether neurons also fire at v = v_threshold, as in SpikingJelly but not in NIR.
        surrogate: surrogate gradient of the neurons, which NIR does not define; default: as in `UnitLIF`.
        path: path of the file.
    Raises:
        InputError: the file is not a NIR file.
        ConversionError: nodes have no counterpart or do not fit together, or `--extension` wrote the file, which then
            contains a model file (`read_artefact`).
        MissingExtraError: h5py is not installed.
    """
    path = Path(path)
    try:
        return _imported(read_tree(path), dt, time_steps, kind, fires_at_threshold, surrogate)
    except HdlifError as error:
        if str(error).startswith(str(path)) or isinstance(error, MissingExtraError):
            raise
        raise type(error)(f"{path}: {error}") from error


def from_nir(
    graph: Any,
    *,
    dt: float | None = None,
    time_steps: int | None = None,
    kind: str | None = None,
    fires_at_threshold: bool = False,
    surrogate: Surrogate | None = None,
) -> Imported:
    """Convert a `nir.NIRGraph` to a network, or raise the same errors as `read`.

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
    """Return the model file embedded in a NIR file from `hdlif export --to nir --extension`, or None for other NIR
    files.

    Args:
        path: path of the file.
    Raises:
        InputError: the file is not a NIR file.
        ArtefactError: the model file inside is damaged.
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
                raise ArtefactError(f"{path}: {role} of {metadata[NAME]!r} is not an array; export it again")
            tensors[f"{metadata[NAME]}.{role}"] = value
    content = joined(text, tensors, str(path))
    loads(content, str(path))
    return content


def _extension_of(tree: Mapping[str, Any]) -> str | None:
    """Return the metadata text of the model file in a NIR tree, or None if the tree contains no model file."""
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
            "contains, as metadata, a network that NIR cannot express; restore the original model file with "
            "hdlif.deploy.interop.nir_import.read_artefact or `hdlif import`"
        )
    graph = plain_graph(tree)
    said = text_of(graph.input.metadata, METADATA)
    record, labels, task, steps = (None, None, TaskRecord(), None) if said is None else read_statement(said)
    if dt is None:
        held = graph.input.metadata.get(STEP)
        dt = float(held) if isinstance(held, float) and held > 0 else DT
    if not dt > 0:
        raise ConversionError(f"dt = {dt}; it must be above 0 seconds")
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
    # Reject networks that could not be deployed.
    infer_values(found.graph())
    found.network.train()
    return found


def _record_of(shape: tuple[int, ...], kind: str | None) -> InputRecord:
    """Return the input record for an input shape."""
    channels, height, width = shape
    if kind is None:
        kind = "series" if (height, width) == (1, 1) else "events" if channels == 2 else "image"
    rows = kind == "series"
    frames, resize = "rows" if rows else "constant", "bilinear" if kind == "image" else "none"
    return InputRecord((channels, height, width), (0.0,) * channels, (1.0,) * channels, kind, resize, frames=frames)
