"""Any bytes as an artefact: read, checked, planned and run under small limits, as the oracle runs it."""

import hashlib
import json
import random
import re
import struct
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import driver
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
from deployed_graphs import Builder, random_input, residual_network, tiny_network, two_streams
from hdlif.graph.artefact import INPUT, Graph, InputRecord, TaskRecord, dumps, is_artefact, load, loads
from hdlif.graph.equations import OPERATIONS
from hdlif.graph.ops.sound import SoundRecord
from hdlif.runtime import Session, reference

MAX_BYTES, MAX_OPERATIONS = 4_000_000, 3_000_000
"""Of a run, which then takes milliseconds."""
FEW_OPERATIONS = 100_000
"""Beyond these the oracle, in plain NumPy, would take too long."""
DIGEST = re.compile(rb'\\"digest\\": ?\\"([0-9a-f]{64})')
FOLDER = tempfile.TemporaryDirectory(prefix="fuzz_artefact_")
FILE = Path(FOLDER.name) / "file"


def target(data: bytes) -> None:
    # a right digest is rare among mutations, and hides nothing: what it guards is tried with and without
    for content in {data, signed(data)}:
        with driver.may_refuse():
            graph = loads(content, "fuzzed")
            assert dumps(loads(dumps(graph), "again")) == dumps(graph)
            run(graph)
    FILE.write_bytes(data)
    if not is_artefact(FILE):
        with driver.may_refuse():
            load(FILE)
            raise AssertionError("a file loads, but is not an artefact")


def run(graph: Graph) -> None:
    session = Session(graph, 2, max_bytes=MAX_BYTES, max_operations=MAX_OPERATIONS)
    x = random_input(graph, 2, 2)
    with np.errstate(all="ignore"):
        for frames, steps in ((x, None), (x[:1], 3)):
            with driver.may_refuse():
                logits = session.run(frames, steps)
                if session._cost(2, 3, False, False, True)[1] <= FEW_OPERATIONS:
                    expected = reference.run(graph, frames, steps)
                    # which NaN it is is no property of the arithmetic
                    np.testing.assert_array_equal(np.nan_to_num(logits), np.nan_to_num(expected))
        with driver.may_refuse():
            _, state = session.step(x[0])
            session.step(x[1], state, out=state)


def signed(content: bytes) -> bytes:
    """`content` with the digest of its bytes; as it is where it has no place for one."""
    found = DIGEST.search(content)
    if found is None:
        return content
    head, tail = content[: found.start(1)], content[found.end(1) :]
    return head + hashlib.sha256(head + b"0" * 64 + tail).hexdigest().encode() + tail


VALUES: tuple[Any, ...] = (
    *(0, 1, -1, 2, 3, 7, 15, 16, 255, 2**15, 2**30, 2**31, 2**62, 2**63, 10**30, 0.5, -0.0, 1e39, 1e-40),
    *(None, True, "", "input", "x" * 300, "a\nb", [], [1, 1], [2, 2], [2**62, 0], {}, [[[[1]]]]),
    *("conv2d", "linear", "affine", "hd_lif", "lif", "glif", "quantise", "seca", "add", "concat", "slice", "flatten"),
    *("max_pool", "sum_pool", "global_sum_pool", "graded_lif", "parallel", "program", "delay", "upsample"),
    *(*OPERATIONS, ["add", 0, 1], ["select", 0, 1, 2], ["floor", 3], ["constant", 1], ["constant", 1e39], ["s"]),
    *("ternary", "binary", "int2", "int4", "int8", "float32", "hard", "soft", "F32", "U8"),
    *("image", "events", "series", "table", "none", "pool", "bilinear", "crop", "by_time", "rows", "pixels", "windows"),
    *("classify", "sequence", "regress", "multilabel", "mean", "last", "each", [], [1], ["a", "b"], ["a", "a"], [8, 8]),
    *(1e-46, 1e-38, 3.4028235677973366e38, 3.40282357e38, 2**16, 2**16 + 1, 10**5, 10**5 + 1, 2**24, 2**24 + 1),
)


