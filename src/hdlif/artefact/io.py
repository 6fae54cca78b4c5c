"""Reading and writing an artefact: one safetensors file that holds a `Graph`.

Weights of low bit width are packed (`packing`); every other tensor is float32. The graph itself is
canonical JSON under the one metadata key "hdlif", with a digest of the whole file.
`docs/reference/artefact_format.md` gives it byte by byte.
Files are not trusted: whatever the bytes are, `loads` returns a checked graph or raises `ArtefactError`.
"""

import hashlib
import json
import math
import os
import stat
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import safetensors
import safetensors.numpy

from hdlif.artefact.packing import WEIGHTS_PER_BYTE, pack, packed_bytes, unpack
from hdlif.errors import AllocationError, ArtefactError, brief, reason
from hdlif.ops import infer_values
from hdlif.ops.graph import MAX_ELEMENTS, Array, Graph, InputRecord, Node, TaskRecord
from hdlif.ops.inference import check_node_count
from hdlif.ops.sound import SoundRecord
from hdlif.whole_files import whole_file

FORMAT_VERSION = 5
METADATA_KEY = "hdlif"
MAX_FILE_BYTES = 2**31
MAX_HEADER_BYTES = 100_000_000
"""The library's own limit for a header."""
MAX_DIGITS = 1000
"""Of an integer in JSON: reading takes the square of their number."""
LONGEST_MESSAGE = 1000
_ITEM_BYTES = {"F32": 4, "U8": 1}
_DAMAGED = "the file is damaged, export it again"
_MEND = "give a file made by `hdlif export --to artefact`"
_OPTIONAL_INPUT = ("binning", "columns", "fit", "frames", "rates", "sensor", "shortest", "sound", "windows")
"""Fields of the input that are left out where they have their defaults."""
_HERTZ = ("lowest_hz", "highest_hz")
"""Numbers of a sound that may have fractions."""
_NO_DIGEST = "0" * 64
"""What stands in the place of the digest where it is computed."""


def save(graph: Graph, path: str | Path) -> None:
    """Write `graph` to `path`, all of it or nothing.

    The file is complete before it takes its name: what was there stays where writing fails.

    Args:
        graph: it is checked.
        path: by custom NAME.hdlif.safetensors.
    Raises:
        ArtefactError: the graph breaks the format.
        OSError: the file cannot be written.
    """
    with whole_file(Path(path)) as temporary:
        temporary.write_bytes(dumps(graph))


def load(path: str | Path) -> Graph:
    """Read a graph from a file, and check it.

    Args:
        path: of the file; it is not trusted.
    Raises:
        ArtefactError: there is no such file, it is no artefact, or a damaged one.
    """
    try:
        with _open_regular(path) as file:
            content = file.read(os.fstat(file.fileno()).st_size + 1)
    except (OSError, ValueError) as error:
        raise ArtefactError(
            f"{path}: cannot be read ({reason(error)}); give the path of an exported artefact"
        ) from error
    except MemoryError as error:
        raise AllocationError(f"{path}: the machine does not grant the memory to read it; free some") from error
    return loads(content, str(path))


def is_artefact(path: Path) -> bool:
    """Whether the header of a file states that it holds a graph; whether the rest is whole, `load` finds out.

    Args:
        path: of any file.
    """
    try:
        with _open_regular(path) as file:
            start = file.read(8)
            size = os.fstat(file.fileno()).st_size
            header, _ = _read_header(
                start + file.read(min(int.from_bytes(start, "little"), size, MAX_HEADER_BYTES + 1))
            )
        return "nodes" in _parse(METADATA_KEY, header["__metadata__"][METADATA_KEY].encode())
    except (OSError, ValueError, ArtefactError, LookupError, TypeError, AttributeError):
        return False


def _open_regular(path: str | Path) -> BinaryIO:
    """A file that ends, and is not too long; opening another kind could wait for ever, or change a device.

    Raises:
        OSError, ValueError: there is no such file, or the path is none.
        ArtefactError: it is of another kind or too long.
    """
    _check_kind(path, Path(path).stat())
    # the path may be another's by now
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    file = os.fdopen(descriptor, "rb")
    try:
        _check_kind(path, os.fstat(descriptor))
    except ArtefactError:
        file.close()
        raise
    return file


