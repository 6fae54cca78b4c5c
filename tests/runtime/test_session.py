import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from deployed_graphs import random_input, residual_network, tiny_network
from hdlif._native import instruction_sets
from hdlif.errors import ArtefactError, HdlifError, LimitError, ShapeError, StateError
from hdlif.graph.artefact import save
from hdlif.runtime import Session, State, probabilities, reference


@pytest.fixture(scope="module")
def session() -> Session:
    return Session(residual_network(), threads=2)


def frames(steps: int = 6, batch: int = 3) -> np.ndarray:
    return random_input(residual_network(), steps, batch)


def test_a_file_and_its_graph_run_alike(tmp_path: Path) -> None:
    graph = residual_network()
    save(graph, tmp_path / "net.hdlif.safetensors")
    session = Session(tmp_path / "net.hdlif.safetensors")
    np.testing.assert_array_equal(session.run(frames()), Session(graph).run(frames()))
    assert session.labels == graph.labels
    assert session.input == graph.input
    assert session.time_steps == graph.time_steps


def test_steps_equal_a_run(session: Session) -> None:
    x = frames()
    state: State | None = None
    for t, logits in enumerate(session.run(x)):
        seen, state = session.step(x[t], state)
        np.testing.assert_array_equal(seen, logits, strict=True)
        assert int(state["t"]) == t + 1


def test_a_state_equals_the_reference_and_travels_both_ways(session: Session) -> None:
    graph, x = residual_network(), frames()
    native, plain = session.step(x[0])[1], reference.step(graph, x[0])[1]
    assert native.keys() == plain.keys()
    for name, value in plain.items():
        np.testing.assert_array_equal(native[name], value, strict=True)
    # the reference's arrays lie channels-first in memory, the session's channels-last
    crossed = session.step(x[1], plain), reference.step(graph, x[1], native)
    np.testing.assert_array_equal(crossed[0][0], crossed[1][0])
    for name, value in crossed[1][1].items():
        np.testing.assert_array_equal(crossed[0][1][name], value)


