"""The native reader trusts nothing: whatever a file holds, it is refused or runs inside its bounds."""

import contextlib
import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from deployed_graphs import Builder, every_op, tiny_network
from hdlif._native import Network, check_artefact, instruction_sets
from hdlif.errors import ArtefactError, LimitError
from hdlif.graph.artefact import INPUT, Graph, InputRecord, Node, dumps
from hdlif.graph.ops import OPS
from hdlif.runtime import Session
from model_files import Change, at, joined, parts, places, put, rewritten
from one_op import of_one_op


def network(content: bytes, threads: int = 1) -> Network:
    return Network(content, threads, instruction_sets()[-1])


def test_every_number_is_checked() -> None:
    """None but those of an equation can be set to a far value without a refusal."""
    header, graph, tensors = parts(dumps(every_op()))
    for tree in (header, graph):
        for *path, last in list(places(tree)):
            parent = at(tree, tuple(path))
            number = parent[last]
            if isinstance(number, bool) or not isinstance(number, int | float) or path[-1:] in (["mean"], ["std"]):
                continue
            if isinstance(parent, list) and parent[0] == "constant":
                continue
            for far in (-(2**31), 2**31 - 1):
                parent[last] = far
                with pytest.raises(ArtefactError):
                    check_artefact(joined(header, graph, tensors))
            parent[last] = number
    check_artefact(joined(header, graph, tensors))


def graph_of(*ops: tuple[str, dict[str, Any]], shape: tuple[int, int, int] = (4, 5, 5)) -> Graph:
    """A chain of ops behind the input, and a classifier."""
    b, x = Builder(shape, 2, 0), INPUT
    for op, fields in ops:
        x = b.add(op, x, **fields) if op not in ("conv", "quantise", "slice") else getattr(b, op)(x, **fields)
    return b.graph(x)


CONV = graph_of(("conv", {"out": 4, "groups": 2, "encoding": "int8"}))
UPSAMPLE = graph_of(("upsample", {"factor": (2, 3)}))
SLICE = graph_of(("slice", {"begin": 0, "end": 3}))
POOL = graph_of(("max_pool", {"kernel": (2, 2), "stride": (1, 1), "padding": (1, 1)}))
CODES = graph_of(("quantise", {"bits": 3}))
FIRST = "graph/nodes/0/attributes/"


def wrong_fields() -> Iterator[tuple[Graph, Change]]:
    for key, values in {
        "groups": (0, 3, 4, -1, 2**31, True, 1.0),
        "dilation": ([0, 1], [1, 2**15], [4, 1], [1], 1),
        "stride": ([0, 1], [1, 2**15], [1.0, 1]),
        "padding": ([3, 1], [-1, 0], [1, 1, 1]),
        "encoding": ("int4", "ternary", "none", None),
        "role": ("head", 1),
        "kernel": ([3, 3],),
    }.items():
        yield from ((CONV, put(FIRST + key, value)) for value in values)
    for key, bounds in {"begin": (-1, 3, 5, 2**31 - 1, 0.0), "end": (0, -1, 5, 2**31 - 1, 3.0)}.items():
        yield from ((SLICE, put(FIRST + key, value)) for value in bounds)
    yield from ((UPSAMPLE, put(FIRST + "factor", value)) for value in ([0, 1], [1, 2**15], [2], [2, -1]))
    yield from ((POOL, put(FIRST + "kernel", value)) for value in ([1, 1], [0, 2], [8, 8], [2**15, 1]))
    for key, values in {"bits": (0, 9, 2.5, "3"), "offset": (-0.5, 1.5, 1e39, None)}.items():
        yield from ((CODES, put(FIRST + key, value)) for value in values)


def test_fields_of_ops_are_checked() -> None:
    for graph, change in wrong_fields():
        check_artefact(dumps(graph))
        with pytest.raises(ArtefactError):
            check_artefact(rewritten(change, dumps(graph)))


def test_ops_take_the_shapes_that_they_can_compute() -> None:
    """Each is given the input, a map of 4 channels, or a vector in the place of the value that it is for."""
    b = Builder((4, 3, 3), 2, 0)
    pooled = b.add("global_sum_pool", INPUT)
    joining = b.graph(b.concat(pooled, pooled)), b.graph(b.add("add", pooled, pooled))
    for graph in joining:
        with pytest.raises(ArtefactError):
            check_artefact(rewritten(put(f"graph/nodes/{len(graph.nodes) - 2}/inputs/0", INPUT), dumps(graph)))
    for op in ("max_pool", "sum_pool", "global_sum_pool", "upsample", "seca", "conv2d"):
        header, graph, tensors = parts(dumps(every_op()))
        node = next(node for node in graph["nodes"] if node["op"] == op)
        flat = {"attributes": {}, "inputs": [INPUT], "name": "flat", "op": "flatten", "tensors": {}}
        graph["nodes"].insert(graph["nodes"].index(node), flat)
        node["inputs"] = ["flat"]
        with pytest.raises(ArtefactError):
            check_artefact(joined(header, graph, tensors))


