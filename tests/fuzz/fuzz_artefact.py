"""Any bytes as an artefact: read, checked, planned and run under small limits, as the oracle runs it."""

import json
import random
import struct
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import driver
import numpy as np
from json_trees import change, edited

from deployed_graphs import Builder, random_input, residual_network, tiny_network, two_streams, u_net
from hdlif.graph.artefact import INPUT, Graph, InputRecord, TaskRecord, dumps, is_artefact, load, loads
from hdlif.graph.equations import OPERATIONS
from hdlif.graph.graph import SoundRecord
from hdlif.graph.ops import OPS
from hdlif.runtime import Session, reference
from model_files import signed
from one_op import of_one_op

MAX_BYTES, MAX_OPERATIONS = 4_000_000, 3_000_000
"""Of a run, which then takes milliseconds."""
FEW_OPERATIONS = 100_000
"""Beyond these the oracle, in plain NumPy, would take too long."""
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


VALUES: tuple[Any, ...] = (
    *(0, 1, -1, 2, 3, 7, 15, 16, 255, 2**15, 2**30, 2**31, 2**62, 2**63, 10**30, 0.5, -0.0, 1e39, 1e-40),
    *(None, True, "", "input", "x" * 300, "a\nb", [], [1, 1], [2, 2], [2**62, 0], {}, [[[[1]]]]),
    *OPS,
    *(*OPERATIONS, ["add", 0, 1], ["select", 0, 1, 2], ["floor", 3], ["constant", 1], ["constant", 1e39], ["s"]),
    *("ternary", "binary", "int2", "int4", "int8", "float32", "hard", "soft", "F32", "U8"),
    *("image", "events", "series", "table", "none", "pool", "bilinear", "crop", "by_time", "rows", "pixels", "windows"),
    *("classify", "sequence", "regress", "multilabel", "mean", "last", "each", [], [1], ["a", "b"], ["a", "a"], [8, 8]),
    *(1e-46, 1e-38, 3.4028235677973366e38, 3.40282357e38, 2**16, 2**16 + 1, 10**5, 10**5 + 1, 2**24, 2**24 + 1),
)


