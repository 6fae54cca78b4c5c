"""Reading and writing of model files, which are safetensors files that contain a `Graph`.

Low-bit weights are packed (`packing`), and every other tensor is float32. The only metadata entry, "hdlif", contains
the graph and a digest of the entire file as canonical JSON. `docs/contributing/model_format.md` defines the format byte
by byte. Because files are untrusted, `loads` and `hdlif.runtime.Session` check every byte and field with the compiled
reader.
"""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from hdlif import _native
from hdlif.errors import AllocationError, ArtefactError, reason
from hdlif.graph.artefact.files import METADATA_KEY, metadata_text, read_content
from hdlif.graph.artefact.packing import WEIGHTS_PER_BYTE, pack, packed_bytes, unpack
from hdlif.graph.artefact.statements import fields_of, read_fields
from hdlif.graph.graph import Array, Graph, Learned, Node
from hdlif.graph.inference import infer_values
from hdlif.whole_files import whole_file

FORMAT_VERSION = 5
_DAMAGED = "the file is damaged, export it again"
_NO_DIGEST = "0" * 64
"""Placeholder for the digest while it is computed."""


def save(graph: Graph, path: str | Path) -> None:
    """Write `graph` to `path` atomically.

    A complete temporary file replaces `path`, so an existing file survives a failed write.

    Args:
        graph: checked before writing.
        path: by convention NAME.hdlif.safetensors.
    Raises:
        ArtefactError: the graph breaks the format.
        OSError: the file cannot be written.
    """
    with whole_file(Path(path)) as temporary:
        temporary.write_bytes(dumps(graph))


def load(path: str | Path) -> Graph:
    """Read and check the graph in a model file.

    Args:
        path: an untrusted file.
    Raises:
        ArtefactError: the file is missing or damaged, or is not a model file.
    """
    return loads(read_content(path), str(path))


def tensor_bytes(node: Node) -> int:
    """Return the size in bytes of a node's tensors in the model file.

    Args:
        node: a node of a graph.
    """
    return sum(_stored_bytes(node, role, tensor.shape) for role, tensor in node.tensors.items())


def dumps(graph: Graph) -> bytes:
    """Return the bytes of a graph's model file, which are identical for equal graphs.

    >>> import numpy as np
    >>> from hdlif.graph.artefact import Graph, InputRecord, Node, dumps, loads
    >>> weight = np.eye(2, dtype=np.float32)
    >>> layer = Node("linear", "logits", ("flat",), {"encoding": "float32", "role": "classifier"}, {"weight": weight})
    >>> record = InputRecord((2, 1, 1), (0.0, 0.0), (1.0, 1.0))
    >>> graph = Graph((Node("flatten", "flat", ("input",)), layer), "logits", 3, record, ("still", "moving"))
    >>> content = dumps(graph)
    >>> loads(content, "in memory").labels
    ('still', 'moving')

    Args:
        graph: checked before writing.
    Raises:
        ArtefactError: the graph breaks the format.
    """
    infer_values(graph)
    tensors = {f"{node.name}.{role}": stored(node, role) for node in graph.nodes for role in node.tensors}
    record = {
        "digest": _NO_DIGEST,
        "format": FORMAT_VERSION,
        "nodes": [
            {
                "attributes": dict(node.attributes),
                "inputs": list(node.inputs),
                "name": node.name,
                "op": node.op,
                "tensors": {
                    role: {"shape": list(tensor.shape), "tensor": f"{node.name}.{role}"}
                    for role, tensor in node.tensors.items()
                },
            }
            for node in graph.nodes
        ],
        "output": graph.output,
        **({} if graph.confidence is None else {"confidence": float(graph.confidence)}),
        **fields_of(graph),
    }
    if (learned := graph.learned) is not None:
        record["learned"] = {"from": learned.source, "level": learned.level, "updates": learned.updates}
    text = json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    content = safetensors.numpy.save(tensors, {METADATA_KEY: text})
    # The header begins with the metadata, and the metadata with "digest".
    position = content.index(_NO_DIGEST.encode())
    return content[:position] + _digest(content, position).encode() + content[position + len(_NO_DIGEST) :]