def vast() -> Graph:
    """2^24 codes in a row, into a linear layer of one output, whose weights are 2 MB."""
    b = Builder((1, 2**12, 2**12), 1, 0)
    b.linear(b.add("flatten", b.quantise(INPUT, bits=7)), 1, encoding="binary")
    return Graph(tuple(b.nodes), b.nodes[-1].name, 1, b.record(), ("only",))


def test_what_would_pass_an_integer_is_refused() -> None:
    # 2^24 codes of 255 pass 2^31, of 127 they do not
    content = dumps(vast())
    check_artefact(content)
    with pytest.raises(ArtefactError, match=r"pass 2\^31"):
        check_artefact(rewritten(put("graph/nodes/0/attributes/bits", 8), content))
    b = Builder((1, 2**8, 2**8), 1, 0)
    pooled = b.add("global_sum_pool", b.add("upsample", INPUT, factor=(2**7, 2**7)))
    content = dumps(Graph(tuple(b.nodes), pooled, 1, b.record(), ("a",)))
    check_artefact(content)
    with pytest.raises(ArtefactError, match="too many entries"):
        check_artefact(rewritten(put(FIRST + "factor", [2**8, 2**8]), content))
    # the channels of a flat map of 2^29 joined to themselves are as many as a value may have
    b = Builder((1, 2**14, 2**15), 1, 0)
    flat = b.add("flatten", INPUT)
    joint = b.concat(flat, flat)
    graph = Graph((*b.nodes, Node("slice", "out", (joint,), {"begin": 0, "end": 1})), "out", 1, b.record(), ("a",))
    check_artefact(dumps(graph))
    with pytest.raises(ArtefactError, match="too many entries"):
        check_artefact(rewritten(put("graph/input/shape", [1, 2**15, 2**15]), dumps(graph)))


def test_rows_whose_products_an_event_could_not_point_to_are_refused() -> None:
    """From a row of 2^14 pixels, the weights of 2^18 output channels are 2^32 apart; the file has 33 kB of them."""
    for width, refused in ((2**14, True), (2**14 - 1, False)):
        b = Builder((1, 1, width), 1, 0)
        x = b.conv(b.quantise(INPUT), 2**18, kernel=(1, 1), stride=(1, 2**13), padding=(0, 0), encoding="binary")
        b.add("global_sum_pool", x)
        graph = Graph(tuple(b.nodes), b.nodes[-1].name, 1, b.record(), ("",) * 2**18)
        with pytest.raises(ArtefactError, match="too many products") if refused else contextlib.nullcontext():
            check_artefact(dumps(graph))


def test_bytes_that_are_no_weights_are_refused() -> None:
    tiny = dumps(tiny_network())
    for last in (b"\x00\xf3", b"\x9c\x09"):  # no five ternary values; a fill that is not zero
        with pytest.raises(ArtefactError, match="weight"):
            check_artefact(rewritten(lambda header, graph: None, tiny[:-2] + last))
    for encoding in ("int2", "int4", "int8"):
        graph = graph_of(("conv", {"out": 2, "kernel": (1, 1), "padding": (0, 0), "encoding": encoding}))
        header, record, tensors = parts(dumps(graph))
        first = header[f"{graph.nodes[0].name}.weight"]["data_offsets"][0]
        with pytest.raises(ArtefactError, match="least value of its bits"):
            check_artefact(joined(header, record, tensors[:first] + b"\x80" + tensors[first + 1 :]))
    header, record, tensors = parts(dumps(every_op()))
    for name in (name for name in header if header[name].get("dtype") == "F32"):
        first = header[name]["data_offsets"][0]
        damaged = tensors[:first] + np.float32(np.nan).tobytes() + tensors[first + 4 :]
        with pytest.raises(ArtefactError, match=r"not finite|not positive"):
            check_artefact(joined(header, record, damaged))
    graph = CODES
    header, record, tensors = parts(dumps(graph))
    first = header[f"{graph.nodes[0].name}.inverse_step"]["data_offsets"][0]
    for entry in (0.0, -1.0, 1e-40):
        damaged = tensors[:first] + np.float32(entry).tobytes() + tensors[first + 4 :]
        with pytest.raises(ArtefactError, match="inverse_step is not positive"):
            check_artefact(joined(header, record, damaged))


