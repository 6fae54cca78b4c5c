"""Changes of the JSON in a safetensors file, whose lengths stay as they are to be."""

import json
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

Edit = Callable[[dict[str, Any], Any, bytearray], None]


def edited(data: bytes, edit: Edit) -> bytes:
    """Return `data` after a change of its header, its record and its tensors; other files stay as they are."""
    try:
        length = int.from_bytes(data[:8], "little")
        header, tensors = json.loads(data[8 : 8 + length]), bytearray(data[8 + length :])
        record = json.loads(header["__metadata__"]["hdlif"])
        edit(header, record, tensors)
        if isinstance(header.get("__metadata__"), dict):
            header["__metadata__"]["hdlif"] = json.dumps(record)
        text = json.dumps(header).encode()
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return data
    return len(text).to_bytes(8, "little") + text + bytes(tensors)


def change(tree: Any, draw: random.Random, values: Sequence[Any]) -> None:
    """Change one entry of a tree: drop it, rename it, or put one of `values` in its place."""
    found = list(_places(tree))
    if not found:
        return
    parent, key = draw.choice(found)
    if isinstance(parent, dict) and draw.random() < 0.1:
        del parent[key]
    elif isinstance(parent, dict) and draw.random() < 0.1:
        parent[f"{key}_"] = parent.pop(key)
    else:
        parent[key] = draw.choice(values)


def _places(tree: Any) -> Iterator[tuple[Any, Any]]:
    entries = list(tree.items()) if isinstance(tree, dict) else list(enumerate(tree)) if isinstance(tree, list) else []
    for key, value in entries:
        yield tree, key
        yield from _places(value)
