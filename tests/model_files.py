"""Model files that are not what they claim to be, with a digest to fit."""

import hashlib
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

GOLDEN = Path(__file__).parent / "graph/artefact" / "tiny.hdlif.safetensors"
Change = Callable[[dict[str, Any], dict[str, Any]], object]
"""Of the header and the graph of a file."""


def signed(content: bytes) -> bytes:
    """`content` with the digest of its bytes; as it is where it has no place for one."""
    found = re.search(rb'\\"digest\\": ?\\"([0-9a-f]{64})', content)
    if found is None:
        return content
    head, tail = content[: found.start(1)], content[found.end(1) :]
    return head + hashlib.sha256(head + b"0" * 64 + tail).hexdigest().encode() + tail


def parts(content: bytes) -> tuple[dict[str, Any], dict[str, Any], bytes]:
    """The header of a file, its graph, and the bytes of its tensors."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    return header, json.loads(header["__metadata__"]["hdlif"]), content[8 + length :]


def joined(header: Any, graph: Any, tensors: bytes) -> bytes:
    """A file of these parts, of which the header may have no place for the graph."""
    if isinstance(header, dict) and isinstance(header.get("__metadata__"), dict):
        header["__metadata__"]["hdlif"] = json.dumps(graph)
    text = json.dumps(header).encode()
    return signed(len(text).to_bytes(8, "little") + text + tensors)


def rewritten(change: Change, content: bytes | None = None) -> bytes:
    """A file, by default the golden one, after `change(header, graph)`."""
    header, graph, tensors = parts(GOLDEN.read_bytes() if content is None else content)
    change(header, graph)
    return joined(header, graph, tensors)


def put(path: str, value: Any) -> Change:
    """A change that sets `path`, parted by slashes, in the header (first word "header") or in the graph."""

    def change(header: dict[str, Any], graph: dict[str, Any]) -> None:
        first, *keys, last = path.split("/")
        target: Any = header if first == "header" else graph
        for key in keys:
            target = target[int(key)] if isinstance(target, list) else target[key]
        target[int(last) if isinstance(target, list) else last] = value

    return change


def places(tree: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of all entries of a JSON tree."""
    entries = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in entries:
        yield (*path, key)
        yield from places(value, (*path, key))


def at(tree: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        tree = tree[key]
    return tree
