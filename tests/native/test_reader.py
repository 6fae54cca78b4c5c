"""The native reader and Python's schema agree; arrays of a run are checked. Fields of files: tests/graph/artefact."""

import numpy as np
import pytest

from deployed_graphs import Builder, tiny_network
from hdlif._native import Network, instruction_sets
from hdlif.errors import LimitError
from hdlif.graph.artefact import INPUT, Graph, InputRecord, dumps
from hdlif.runtime import Session


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
