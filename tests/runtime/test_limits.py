"""What a network or a call asks for is known before it runs, and refused beyond the limits."""

import math
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cases import every
from deployed_graphs import Builder, random_input, residual_network, tiny_network, two_streams
from hdlif.errors import AllocationError, ArtefactError, HdlifError, LimitError, ShapeError
from hdlif.graph.artefact import INPUT, Graph, InputRecord, Node, dumps, loads, save
from hdlif.runtime import Session
from hostile import one_printable_line
from neuron_programs import as_program


def pool_of(shape: tuple[int, int, int], time_steps: int = 1) -> Graph:
    """A network of a few hundred bytes for any input."""
    record = InputRecord(shape, (0.0,) * shape[0], (1.0,) * shape[0])
    b = Builder(shape, time_steps, 0)
    stride = tuple(min(size, 2**14) for size in shape[1:])
    x = b.add("max_pool", INPUT, kernel=(1, 1), stride=stride, padding=(0, 0))
    pooled = b.add("global_sum_pool", x)
    return Graph(tuple(b.nodes), pooled, time_steps, record, ("a",) * shape[0])


def slow_graph(convolutions: int = 60, time_steps: int = 1) -> Graph:
    """Some seconds of work in a small file: one channel, many pixels, a large kernel."""
    weight = np.ones((1, 1, 31, 31), np.float32)
    attributes = {"encoding": "float32", "padding": (15, 15), "role": "body", "stride": (1, 1)}
    nodes, x = [], INPUT
    for i in range(convolutions):
        nodes.append(Node("conv2d", f"conv{i}", (x,), attributes, {"weight": weight}))
        x = f"conv{i}"
    nodes.append(Node("global_sum_pool", "logits", (x,)))
    return Graph(tuple(nodes), "logits", time_steps, InputRecord((1, 1024, 1024), (0.0,), (1.0,)), ("a",))


def test_a_small_file_that_asks_for_gigabytes_is_refused_at_load(tmp_path: Path) -> None:
    path, graph = tmp_path / "vast.hdlif.safetensors", pool_of((1, 2**15, 2**15), 16)
    save(graph, path)
    assert path.stat().st_size < 1024
    with pytest.raises(LimitError, match=f"^{path}: .*max_bytes = 4294967296"):
        Session(path)
    # its work alone is granted
    Session(graph, max_bytes=2**40)


def test_a_small_file_that_asks_for_hours_is_refused_at_load() -> None:
    graph = slow_graph(1000)
    assert len(dumps(slow_graph(2))) < 10_000
    with pytest.raises(LimitError, match="max_operations = 4398"):
        Session(graph)
    Session(graph, max_operations=2**60)


@every(graph=[residual_network(), two_streams()])
def test_limits_hold_for_each_call(graph: Graph) -> None:
    probe = Session(graph, 1)
    granted = {"max_bytes": 400_000, "max_operations": 20_000_000}
    session = Session(graph, 1, **granted)
    session.run(random_input(graph, 2, 2))
    x = random_input(graph, 1, 1)
    for steps in (10**6, 10**9):
        with pytest.raises(LimitError):
            session.run(x, steps)
    many = random_input(graph, 1, 2**12)
    for call in (session.run, session.values, session.stage_seconds):
        with pytest.raises(LimitError):
            call(many)
    with pytest.raises(LimitError):
        session.step(many[0])
    # a refusal leaves the session as it is
    np.testing.assert_array_equal(session.run(x), probe.run(x))


@settings(max_examples=15)
@given(batch=st.integers(1, 40), steps=st.integers(1, 40), is_static=st.booleans(), keeps_all=st.booleans())
def test_no_call_takes_more_than_was_computed(batch: int, steps: int, is_static: bool, keeps_all: bool) -> None:
    graph = residual_network()
    session = Session(graph, 2)
    x = random_input(graph, 1 if is_static else steps, batch)
    work_bytes, operations = session._cost(batch, steps, is_static and steps > 1, keeps_all, True)
    if keeps_all:
        session.values(x, steps)
    else:
        session.run(x, steps)
    assert session.weight_bytes + session.working_bytes == work_bytes
    # the products of the dense network, and not a hundred times as many
    products = sum(
        node.tensors["weight"].size * np.prod(session._values[node.name].shape[1:], dtype=int)
        for node in graph.nodes
        if "encoding" in node.attributes
    )
    assert products * batch * (1 if is_static else steps) < operations < 300 * products * batch * steps


def test_what_past_calls_left_stays_below_the_limit() -> None:
    graph = residual_network()
    batch_costs = [Session(graph, 1)._cost(batch, 1, False, False, True)[0] for batch in (16, 2**20)]
    assert batch_costs[0] == batch_costs[1]
    costs = {
        (batch, steps): Session(graph, 1)._cost(batch, steps, False, False, True)[0]
        for batch in (1, 3, 16)
        for steps in (1, 4, 16)
    }
    limit = max(costs.values()) + 10_000
    session = Session(graph, 1, max_bytes=limit)
    for batch, steps in [*costs, *reversed(costs)]:
        session.run(random_input(graph, steps, batch))
        assert session.weight_bytes + session.working_bytes <= limit