def test_a_sequence_of_its_own_equals_a_run_and_leaves_others_alone(session: Session) -> None:
    x = frames()
    one, other = session.sequence(3), session.sequence(3)
    for t, logits in enumerate(session.run(x)):
        np.testing.assert_array_equal(one.step(x[t]), logits, strict=True)
        if t % 2:
            np.testing.assert_array_equal(other.step(x[t // 2]), session.run(x)[t // 2], strict=True)


def test_a_sequence_refuses_another_frame_and_goes_on(session: Session) -> None:
    x, one = frames(), session.sequence(3)
    one.step(x[0])
    for wrong in (x[1][:2], x[1, :, :, :1], x[1].astype(np.float64)):
        with pytest.raises(ShapeError):
            one.step(wrong)
    np.testing.assert_array_equal(one.step(x[1]), session.run(x)[1])


def test_a_sequence_whose_step_was_interrupted_is_one_no_more(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of one whose first image has gone on already; tests/runtime/test_timelines.py has one that a signal ends."""
    x, one = frames(), session.sequence(3)

    class Interrupted:
        t = 0

        def advance(self, *arguments: object) -> None:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(one, "_parts", [one._parts[0], Interrupted(), one._parts[2]])
        with pytest.raises(KeyboardInterrupt):
            one.step(x[0])
    with pytest.raises(StateError, match="begin another one"):
        one.step(x[0])


def test_a_sequence_holds_to_the_limits() -> None:
    limited = Session(residual_network(), max_bytes=2**20)
    with pytest.raises(LimitError, match="max_bytes = 1048576"):
        limited.sequence(10_000)


def test_step_without_out_leaves_the_state(session: Session) -> None:
    x = frames()
    _, state = session.step(x[0])
    copy = {name: value.copy() for name, value in state.items()}
    session.step(x[1], state)
    for name, value in copy.items():
        np.testing.assert_array_equal(state[name], value)


@pytest.mark.parametrize("order", ["C", "F"])
def test_step_in_place_keeps_the_arrays(session: Session, order: str) -> None:
    x = frames()
    _, first = session.step(x[0])
    state = {name: np.array(value, order=order) for name, value in first.items()}
    arrays = dict(state)
    logits, returned = session.step(x[1], state, out=state)
    assert returned is state
    expected_logits, expected = session.step(x[1], first)
    np.testing.assert_array_equal(logits, expected_logits)
    for name, value in expected.items():
        np.testing.assert_array_equal(state[name], value)
        assert name == "t" or state[name] is arrays[name]


def test_step_into_another_state(session: Session) -> None:
    x = frames()
    _, state = session.step(x[0])
    _, used = session.step(x[3])
    kept = {name: value.copy() for name, value in state.items()}
    session.step(x[1], state, out=used)
    for name, value in session.step(x[1], kept)[1].items():
        np.testing.assert_array_equal(used[name], value)
        np.testing.assert_array_equal(state[name], kept[name])
    # a start into a used state forgets what it held
    session.step(x[0], out=used)
    for name, value in kept.items():
        np.testing.assert_array_equal(used[name], value)


def test_non_contiguous_input(session: Session) -> None:
    x = frames()
    strided = np.asfortranarray(x)
    np.testing.assert_array_equal(session.run(strided), session.run(x))
    np.testing.assert_array_equal(session.step(strided[0])[0], session.run(x)[0])


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads memory as Linux states it")
def test_a_long_stream_takes_no_more_memory() -> None:
    graph = tiny_network()
    session, x = Session(graph, 2), random_input(graph, 1, 1)[0]
    _, state = session.step(x)

    def resident_pages() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1])

    for _ in range(1000):
        session.step(x, state, out=state)
    before, working = resident_pages(), session.working_bytes
    for _ in range(100_000):
        session.step(x, state, out=state)
    assert state["t"] == 101_001
    assert session.working_bytes == working
    # 4 bytes a step would be 98 pages
    assert resident_pages() - before < 64


def test_default_steps(session: Session) -> None:
    assert len(session.run(frames(1))) == session.time_steps
    assert len(session.run(frames(3))) == 3
    assert len(session.run(frames(1), 1)) == 1


def test_calls_from_several_threads(session: Session) -> None:
    inputs = [random_input(residual_network(), 3, batch, seed=batch) for batch in range(1, 9)]
    expected = [session.run(x) for x in inputs]
    with ThreadPoolExecutor(4) as pool:
        for seen, logits in zip(pool.map(session.run, inputs), expected, strict=True):
            np.testing.assert_array_equal(seen, logits)


def test_memory_is_stated_and_settles() -> None:
    session = Session(residual_network(), threads=2)
    assert session.working_bytes == 0
    weights = session.weight_bytes
    assert weights > 0
    x = frames(4, 40)
    session.run(x)
    working = session.working_bytes
    assert working > 0
    for _ in range(3):
        session.run(x)
        session.run(x[:, :5])
        session.step(x[0])
    assert (session.working_bytes, session.weight_bytes) == (working, weights)


@pytest.mark.parametrize("instructions", instruction_sets())
def test_instructions_can_be_chosen(instructions: str) -> None:
    chosen = Session(residual_network(), instructions=instructions)
    assert chosen.instructions == instructions
    np.testing.assert_array_equal(chosen.run(frames()), reference.run(residual_network(), frames()))


def test_the_best_instructions_are_the_default_and_others_are_refused() -> None:
    assert Session(residual_network()).instructions == instruction_sets()[-1]
    with pytest.raises(HdlifError, match=r"instructions = 'sse9'; this machine has scalar"):
        Session(residual_network(), instructions="sse9")


@pytest.mark.parametrize(
    "x",
    [
        np.zeros((4, 1, 3, 9, 7)),
        np.zeros((1, 3, 9, 7), np.float32),
        np.zeros((4, 1, 3, 7, 9), np.float32),
        np.zeros((0, 1, 3, 9, 7), np.float32),
        np.zeros((4, 0, 3, 9, 7), np.float32),
        [[1.0]],
    ],
    ids=["float64", "4-d", "another shape", "no step", "no image", "list"],
)
def test_run_refuses(session: Session, x: np.ndarray) -> None:
    with pytest.raises(ShapeError, match=r"a run takes a float32 array \[T, B, 3, 9, 7\]"):
        session.run(x)
    with pytest.raises(ShapeError, match="one step takes"):
        session.step(np.zeros((3, 9, 7), np.float32))


@pytest.mark.parametrize("steps", [0, -1, 3])
def test_run_refuses_steps(session: Session, steps: int) -> None:
    with pytest.raises(ShapeError, match=f"steps = {steps}"):
        session.run(frames(2), steps)


def test_step_refuses_foreign_states(session: Session) -> None:
    x = frames()
    _, state = session.step(x[0])
    name = next(key for key in state if key != "t")
    foreign = [
        {"t": state["t"]},
        state | {"more": state[name]},
        state | {name: state[name].astype(np.float64)},
        state | {name: state[name][:1]},
        state | {"t": np.array(-1)},
        state | {"t": np.array(0.5)},
        state | {"t": [[1], [2, 3]]},
        state | {"t": "1"},
    ]
    for entry in foreign:
        with pytest.raises(StateError):
            session.step(x[1], entry)
        with pytest.raises(StateError):
            session.step(x[1], state, out=entry)
    with pytest.raises(StateError, match="batch 1"):
        session.step(x[1, :1], state)


LIMITED = """
import resource
import numpy as np
from deployed_graphs import random_input, residual_network
from hdlif.graph.artefact import Graph, InputRecord, Node
from hdlif.runtime import Session

def limit_to(more):
    with open("/proc/self/statm") as file:
        taken = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + more, -1))

"""


def run_limited(code: str) -> None:
    """Run code in a process of its own, where `limit_to` bounds what memory it may take from there on."""
    paths = [str(Path(__file__).parents[1]), *sys.path]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    subprocess.run([sys.executable, "-c", LIMITED + code], check=True, timeout=120, env=environment)


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="limits memory as Linux does")
def test_a_machine_that_grants_fewer_threads_is_no_failure() -> None:
    # room for the stacks of a few threads
    run_limited("""
limit_to(200_000_000)
graph = residual_network()
x = random_input(graph, 3, 2)
assert (Session(graph, 256).run(x) == Session(graph, 1).run(x)).all()
""")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="limits memory as Linux does")
def test_a_call_that_gets_no_memory_leaves_the_session_good() -> None:
    run_limited("""
record = InputRecord((1, 2048, 2048), (0.0,), (1.0,))
session = Session(Graph((Node("global_sum_pool", "logits", ("input",)),), "logits", 1, record, ("a",)), 1)
x = np.ones((16, 1, *record.shape), np.float32)
first = session.run(x[:1])
before = session.working_bytes
limit_to(100_000_000)
try:
    session.run(x)
except MemoryError:
    pass
else:
    raise AssertionError("16 steps of 17 MB in 100 MB")
assert 0 <= session.working_bytes <= before
assert (session.run(x[:1]) == first).all() and session.working_bytes == before
""")


def test_refuses_threads_and_absent_files(tmp_path: Path) -> None:
    for threads in (0, 257):
        with pytest.raises(HdlifError, match=f"threads = {threads}"):
            Session(residual_network(), threads)
    with pytest.raises(ArtefactError, match="cannot be read"):
        Session(tmp_path / "absent.safetensors")


def test_probabilities_are_of_the_mean_so_far() -> None:
    logits = np.log(np.array([[[1, 3]], [[1, 27]]], np.float32))
    # means: log 1, log 3; then log 1, log 9
    np.testing.assert_allclose(probabilities(logits), [[[0.25, 0.75]], [[0.1, 0.9]]], rtol=1e-6)
    huge = np.array([[[1e4, -1e4]]], np.float32)
    np.testing.assert_array_equal(probabilities(huge), [[[1, 0]]])


def test_seconds_stand_at_the_first_node_of_each_stage(session: Session) -> None:
    graph = residual_network()
    seconds = session.stage_seconds(frames())
    names = [node.name for node in graph.nodes]
    assert list(seconds) == [name for name in names if name in seconds]
    assert {node.name for node in graph.nodes if node.op == "conv2d"} <= set(seconds) < set(names)
    assert all(0 < s < 10 for s in seconds.values())