def loads(content: bytes, name: str) -> Graph:
    """Return the graph from the bytes of a model file (see `dumps` for an example).

    Args:
        content: the bytes of the file, untrusted.
        name: prefix of messages.
    Raises:
        ArtefactError: the bytes are damaged, or are not a model file.
    """
    try:
        _native.check_artefact(content)
        record = json.loads(metadata_of(content))
        stored = safetensors.numpy.load(content)
        input_record, labels, task, time_steps = read_fields(record)
        nodes = tuple(_node(entry, stored) for entry in record["nodes"])
        learned = record.get("learned")
        graph = Graph(
            nodes,
            record["output"],
            time_steps,
            input_record,
            labels,
            task,
            record.get("confidence"),
            None if learned is None else Learned(learned["from"], learned["level"], learned["updates"]),
        )
        infer_values(graph)
    except ArtefactError as error:
        raise ArtefactError(f"{name}: {error}") from error
    except MemoryError as error:
        raise AllocationError(f"{name}: the machine does not grant the memory to read it; free some") from error
    except safetensors.SafetensorError as error:
        raise ArtefactError(f"{name}: is not a safetensors file ({error}); {_DAMAGED}") from error
    return graph


def metadata_of(content: bytes) -> str:
    """Return the metadata text of a model file made by `dumps`.

    Args:
        content: the bytes of the file.
    """
    return metadata_text(content[8 : 8 + int.from_bytes(content[:8], "little")])


def digest_of(graph: Graph) -> str:
    """Return the digest of a graph's model file."""
    found: str = json.loads(metadata_of(dumps(graph)))["digest"]
    return found


def joined(metadata: str, tensors: Mapping[str, Array], name: str) -> bytes:
    """Return the bytes of a model file with the given metadata and tensors. If the metadata and tensors come from a
    model file, the result is identical to the file.

    Args:
        metadata: the metadata text.
        tensors: the tensors by their names in the file.
        name: prefix of messages.
    Raises:
        ArtefactError: the metadata or tensors are invalid in a file.
    """
    try:
        return safetensors.numpy.save(
            {key: np.ascontiguousarray(v) for key, v in tensors.items()}, {METADATA_KEY: metadata}
        )
    except (safetensors.SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ArtefactError(f"{name}: its tensors do not form a model file ({reason(error)}); {_DAMAGED}") from error


def stored(node: Node, role: str) -> Array:
    """Return a node's tensor as stored in a model file, with low-bit weights packed.

    Args:
        node: a node of a graph.
        role: the tensor's role, such as "weight".
    """
    if _encoding(node, role) in WEIGHTS_PER_BYTE:
        return pack(node.tensors[role], _encoding(node, role))
    return np.ascontiguousarray(node.tensors[role])


def _encoding(node: Node, role: str) -> str:
    return str(node.attributes.get("encoding")) if role == "weight" else "float32"


def _stored_bytes(node: Node, role: str, shape: Sequence[int]) -> int:
    count, encoding = math.prod(shape), _encoding(node, role)
    return packed_bytes(count, encoding) if encoding in WEIGHTS_PER_BYTE else 4 * count


def _node(entry: Mapping[str, Any], stored: Mapping[str, Array]) -> Node:
    """Return a node from the metadata and tensors of a checked file."""
    attributes = {key: tuple(value) if isinstance(value, list) else value for key, value in entry["attributes"].items()}
    node = Node(entry["op"], entry["name"], tuple(entry["inputs"]), attributes)
    tensors = {}
    for role, reference in entry["tensors"].items():
        key, shape = reference["tensor"], reference["shape"]
        encoding = _encoding(node, role)
        packed = encoding in WEIGHTS_PER_BYTE
        tensors[role] = unpack(stored[key], tuple(shape), encoding, name=key) if packed else stored[key].reshape(shape)
    return Node(node.op, node.name, node.inputs, attributes, tensors)


def _digest(content: bytes, position: int) -> str:
    """Return the hexadecimal SHA-256 of a file's bytes, computed with zeros instead of the digest at `position`."""
    found = hashlib.sha256(content[:position])
    found.update(_NO_DIGEST.encode())
    found.update(memoryview(content)[position + len(_NO_DIGEST) :])
    return found.hexdigest()