def _check_kind(path: str | Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        kind = "a folder" if stat.S_ISDIR(status.st_mode) else "a device, a pipe or a socket"
        mend = "give the path of an exported artefact"
        if stat.S_ISDIR(status.st_mode):
            mend += f"; of a run folder, `hdlif export {path} --out NAME.hdlif.safetensors` writes one"
        raise ArtefactError(f"{path}: is {kind}; {mend}")
    if status.st_size > MAX_FILE_BYTES:
        raise ArtefactError(f"{path}: has {status.st_size} bytes; an artefact has at most {MAX_FILE_BYTES}")


def tensor_bytes(node: Node) -> int:
    """The bytes that the node's tensors take in the file.

    Args:
        node: of a graph.
    """
    return sum(_stored_bytes(node, role, tensor.shape) for role, tensor in node.tensors.items())


def dumps(graph: Graph) -> bytes:
    """The bytes of a file that holds `graph`; the same graph always gives the same bytes.

    >>> import numpy as np
    >>> from hdlif.artefact import Graph, InputRecord, Node, dumps, loads
    >>> weight = np.eye(2, dtype=np.float32)
    >>> layer = Node("linear", "logits", ("flat",), {"encoding": "float32", "role": "classifier"}, {"weight": weight})
    >>> record = InputRecord((2, 1, 1), (0.0, 0.0), (1.0, 1.0))
    >>> graph = Graph((Node("flatten", "flat", ("input",)), layer), "logits", 3, record, ("still", "moving"))
    >>> content = dumps(graph)
    >>> loads(content, "in memory").labels
    ('still', 'moving')

    Args:
        graph: it is checked.
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
        **_said(graph),
    }
    text = json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    content = safetensors.numpy.save(tensors, {METADATA_KEY: text})
    # The metadata stand first in the header, and "digest" first in them.
    position = content.index(_NO_DIGEST.encode())
    return content[:position] + _digest(content, position).encode() + content[position + len(_NO_DIGEST) :]


def loads(content: bytes, name: str) -> Graph:
    """The graph that the bytes of a file hold; see `dumps` for an example.

    Args:
        content: of the file; it is not trusted.
        name: begins every message.
    Raises:
        ArtefactError: they are no artefact, or a damaged one.
    """
    try:
        header, length = _read_header(content)
        record = _read_record(header.pop("__metadata__", {}))
        _check_digest(content, length, record)
        _check_table(header, len(content) - 8 - length)
        graph, stored_as = _read_graph(record, header)
        tensors = safetensors.numpy.load(content)
        nodes = tuple(_with_tensors(node, stored_as[node.name], tensors) for node in graph.nodes)
        graph = replace(graph, nodes=nodes)
        infer_values(graph)
    except ArtefactError as error:
        raise ArtefactError(f"{name}: {_bounded(str(error))}") from error
    except RecursionError as error:
        raise ArtefactError(f"{name}: its metadata nest too deep; {_DAMAGED}") from error
    except MemoryError as error:
        raise AllocationError(f"{name}: the machine does not grant the memory to read it; free some") from error
    except safetensors.SafetensorError as error:
        raise ArtefactError(f"{name}: is not a safetensors file ({error}); {_DAMAGED}") from error
    return graph


def metadata_of(content: bytes) -> str:
    """The one metadata text of a file that `dumps` has made.

    Args:
        content: of the file.
    """
    return str(_read_header(content)[0]["__metadata__"][METADATA_KEY])


def joined(metadata: str, tensors: Mapping[str, Array], name: str) -> bytes:
    """The file of these metadata and tensors, each as `stored`: what `dumps` made, where none of it has changed.

    Args:
        metadata: the one metadata text.
        tensors: by the names that they have in the file.
        name: begins every message.
    Raises:
        ArtefactError: no file can have them.
    """
    try:
        return safetensors.numpy.save(
            {key: np.ascontiguousarray(v) for key, v in tensors.items()}, {METADATA_KEY: metadata}
        )
    except (safetensors.SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ArtefactError(f"{name}: its tensors are no artefact's ({reason(error)}); {_DAMAGED}") from error


def statement(graph: Graph) -> str:
    """What a graph states beside its nodes, as JSON: input, labels, task and time steps.

    Args:
        graph: as of `dumps`.
    """
    said = _said(graph)
    return json.dumps(said, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def read_statement(text: str) -> tuple[InputRecord, tuple[str, ...], TaskRecord, int]:
    """Input, labels, task and time steps from what `statement` wrote. Raises `ArtefactError`; `infer_values` checks.

    Args:
        text: as `statement` wrote it.
    """
    record = _object("statement", _parse("statement", text.encode(errors="replace")))
    _keys("statement", record, tuple(sorted({"input", "labels", "time_steps"} | record.keys() & {"task"})))
    return (
        _read_input(record["input"]),
        tuple(_string("labels", label) for label in _list("labels", record["labels"])),
        _read_task(record["task"]) if "task" in record else TaskRecord(),
        _integer("time_steps", record["time_steps"]),
    )


def _said(graph: Graph) -> dict[str, Any]:
    return {
        "input": {
            "kind": graph.input.kind,
            "mean": [float(v) for v in graph.input.mean],
            "resize": graph.input.resize,
            "shape": list(graph.input.shape),
            "std": [float(v) for v in graph.input.std],
            **{key: _plain(getattr(graph.input, key)) for key in _OPTIONAL_INPUT if _differs(graph.input, key)},
        },
        "labels": list(graph.labels),
        **({} if graph.task == TaskRecord() else {"task": _task(graph.task)}),
        "time_steps": graph.time_steps,
    }


def stored(node: Node, role: str) -> Array:
    """A tensor of a node as a file holds it: weights of low bit width packed.

    Args:
        node: of a graph.
        role: of the tensor, such as "weight".
    """
    if _encoding(node, role) in WEIGHTS_PER_BYTE:
        return pack(node.tensors[role], _encoding(node, role))
    return np.ascontiguousarray(node.tensors[role])


def _encoding(node: Node, role: str) -> str:
    return str(node.attributes.get("encoding")) if role == "weight" else "float32"


def _stored_bytes(node: Node, role: str, shape: Sequence[int]) -> int:
    count, encoding = math.prod(shape), _encoding(node, role)
    return packed_bytes(count, encoding) if encoding in WEIGHTS_PER_BYTE else 4 * count


def _with_tensors(
    node: Node, stored_as: Mapping[str, tuple[str, tuple[int, ...]]], stored: Mapping[str, Array]
) -> Node:
    tensors = {}
    for role, (key, shape) in stored_as.items():
        if (encoding := _encoding(node, role)) in WEIGHTS_PER_BYTE:
            tensors[role] = unpack(stored[key], shape, encoding, name=key)
        else:
            tensors[role] = stored[key].reshape(shape)
    return Node(node.op, node.name, node.inputs, node.attributes, tensors)


def _read_header(content: bytes) -> tuple[dict[str, Any], int]:
    """The safetensors header, and its length in bytes."""
    # JSON would take leading spaces; safetensors does not
    if content[8:9] != b"{":
        raise ArtefactError(f"is not an artefact (no safetensors header); {_MEND}")
    length = int.from_bytes(content[:8], "little")
    if length > MAX_HEADER_BYTES:
        raise ArtefactError(f"header length = {length}; it is at most {MAX_HEADER_BYTES}; {_DAMAGED}")
    if length > len(content) - 8:
        raise ArtefactError(f"header length = {length} in a file of {len(content)} bytes; {_DAMAGED}")
    return _object("header", _parse("header", content[8 : 8 + length])), length


def _read_record(value: object) -> dict[str, Any]:
    """The JSON object that the metadata hold, of this version of the format."""
    metadata = _object("header.__metadata__", value)
    if list(metadata) != [METADATA_KEY]:
        raise ArtefactError(
            f"metadata keys are {sorted(metadata)}; an artefact has exactly one, {METADATA_KEY!r}; {_MEND}"
        )
    record = _object("hdlif", _parse("hdlif", _string("hdlif", metadata[METADATA_KEY]).encode()))
    # checkpoints have the same key
    if "format" not in record and "nodes" not in record:
        raise ArtefactError(f"is not an artefact (its metadata hold no graph); {_MEND}")
    # the version comes first: another version may have other keys
    version = record.get("format")
    if type(version) is not int or version != FORMAT_VERSION:
        raise ArtefactError(
            f"format = {_short(version)}; this version of hdlif reads format {FORMAT_VERSION}; export it again"
        )
    return record


def _check_digest(content: bytes, length: int, record: Mapping[str, Any]) -> None:
    digest = _string("digest", record.get("digest"))
    position = content.find(digest.encode(), 8, 8 + length)
    if len(digest) != len(_NO_DIGEST) or position < 0 or digest != _digest(content, position):
        raise ArtefactError(f"digest = {_short(digest)} is not that of its bytes; {_DAMAGED}")


def _digest(content: bytes, position: int) -> str:
    """SHA-256, in hexadecimal, of a file whose digest stands at `position`."""
    found = hashlib.sha256(content[:position])
    found.update(_NO_DIGEST.encode())
    found.update(memoryview(content)[position + len(_NO_DIGEST) :])
    return found.hexdigest()


def _check_table(header: Mapping[str, Any], room: int) -> None:
    """Every offset, dtype and shape fits the others and the `room` bytes behind the header."""
    extents = []
    for key, entry in header.items():
        where = f"header.{key}"
        _keys(where, _object(where, entry), ("data_offsets", "dtype", "shape"))
        shape, offsets = (
            _integers(f"{where}.shape", entry["shape"]),
            _integers(f"{where}.data_offsets", entry["data_offsets"]),
        )
        if not isinstance(entry["dtype"], str) or entry["dtype"] not in _ITEM_BYTES:
            raise ArtefactError(
                f"{where}.dtype = {brief(entry['dtype'])}; an artefact's tensors are F32 or U8; {_DAMAGED}"
            )
        _check_shape(f"{where}.shape", shape)
        size = math.prod(shape) * _ITEM_BYTES[entry["dtype"]]
        if len(offsets) != 2 or offsets[1] - offsets[0] != size:
            raise ArtefactError(
                f"{where}.data_offsets = {list(offsets)} do not span the shape's {size} bytes; {_DAMAGED}"
            )
        extents.append((*offsets, key))
    position = 0
    for begin, end, key in sorted(extents):
        if begin != position:
            raise ArtefactError(f"header.{key}.data_offsets begin at {begin}; {position} is next; {_DAMAGED}")
        position = end
    if position != room:
        raise ArtefactError(f"the tensors take {position} of {room} bytes behind the header; {_DAMAGED}")


def _read_graph(
    record: Mapping[str, Any], header: Mapping[str, Any]
) -> tuple[Graph, dict[str, dict[str, tuple[str, tuple[int, ...]]]]]:
    """The graph without tensors, and for each node: role -> (name in the file, shape)."""
    keys = {"digest", "format", "input", "labels", "nodes", "output", "time_steps"}
    _keys("hdlif", record, tuple(sorted(keys | ({"task"} & record.keys()))))
    nodes = []
    stored_as: dict[str, dict[str, tuple[str, tuple[int, ...]]]] = {}
    used: set[str] = set()
    check_node_count(len(_list("nodes", record["nodes"])))
    for index, entry in enumerate(record["nodes"]):
        where = f"nodes[{index}]"
        _keys(where, _object(where, entry), ("attributes", "inputs", "name", "op", "tensors"))
        attributes = {
            key: tuple(value) if isinstance(value, list) else value
            for key, value in _object(f"{where}.attributes", entry["attributes"]).items()
        }
        node = Node(
            _string(f"{where}.op", entry["op"]),
            _string(f"{where}.name", entry["name"]),
            tuple(_string(f"{where}.inputs", name) for name in _list(f"{where}.inputs", entry["inputs"])),
            attributes,
        )
        if node.name in stored_as:
            raise ArtefactError(f"{where}.name = {brief(node.name)}: two values have this name; {_DAMAGED}")
        nodes.append(node)
        stored_as[node.name] = {
            role: _read_reference(f"{where}.tensors.{role}", node, role, reference, header, used)
            for role, reference in _object(f"{where}.tensors", entry["tensors"]).items()
        }
    if unused := header.keys() - used:
        raise ArtefactError(f"tensors {sorted(unused)} belong to no node; {_DAMAGED}")
    graph = Graph(
        tuple(nodes),
        _string("output", record["output"]),
        _integer("time_steps", record["time_steps"]),
        _read_input(record["input"]),
        tuple(_string("labels", label) for label in _list("labels", record["labels"])),
        _read_task(record["task"]) if "task" in record else TaskRecord(),
    )
    return graph, stored_as


def _read_reference(
    where: str, node: Node, role: str, reference: object, header: Mapping[str, Any], used: set[str]
) -> tuple[str, tuple[int, ...]]:
    entry = _object(where, reference)
    _keys(where, entry, ("shape", "tensor"))
    key, shape = _string(f"{where}.tensor", entry["tensor"]), _integers(f"{where}.shape", entry["shape"])
    if key not in header:
        raise ArtefactError(f"{where}.tensor = {brief(key)} is not in the file; {_DAMAGED}")
    if key in used:
        raise ArtefactError(f"{where}.tensor = {brief(key)} is used twice; {_DAMAGED}")
    used.add(key)
    _check_shape(f"{where}.shape", shape)
    packed = _encoding(node, role) in WEIGHTS_PER_BYTE
    stored_shape = [_stored_bytes(node, role, shape)] if packed else list(shape)
    dtype = "U8" if packed else "F32"
    if header[key]["dtype"] != dtype or header[key]["shape"] != stored_shape:
        raise ArtefactError(
            f"{key}: stored as {header[key]['dtype']} {header[key]['shape']}; "
            f"a {role} of shape {list(shape)} is stored as {dtype} {stored_shape}; {_DAMAGED}"
        )
    return key, shape


def _differs(record: InputRecord, key: str) -> bool:
    return bool(getattr(record, key) != getattr(InputRecord, key))


def _plain(value: object) -> object:
    """A field of the input as JSON has it."""
    if isinstance(value, SoundRecord):
        return {key: float(number) if key in _HERTZ else number for key, number in asdict(value).items()}
    return list(value) if isinstance(value, tuple) else value


def _read_input(value: object) -> InputRecord:
    record = _object("input", value)
    optional = {key: record[key] for key in _OPTIONAL_INPUT if key in record}
    _keys("input", record, tuple(sorted({"kind", "mean", "resize", "shape", "std", *optional})))
    shape = _integers("input.shape", record["shape"])
    mean, std = (
        tuple(_number(f"input.{key}", v) for v in _list(f"input.{key}", record[key])) for key in ("mean", "std")
    )
    if len(shape) != 3:
        raise ArtefactError(f"input.shape = {list(shape)}; it must be [C, H, W]; {_DAMAGED}")
    kind, resize = _string("input.kind", record["kind"]), _string("input.resize", record["resize"])
    said = {key: _READERS[key](f"input.{key}", value) for key, value in optional.items()}
    return InputRecord((shape[0], shape[1], shape[2]), mean, std, kind, resize, **said)


def _task(record: TaskRecord) -> dict[str, Any]:
    numbers = {key: [float(v) for v in getattr(record, key)] for key in ("mean", "std")}
    threshold = float(record.threshold)
    counts = {"ahead": record.ahead, "delay": record.delay}
    return {**counts, "combine": record.combine, "kind": record.kind, "threshold": threshold, **numbers}


def _read_task(value: object) -> TaskRecord:
    record = _object("task", value)
    _keys("task", record, tuple(sorted(field.name for field in fields(TaskRecord))))
    mean, std = (tuple(_number(f"task.{key}", v) for v in _list(f"task.{key}", record[key])) for key in ("mean", "std"))
    kind, combine = (_string(f"task.{key}", record[key]) for key in ("kind", "combine"))
    ahead, delay = (_integer(f"task.{key}", record[key]) for key in ("ahead", "delay"))
    threshold = _number("task.threshold", record["threshold"])
    return TaskRecord(kind, combine, delay, mean, std, ahead, threshold)


def _read_names(where: str, value: object) -> tuple[str, ...]:
    return tuple(_string(where, name) for name in _list(where, value))


def _read_sound(where: str, value: object) -> SoundRecord:
    record = _object(where, value)
    _keys(where, record, tuple(sorted(field.name for field in fields(SoundRecord))))
    read: dict[str, Any] = {
        key: (_string if key == "clips" else _number if key in _HERTZ else _integer)(f"{where}.{key}", entry)
        for key, entry in record.items()
    }
    return SoundRecord(**read)


def _read_sensor(where: str, value: object) -> tuple[int, ...]:
    sides = _integers(where, value)
    if len(sides) != 2:
        raise ArtefactError(f"{where} = {list(sides)}; it must be [H, W]; {_DAMAGED}")
    return sides


_READERS: Mapping[str, Callable[[str, object], Any]] = {
    "binning": lambda where, value: _string(where, value),
    "columns": _read_names,
    "fit": lambda where, value: _string(where, value),
    "frames": lambda where, value: _string(where, value),
    "rates": lambda where, value: _integers(where, value),
    "sensor": _read_sensor,
    "shortest": lambda where, value: _integer(where, value),
    "sound": _read_sound,
    "windows": lambda where, value: _integers(where, value),
}
"""For each of `_OPTIONAL_INPUT`."""


def _parse(where: str, text: bytes) -> Any:
    def refuse_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({key for key, _ in pairs}) != len(pairs):
            raise ArtefactError(f"{where}: a key stands twice; {_DAMAGED}")
        return dict(pairs)

    def refuse_constant(constant: str) -> float:
        raise ArtefactError(f"{where}: {constant} is not a JSON number; {_DAMAGED}")

    def read_integer(digits: str) -> int:
        if len(digits) > MAX_DIGITS:
            raise ArtefactError(f"{where}: an integer has {len(digits)} digits, more than {MAX_DIGITS}; {_DAMAGED}")
        return int(digits)

    try:
        return json.loads(
            text.decode(),
            object_pairs_hook=refuse_duplicates,
            parse_constant=refuse_constant,
            parse_int=read_integer,
        )
    except (ValueError, RecursionError) as error:
        raise ArtefactError(f"{where} is not JSON ({error}); {_DAMAGED}") from error


def _keys(where: str, record: Mapping[str, Any], accepted: tuple[str, ...]) -> None:
    if sorted(record) != list(accepted):
        raise ArtefactError(f"{where} has the keys {sorted(record)}; they must be {list(accepted)}; {_DAMAGED}")


def _object(where: str, value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ArtefactError(f"{where} = {_short(value)}; it must be an object; {_DAMAGED}")
    return value


def _list(where: str, value: object) -> list[Any]:
    if not isinstance(value, list):
        raise ArtefactError(f"{where} = {_short(value)}; it must be a list; {_DAMAGED}")
    return value


def _string(where: str, value: object) -> str:
    # a lone surrogate is no text: it could be neither printed nor written again
    if not isinstance(value, str) or value != value.encode(errors="ignore").decode():
        raise ArtefactError(f"{where} = {_short(value)}; it must be a string; {_DAMAGED}")
    return value


def _check_shape(where: str, shape: tuple[int, ...]) -> None:
    """A dimension of 0 excuses no other: the array library multiplies them one after the other."""
    if math.prod(max(size, 1) for size in shape) > MAX_ELEMENTS:
        raise ArtefactError(f"{where} = {brief(list(shape))}; a tensor has at most {MAX_ELEMENTS} entries; {_DAMAGED}")


def _integer(where: str, value: object) -> int:
    if type(value) is not int or not 0 <= value < 2**63:
        raise ArtefactError(f"{where} = {_short(value)}; it must be an integer of at least 0; {_DAMAGED}")
    return value


def _integers(where: str, value: object) -> tuple[int, ...]:
    entries = _list(where, value)
    if len(entries) > 4:
        raise ArtefactError(f"{where} has {len(entries)} entries; no tensor has more than 4; {_DAMAGED}")
    return tuple(_integer(where, entry) for entry in entries)


def _number(where: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ArtefactError(f"{where} = {_short(value)}; it must be a number; {_DAMAGED}")
    return value


def _bounded(message: str) -> str:
    """A message may name what the file holds: of a long one, the beginning and the end, which says the mend."""
    half = LONGEST_MESSAGE // 2
    return message if len(message) <= LONGEST_MESSAGE else f"{message[:half]} ... {message[-half:]}"


def _short(value: object) -> str:
    return ascii(value) if len(ascii(value)) < 80 else f"{ascii(value)[:76]}..."