def test_metadata_beyond_the_memory_are_refused() -> None:
    with pytest.raises(LimitError):
        Session(tiny_network(), max_bytes=1000)


def vast_outputs() -> Graph:
    b = Builder((1, 1, 1), 1, 0)
    b.linear(b.add("flatten", INPUT), 2**14, encoding="binary")
    return Graph(tuple(b.nodes), b.nodes[-1].name, 1, InputRecord((1, 1, 1), (0.0,), (1.0,)), ("",) * 2**14)


def test_arrays_of_a_run_are_checked() -> None:
    opened = network(dumps(tiny_network()))
    x, logits = np.zeros((1, 3, 1, 2, 2), np.float32), np.empty((2, 3, 7), np.float32)
    potential = np.zeros((3, 2, 2, 7), np.float32)
    opened.run(x, 2, 0, [potential], logits)
    for arguments in [
        (x[:, :, :, :1], 2, 0, [potential], logits),
        (x[:, :0], 2, 0, [potential[:0]], logits[:, :0]),
        (x, 0, 0, [potential], logits[:0]),
        (x, 3, 0, [potential], logits),
        (x, 2, -1, [potential], logits),
        (x, 2, 0, [], logits),
        (x, 2, 0, [potential[:2]], logits),
        (x, 2, 0, [potential], logits[:1]),
    ]:
        with pytest.raises((ValueError, TypeError)):
            opened.run(*arguments)
    # a converted copy would swallow the results
    for arguments in [
        (x.astype(np.float64), 2, 0, [potential], logits),
        (x, 2, 0, [potential.astype(np.float64)], logits),
        (x, 2, 0, [np.asfortranarray(potential)], logits),
        (x, 2, 0, [potential], logits.astype(np.float64)),
    ]:
        with pytest.raises(TypeError):
            opened.run(*arguments)
    # 2^30 steps of 2^20 images of 2^14 classes are 2^64 logits: none, counted in 64 bits
    many = network(dumps(vast_outputs()))
    with pytest.raises(ValueError, match="steps: a batch takes at most"):
        many.run(np.zeros((1, 2**20, 1, 1, 1), np.float32), 2**30, 0, [], np.empty((0, 1, 1), np.float32))
    for values in ([], [logits] * 4):
        with pytest.raises(ValueError, match="values"):
            opened.run_values(x, 2, logits, values)
    for threads in (0, 257):
        with pytest.raises(ValueError, match="threads"):
            network(dumps(tiny_network()), threads=threads)


def changed(graph: Graph, draw: random.Random) -> Graph:
    """An attribute, an input, a tensor or the place of a node drawn anew."""
    nodes = list(graph.nodes)
    n = draw.randrange(len(nodes))
    node = nodes[n]
    match draw.randrange(4):
        case 0 if node.attributes:
            key = draw.choice(sorted(node.attributes))
            node = replace(node, attributes={**node.attributes, key: draw.choice(VALUES)})
        case 1:
            names = (INPUT, *(other.name for other in nodes))
            node = replace(node, inputs=tuple(draw.choice(names) for _ in range(draw.choice((1, 1, 2)))))
        case 2 if node.tensors:
            role = draw.choice(sorted(node.tensors))
            node = replace(node, tensors={**node.tensors, role: draw.choice(nodes).tensors.get(role, np.ones((1, 1)))})
        case _:
            node = replace(node, op=draw.choice([other.op for other in nodes]))
    nodes[n] = node
    return replace(graph, nodes=tuple(nodes))


VALUES = (
    0,
    1,
    -1,
    2,
    3,
    8,
    9,
    255,
    256,
    2**15,
    0.5,
    1e39,
    None,
    True,
    "",
    "input",
    "int4",
    "float32",
    (1, 1),
    (2, 2),
    (1,),
)


def test_what_python_writes_is_read() -> None:
    """Python's schema and the reader agree on what a network is: what the one lets be written the other reads."""
    draw, written = random.Random(0), 0
    graphs = [every_op(), *(of_one_op(op) for op in OPS)]
    for _ in range(1500):
        graph = changed(draw.choice(graphs), draw)
        with contextlib.suppress(ArtefactError):
            content = dumps(graph)
            written += 1
            try:
                check_artefact(content)
            except ArtefactError as error:
                raise AssertionError(f"the reader refuses what Python writes: {error}") from error
    assert written > 50