def mutate(data: bytes, draw: random.Random) -> bytes:
    """One entry of the header or the graph changed, or one of the tensors, and all lengths as they are to be."""
    try:
        length = int.from_bytes(data[:8], "little")
        header = json.loads(data[8 : 8 + length])
        graph = json.loads(header["__metadata__"]["hdlif"])
    except (ValueError, LookupError, TypeError, RecursionError):
        return data
    tensors = bytearray(data[8 + length :])
    kind = draw.randrange(5)
    if kind == 0 and tensors:
        at = 4 * draw.randrange((len(tensors) + 3) // 4)
        entry = struct.pack("<f", draw.choice((0.0, -0.0, 1.0, -1.0, 1e30, 1e-40, float("nan"), float("inf"))))
        tensors[at : at + 4] = entry[: len(tensors) - at]
    elif kind == 1 and isinstance(graph, dict) and isinstance(graph.get("nodes"), list) and graph["nodes"]:
        nodes = graph["nodes"]
        node = draw.choice(nodes)
        # a node more without tensors, or a node that reads another value
        if isinstance(node, dict) and draw.random() < 0.5:
            op = draw.choice(("flatten", "global_sum_pool", "add", "concat"))
            inputs = [
                other.get("name", INPUT)
                for other in draw.choices([*nodes, {}], k=1 + (op in ("add", "concat")))
                if isinstance(other, dict)
            ]
            name = f"more{len(nodes)}"
            nodes.append({"attributes": {}, "inputs": inputs, "name": name, "op": op, "tensors": {}})
            graph["output"] = name
        elif isinstance(node, dict) and isinstance(node.get("inputs"), list) and node["inputs"]:
            other = draw.choice(nodes)
            node["inputs"][0] = other.get("name") if isinstance(other, dict) else INPUT
    else:
        places = list(_places(header if kind == 2 else graph))
        if places:
            parent, key = draw.choice(places)
            parent[key] = draw.choice(VALUES)
    if isinstance(header, dict) and isinstance(header.get("__metadata__"), dict):
        header["__metadata__"]["hdlif"] = json.dumps(graph)
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + bytes(tensors)


def _places(tree: Any) -> Iterator[tuple[Any, Any]]:
    entries = list(tree.items()) if isinstance(tree, dict) else list(enumerate(tree)) if isinstance(tree, list) else []
    for key, value in entries:
        yield tree, key
        yield from _places(value)


def seeds() -> Iterator[bytes]:
    yield dumps(tiny_network())
    yield dumps(residual_network(time_steps=2, width=3))
    yield dumps(two_streams(time_steps=2, encoding="int4", width=4))
    for encoding in ("float32", "ternary", "binary", "int2", "int8"):
        b = Builder((2, 4, 3), 2, 0)
        x = b.quantise(b.affine(b.conv(INPUT, 4, encoding="float32"), per_step=True))
        x = b.conv(b.add("max_pool", x, kernel=(2, 2), stride=(1, 1), padding=(1, 1)), 3, encoding=encoding)
        x = b.lif(b.glif(b.graded_lif(b.parallel(b.hd_lif(x, per_channel=True)))))
        x = b.seca(b.add("sum_pool", b.concat(b.slice(x, 1, 3), x), kernel=(2, 2), stride=(2, 2)), kernel=3)
        yield dumps(b.graph(b.linear(b.add("global_sum_pool", b.add("add", x, x)), 4, encoding=encoding)))
    for neuron in ("quantised", "lif", "hd_lif"):
        b = Builder((2, 4, 3), 2, 0)
        yield dumps(b.graph(b.recurrent(b.conv(INPUT, 3, encoding="float32"), neuron)))
    for record, task, time_steps in STATED:
        b = Builder(record.shape, time_steps, 0)
        graph = b.graph(b.linear(b.hd_lif(b.linear(b.add("flatten", INPUT), 3)), 3))
        yield dumps(replace(graph, input=record, task=task))


def _stated(shape: tuple[int, int, int], kind: str, resize: str = "none", **others: Any) -> InputRecord:
    return InputRecord(shape, (0.5,) * shape[0], (0.25,) * shape[0], kind, resize, **others)


_SCALED = {"mean": (1.0, 2.0, 3.0), "std": (0.5, 1.0, 2.0)}
STATED = (
    (_stated((1, 1, 1), "image", "nearest", frames="pixels", fit="crop"), TaskRecord(), 16),
    (_stated((1, 1, 4), "image", frames="rows"), TaskRecord(combine="last"), 4),
    (_stated((2, 4, 4), "events", "pool", sensor=(8, 8), binning="by_time"), TaskRecord(), 4),
    (
        _stated((2, 1, 1), "series", frames="rows", columns=("x", "y"), rates=(50, 25), windows=(12, 6)),
        TaskRecord("sequence", "each", 2),
        6,
    ),
    (_stated((2, 1, 1), "series", frames="rows", columns=("x", "y"), shortest=3), TaskRecord(), 6),
    (
        _stated(
            (4, 1, 1), "series", frames="rows", sound=SoundRecord(8000, 800, "first", 800, 4, 64, 80, 20.0, 4000.0)
        ),
        TaskRecord("multilabel", threshold=0.3),
        10,
    ),
    (_stated((3, 1, 1), "table", columns=("p", "q", "r")), TaskRecord("regress", **_SCALED), 2),
    (_stated((2, 1, 1), "series", frames="rows"), TaskRecord("regress", "each", 2, ahead=3, **_SCALED), 6),
)
"""Inputs and tasks of every kind, and the time steps of their networks."""


if __name__ == "__main__":
    driver.main(target, "artefact", seeds=seeds(), mutate=mutate)
