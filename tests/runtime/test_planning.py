"""Reading, planning and the first run of a network take work in proportion to its nodes.

Instructions of the compiled part are counted in tests/native/test_checks.py.
"""

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import numpy as np
import pytest

from cases import every
from hdlif.graph.artefact import INPUT, Graph, InputRecord, Node, dumps, loads
from hdlif.runtime import Session
from neuron_programs import as_program


def chain(count: int) -> Graph:
    row = np.ones((1, 1), np.float32)
    nodes, x = [], INPUT
    for i in range(count - 1):
        op, tensors = [
            ("affine", {"scale": row, "shift": row}),
            ("hd_lif", {"leak": row, "threshold": row}),
            ("flatten", {}),
            ("add", {}),
        ][i % 4 if i else 0]
        inputs = (x, x) if op == "add" else (x,)
        nodes.append(as_program(Node(op, f"n{i}", inputs, {}, tensors)))
        x = f"n{i}"
    nodes.append(Node("flatten", "logits", (x,)))
    return Graph(tuple(nodes), "logits", 2, InputRecord((1, 1, 1), (0.0,), (1.0,)), ("a",))


def lines(work: Callable[[], object]) -> int:
    """The lines of Python that run."""
    count = 0

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


def read_plan_and_run(content: bytes) -> None:
    session = Session(loads(content, "chain"), 1)
    x = np.ones((2, 1, 1, 1, 1), np.float32)
    session.run(x)
    _, state = session.step(x[0])
    session.step(x[0], state, out=state)


@every(work={"run": read_plan_and_run, "write": lambda content: dumps(loads(content, "x"))})
def test_lines_of_python_grow_as_the_nodes_do(work: Callable[[bytes], object]) -> None:
    few, many = (dumps(chain(count)) for count in (100, 400))
    work(few)
    assert lines(lambda: work(many)) / lines(lambda: work(few)) < 5


@pytest.mark.slow
def test_eighty_thousand_nodes_run() -> None:
    session = Session(loads(dumps(chain(80_000)), "chain"), 1)
    assert session.run(np.ones((2, 1, 1, 1, 1), np.float32)).shape == (2, 1, 1)