def test_padded_weights_count() -> None:
    """One output channel is laid out as sixteen: 16 MB of weights become 256."""
    weight = np.zeros((1, 2**22), np.float32)
    b = Builder((1, 2**11, 2**11), 1, 0)
    x = b.add("flatten", INPUT)
    logits = b.add("linear", x, tensors={"weight": weight}, encoding="float32", role="classifier")
    graph = Graph(tuple(b.nodes), logits, 1, b.record(), ("a",))
    with pytest.raises(LimitError, match="the graph: its weights take 268435456 bytes, more than max_bytes"):
        Session(graph, 1, max_bytes=100_000_000)


def pooled_map(b: Builder) -> str:
    return b.add("global_sum_pool", b.affine(INPUT))


def pooled_windows(b: Builder) -> str:
    window = (2**13, 2**12)
    return b.add("global_sum_pool", b.add("max_pool", INPUT, kernel=window, stride=(1, 1), padding=(0, 0)))


def products(b: Builder) -> str:
    weight = np.broadcast_to(np.ones((1, 1), np.int8), (1, math.prod(b.shape)))
    return b.add("linear", b.add("flatten", INPUT), tensors={"weight": weight}, encoding="binary", role="classifier")


@every(
    "shape",
    "make",
    "node",
    of=[
        ((1, 1, 2**28), pooled_map, "affine"),
        ((1, 2**13, 2**13), pooled_map, "global_sum_pool"),
        ((1, 2**13, 2**13), pooled_windows, "max_pool"),
        ((1, 2**13, 2**13), products, "flatten"),
    ],
)
def test_what_could_not_be_interrupted_is_refused(
    shape: tuple[int, int, int], make: Callable[[Builder], str], node: str
) -> None:
    b = Builder(shape, 1, 0)
    graph = Graph(tuple(b.nodes), make(b), 1, b.record(), ("a",))
    graph = replace(graph, nodes=tuple(b.nodes))
    with pytest.raises(LimitError, match=rf"node n[0-9].{node} takes [0-9]+ operations in one piece"):
        Session(graph, max_bytes=2**60, max_operations=2**60)


@every(key=["threads", "max_bytes", "max_operations"], value=[0, -1, 2.5, True, "3", np.float64(3), float("nan"), 257])
def test_limits_and_threads_are_integers(key: str, value: Any) -> None:
    if key != "threads" and value == 257:
        value = None
    with pytest.raises(HdlifError, match=f"{key} = "):
        Session(tiny_network(), **{key: value})
    Session(tiny_network(), threads=np.int8(2), max_bytes=np.int64(2**30), max_operations=10**30)
    Session(tiny_network(), threads=None)


@every(steps=[2.5, True, "3", np.float64(3), np.nan, 0, -1, 10**9, 2**31, 2**63, 10**5000, [3]])
def test_steps_that_are_none_are_refused(steps: Any) -> None:
    session = Session(tiny_network())
    x = random_input(tiny_network(), 1, 1)
    with pytest.raises((ShapeError, LimitError)) as refused:
        session.run(x, steps)
    one_printable_line(refused.value)
    np.testing.assert_array_equal(session.run(x, np.int64(3)), session.run(x, 3))
    if not isinstance(steps, int) or steps in (0, 10**9, 2**31, 2**63, 10**5000):
        with pytest.raises(ArtefactError, match="time_steps = ") as unmade:
            Session(replace(tiny_network(), time_steps=steps))
        one_printable_line(unmade.value)


LIMITED = """
import resource
import numpy as np
from deployed_graphs import random_input, residual_network
from hdlif.errors import AllocationError
from hdlif.graph.artefact import Graph, InputRecord, Node
from hdlif.runtime import Session

def limit_to(more):
    with open("/proc/self/statm") as file:
        taken = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + more, -1))

graph = residual_network()
x = random_input(graph, 3, 2)
record = InputRecord((1, 2048, 2048), (0.0,), (1.0,))
pool = Graph((Node("global_sum_pool", "logits", ("input",)),), "logits", 1, record, ("a",))
frames = np.ones((16, 1, *record.shape), np.float32)
# Room for the stacks of a few threads: a machine that grants fewer is no failure.
limit_to(200_000_000)
assert (Session(graph, 256).run(x) == Session(graph, 1).run(x)).all()

session = Session(pool, 1)
first, working = session.run(frames[:1]), session.working_bytes
_, state = session.step(frames[0])
before = {name: value.copy() for name, value in state.items()}
limit_to(50_000_000)
for call in (session.run, session.values, session.stage_seconds):
    try:
        call(frames)
        raise SystemExit("16 steps of 17 MB in 50 MB")
    except AllocationError:
        assert 0 <= session.working_bytes <= working
assert all((state[name] == value).all() for name, value in before.items())
assert (session.run(frames[:1]) == first).all() and session.working_bytes == working
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="limits memory as Linux does")
def test_memory_that_is_not_granted_is_our_error_and_leaves_the_session_good() -> None:
    assert issubclass(AllocationError, MemoryError)
    paths = os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])
    subprocess.run([sys.executable, "-c", LIMITED], check=True, timeout=120, env={**os.environ, "PYTHONPATH": paths})


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
    """Instructions of the compiled part are counted in tests/native/test_checks.py."""
    few, many = (dumps(chain(count)) for count in (100, 400))
    work(few)
    assert lines(lambda: work(many)) / lines(lambda: work(few)) < 5


@pytest.mark.slow
def test_eighty_thousand_nodes_run() -> None:
    session = Session(loads(dumps(chain(80_000)), "chain"), 1)
    assert session.run(np.ones((2, 1, 1, 1, 1), np.float32)).shape == (2, 1, 1)