def mutate(data: bytes, draw: random.Random) -> bytes:
    """Change one entry of the header, of the graph or of a tensor, or add a node."""

    def edit(header: dict[str, Any], graph: dict[str, Any], tensors: bytearray) -> None:
        match draw.randrange(6):
            case 0 if tensors and draw.random() < 0.5:
                tensors[draw.randrange(len(tensors))] = draw.randrange(256)
            case 0 if tensors:
                at = 4 * draw.randrange((len(tensors) + 3) // 4)
                entry = struct.pack("<f", draw.choice((0.0, -0.0, 1.0, -1.0, 1e30, 1e-40, float("nan"), float("inf"))))
                tensors[at : at + 4] = entry[: len(tensors) - at]
            case 1 if draw.random() < 0.5:
                add_node(graph["nodes"], graph, draw)
            case 1:
                names = [INPUT, *(node["name"] for node in graph["nodes"])]
                draw.choice(graph["nodes"])["inputs"][0] = draw.choice(names)
            case 2:
                change(header, draw, VALUES)
            case 3:
                repeat(header, graph, tensors, draw)
            case _:
                change(graph, draw, VALUES)

    return edited(data, edit)


def add_node(nodes: list[Any], graph: dict[str, Any], draw: random.Random) -> None:
    """Add a node without tensors, which is then the output."""
    op = draw.choice(("flatten", "global_sum_pool", "add", "concat"))
    count = 1 + (op in ("add", "concat"))
    inputs = draw.choices([INPUT, *(node["name"] for node in nodes)], k=count)
    name = f"more{len(nodes)}"
    nodes.append({"attributes": {}, "inputs": inputs, "name": name, "op": op, "tensors": {}})
    graph["output"] = name


def repeat(header: dict[str, Any], graph: dict[str, Any], tensors: bytearray, draw: random.Random) -> None:
    """One more node, like another, with the same tensors once more; it reads other values, or is of another op."""
    nodes = graph["nodes"]
    node = json.loads(json.dumps(draw.choice(nodes)))
    node["name"] = f"more{len(nodes)}"
    for held in node["tensors"].values():
        entry = json.loads(json.dumps(header[held["tensor"]]))
        begin, end = entry["data_offsets"]
        entry["data_offsets"] = [len(tensors), len(tensors) + end - begin]
        tensors += tensors[begin:end]
        held["tensor"] = f"more{len(header)}"
        header[held["tensor"]] = entry
    node["inputs"] = [draw.choice((INPUT, *(other["name"] for other in nodes))) for _ in node["inputs"]]
    if draw.random() < 0.2:
        node["op"] = draw.choice((*OPS,))
    nodes.append(node)
    if draw.random() < 0.5:
        graph["output"] = node["name"]


def pointwise(b: Builder, seed: int) -> Graph:
    """Each op that treats entries by themselves, with rows of each kind; a value read early and late."""
    rows = {"per_step": bool(seed & 1), "per_channel": bool(seed & 2)}
    first = b.affine(INPUT, per_step=rows["per_step"])
    x = b.hd_lif(b.passing(first, identity=(True, False)), **rows)
    x = b.quantise(b.parallel(b.graded_lif(x, **rows), **rows), bits=1 + seed % 8, **rows)
    x = b.glif(b.add("add", b.affine(x), first), **rows)
    x = b.program(b.lif(x, reset=("soft", "hard")[seed % 2], **rows), **rows)
    return b.graph(b.add("add", x, b.affine(first)))


def layers(b: Builder, encoding: str, bits: int) -> Graph:
    """A layer on a static input, on codes, on sparse floats and on dense ones, and pools of codes and floats."""
    x = b.conv(INPUT, 4, encoding="float32")
    x = b.conv(b.quantise(b.parallel(x), bits=bits), 3, stride=(2, 1), encoding=encoding)
    x = b.conv(b.hd_lif(x), 17, kernel=(1, 2), padding=(0, 1), encoding=encoding)
    x = b.conv(x, 4, kernel=(2, 2), dilation=(1, 2), padding=(1, 1), encoding=encoding)
    x = b.conv(b.quantise(x, bits=bits), 4, dilation=(2, 1), padding=(2, 1), groups=2, encoding=encoding)
    codes = b.quantise(x, bits=bits)
    x = b.add("max_pool", codes, kernel=(2, 2), stride=(1, 1), padding=(1, 1))
    x = b.add("upsample", b.add("sum_pool", x, kernel=(2, 1), stride=(1, 1)), factor=(1, 2))
    x = b.add("sum_pool", b.add("max_pool", b.affine(x), kernel=(1, 1), stride=(1, 1), padding=(0, 0)),
              kernel=(1, 2), stride=(2, 1))  # fmt: skip
    x = b.seca(b.conv(x, 5, kernel=(1, 1), padding=(0, 0), encoding=encoding), kernel=3)
    x = b.add("gate", b.lif(x), b.quantise(b.add("global_sum_pool", x), bits=bits))
    return b.graph(b.linear(b.add("global_sum_pool", x), 4, encoding=encoding))


def seeds() -> Iterator[bytes]:
    yield dumps(tiny_network())
    yield dumps(residual_network(time_steps=2, width=3))
    yield dumps(two_streams(time_steps=2, encoding="int4", width=4))
    for kind in ("segment", "instances"):
        yield dumps(replace(u_net(time_steps=2, width=2), task=TaskRecord(kind)))
    for op in OPS:
        yield dumps(of_one_op(op))
    for seed in range(8):
        yield dumps(pointwise(Builder((2 + seed % 2, 2, 2), 2, seed), seed))
    for i, encoding in enumerate(("float32", "ternary", "binary", "int2", "int4", "int8")):
        yield dumps(layers(Builder((1 + i % 2, 4, 3), 2, i), encoding, (4, 4, 1, 2, 3, 8)[i]))
    for neuron in ("quantised", "lif", "hd_lif"):
        b = Builder((2, 4, 3), 2, 0)
        yield dumps(b.graph(b.recurrent(b.conv(INPUT, 3, encoding="float32"), neuron)))
    for record, task, time_steps in STATED:
        b = Builder(record.shape, time_steps, 0)
        graph = b.graph(b.linear(b.hd_lif(b.linear(b.add("flatten", INPUT), 3)), 3))
        yield dumps(replace(graph, input=record, task=task))


def _stated(shape: tuple[int, int, int], kind: str, resize: str = "none", **others: Any) -> InputRecord:
    return InputRecord(shape, (0.5,) * shape[0], (0.25,) * shape[0], kind, resize, **others)


SCALED = {"mean": (1.0, 2.0, 3.0), "std": (0.5, 1.0, 2.0)}
ROWS, PIXELS = {"frames": "rows", "columns": ("x", "y")}, {"frames": "pixels", "fit": "crop"}
SOUND = SoundRecord(8000, 800, "first", 800, 4, 64, 80, 20.0, 4000.0)
EACH = TaskRecord("sequence", "each", 2)
STATED = (
    (_stated((1, 1, 1), "image", "nearest", **PIXELS), TaskRecord(), 16),
    (_stated((1, 1, 4), "image", frames="rows"), TaskRecord(combine="last"), 4),
    (_stated((2, 4, 4), "events", "pool", sensor=(8, 8), binning="by_time"), TaskRecord(), 4),
    (_stated((2, 1, 1), "series", **ROWS, rates=(50, 25), windows=(12, 6)), EACH, 6),
    (_stated((2, 1, 1), "series", **ROWS, shortest=3), TaskRecord(), 6),
    (_stated((4, 1, 1), "series", frames="rows", sound=SOUND), TaskRecord("multilabel", threshold=0.3), 10),
    (_stated((3, 1, 1), "table", columns=("p", "q", "r")), TaskRecord("regress", **SCALED), 2),
    (_stated((2, 1, 1), "series", frames="rows"), TaskRecord("regress", "each", 2, ahead=3, **SCALED), 6),
)
"""Inputs and tasks of every kind, and the time steps of their networks."""


if __name__ == "__main__":
    driver.main(target, "artefact", seeds=seeds(), mutate=mutate)
