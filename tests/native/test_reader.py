"""The native reader and Python's schema agree; arrays of a run are checked. Fields of files: tests/graph/artefact."""

import contextlib
import random
from dataclasses import replace

import numpy as np
import pytest

from deployed_graphs import Builder, every_op, tiny_network
from hdlif._native import Network, check_artefact, instruction_sets
from hdlif.errors import ArtefactError, LimitError
from hdlif.graph.artefact import INPUT, Graph, InputRecord, dumps
from hdlif.graph.ops import OPS
from hdlif.runtime import Session
from one_op import of_one_op


def network(content: bytes, threads: int = 1) -> Network:
    return Network(content, threads, instruction_sets()[-1])


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
    for _ in range(600):
        graph = changed(draw.choice(graphs), draw)
        with contextlib.suppress(ArtefactError):
            content = dumps(graph)
            written += 1
            try:
                check_artefact(content)
            except ArtefactError as error:
                raise AssertionError(f"the reader refuses what Python writes: {error}") from error
    assert written > 20
