from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from cases import every
from deployed_graphs import random_input, residual_network, tiny_network
from hdlif._native import instruction_sets
from hdlif.errors import HdlifError, ShapeError, StateError
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
    assert_same_state(native, plain)
    # the reference's arrays lie channels-first in memory, the session's channels-last
    crossed = session.step(x[1], plain), reference.step(graph, x[1], native)
    np.testing.assert_array_equal(crossed[0][0], crossed[1][0])
    assert_same_state(crossed[0][1], crossed[1][1])


def test_a_sequence_of_its_own_equals_a_run_and_leaves_others_alone(session: Session) -> None:
    x = frames()
    one, other = session.sequence(3), session.sequence(3)
    for t, logits in enumerate(session.run(x)):
        np.testing.assert_array_equal(one.step(x[t]), logits, strict=True)
        if t % 2:
            np.testing.assert_array_equal(other.step(x[t // 2]), session.run(x)[t // 2], strict=True)


def copied(state: State) -> State:
    return {name: value.copy() for name, value in state.items()}


def assert_same_state(seen: State, expected: State) -> None:
    assert seen.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(seen[name], value)


@every(order=["C", "F"])
def test_a_step_writes_into_the_state_that_it_is_given_for_it_and_no_other(session: Session, order: str) -> None:
    x = frames()
    first, used = session.step(x[0])[1], session.step(x[3])[1]
    kept = copied(first)
    logits, expected = session.step(x[1], first)
    assert_same_state(first, kept)
    session.step(x[1], first, out=used)
    assert_same_state(used, expected)
    assert_same_state(first, kept)
    in_place = {name: np.array(value, order=order) for name, value in first.items()}
    arrays = dict(in_place)
    found, returned = session.step(x[1], in_place, out=in_place)
    np.testing.assert_array_equal(found, logits)
    assert_same_state(in_place, expected)
    assert returned is in_place
    assert all(in_place[name] is arrays[name] for name in arrays if name != "t")
    # a start into a used state forgets what it held
    session.step(x[0], out=used)
    assert_same_state(used, first)


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


def test_instructions_can_be_chosen_and_the_best_are_the_default() -> None:
    for instructions in instruction_sets():
        assert Session(residual_network(), instructions=instructions).instructions == instructions
    assert Session(residual_network()).instructions == instruction_sets()[-1]
    with pytest.raises(HdlifError, match="sse9"):
        Session(residual_network(), instructions="sse9")


@every(
    x=[
        np.zeros((4, 1, 3, 9, 7)),
        np.zeros((1, 3, 9, 7), np.float32),
        np.zeros((4, 1, 3, 7, 9), np.float32),
        np.zeros((0, 1, 3, 9, 7), np.float32),
        np.zeros((4, 0, 3, 9, 7), np.float32),
        [[1.0]],
    ]
)
def test_arrays_of_another_type_or_shape_are_refused(session: Session, x: np.ndarray) -> None:
    with pytest.raises(ShapeError):
        session.run(x)
    with pytest.raises(ShapeError):
        session.step(np.zeros((3, 9, 7), np.float32))


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
    with pytest.raises(StateError):
        session.step(x[1, :1], state)


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
