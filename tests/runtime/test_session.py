"""Sessions: runs, steps and states as values, the arrays that a step writes into, and refusals."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cases import every
from deployed_graphs import Builder, random_input, residual_network, tiny_network, two_streams
from hdlif._native import instruction_sets
from hdlif.errors import HdlifError, ShapeError, StateError
from hdlif.graph.artefact import INPUT, Graph, save
from hdlif.runtime import Session, State, probabilities, reference
from runtime.ways_of_running import assert_runs_as_steps, assert_same_state


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
    assert session.time_steps == graph.time_steps == len(session.run(frames(1)))
    assert len(session.run(frames(3))) == 3
    assert len(session.run(frames(1), 1)) == 1


def test_a_state_equals_the_reference_and_travels_both_ways(session: Session) -> None:
    graph, x = residual_network(), frames()
    for some in (graph, two_streams()):
        assert_runs_as_steps(some, random_input(some, 5, 2))
    native, plain = session.step(x[0])[1], reference.step(graph, x[0])[1]
    assert_same_state(native, plain)
    # the reference's arrays lie channels-first in memory, the session's channels-last
    crossed = session.step(x[1], plain), reference.step(graph, x[1], native)
    np.testing.assert_array_equal(crossed[0][0], crossed[1][0])
    assert_same_state(crossed[0][1], crossed[1][1])


@every(order=["C", "F"])
def test_a_step_writes_into_the_state_that_it_is_given_for_it_and_no_other(session: Session, order: str) -> None:
    x = frames()
    first, used = session.step(x[0])[1], session.step(x[3])[1]
    kept = {name: value.copy() for name, value in first.items()}
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


def test_calls_from_several_threads(session: Session) -> None:
    inputs = [random_input(residual_network(), 3, batch, seed=batch) for batch in range(1, 9)]
    expected = [session.run(x) for x in inputs]
    with ThreadPoolExecutor(4) as pool:
        for seen, logits in zip(pool.map(session.run, inputs), expected, strict=True):
            np.testing.assert_array_equal(seen, logits)


def test_instructions_can_be_chosen_and_the_best_are_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HDLIF_INSTRUCTIONS", raising=False)
    assert Session(residual_network()).instructions == instruction_sets()[-1]
    for instructions in instruction_sets():
        assert Session(residual_network(), instructions=instructions).instructions == instructions
        monkeypatch.setenv("HDLIF_INSTRUCTIONS", instructions)
        assert Session(residual_network()).instructions == instructions
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


BATCH = 2


def two_neurons() -> Graph:
    """Two potentials of one shape, which is the input's too."""
    b = Builder((2, 3, 2), 2, 0)
    return b.graph(b.lif(b.affine(b.hd_lif(INPUT))))


GRAPH = two_neurons()
SESSION = Session(GRAPH, 1)
FRAMES = random_input(GRAPH, 2, BATCH)
STATE = SESSION.step(FRAMES[0])[1]
FIRST, SECOND = (name for name in STATE if name != "t")
SHAPE = STATE[FIRST].shape


def own_state(**arrays: np.ndarray) -> State:
    names = {"first": FIRST, "second": SECOND}
    return {name: value.copy() for name, value in STATE.items()} | {names[key]: a for key, a in arrays.items()}


def refused_states() -> dict[str, State]:
    read_only = STATE[FIRST].copy()
    read_only.flags.writeable = False
    strided = np.lib.stride_tricks.as_strided(np.zeros(SHAPE[1:], np.float32), SHAPE, (0, 24, 8, 4))
    one, size = STATE[FIRST].copy(), STATE[FIRST].size
    memory = np.zeros(2 * size, np.float32)
    parts = memory[:size].reshape(SHAPE), memory[size - 1 : -1].reshape(SHAPE)
    return {
        "read-only": own_state(first=read_only),
        "memory twice": own_state(first=strided),
        "one array": own_state(first=one, second=one),
        "overlap": own_state(first=parts[0], second=parts[1]),
        "float64": own_state(first=STATE[FIRST].astype(np.float64)),
        "byte order": own_state(first=STATE[FIRST].astype(">f4")),
    }


@every(out=refused_states())
def test_out_is_refused_and_nothing_of_it_written(out: State) -> None:
    before = {key: value.copy() for key, value in out.items()}
    for state in (None, own_state(), out):
        with pytest.raises(StateError):
            SESSION.step(FRAMES[1], state, out=out)
        for key, value in before.items():
            np.testing.assert_array_equal(out[key], value)


def test_out_that_holds_the_input_or_another_potential_is_refused() -> None:
    state, x = own_state(), FRAMES[1].copy()
    with pytest.raises(StateError):
        SESSION.step(x, state, out=own_state(first=state[SECOND]))
    with pytest.raises(StateError):
        SESSION.step(x, None, out=own_state(second=x))
    # its own may be there: what is overwritten has been read
    out = own_state(first=state[FIRST])
    logits, _ = SESSION.step(FRAMES[1], state, out=out)
    np.testing.assert_array_equal(logits, reference.step(GRAPH, FRAMES[1], STATE)[0])


def test_strided_and_unaligned_arrays_are_accepted() -> None:
    def moved(array: np.ndarray) -> np.ndarray:
        raw = np.zeros(array.nbytes + 1, np.uint8)[1:].view(np.float32).reshape(array.shape)
        raw[...] = array
        return raw

    np.testing.assert_array_equal(SESSION.run(np.asfortranarray(FRAMES)), SESSION.run(FRAMES))
    x = moved(FRAMES[1])
    assert not x.flags.aligned
    out = own_state(first=moved(STATE[FIRST]), second=moved(np.moveaxis(STATE[SECOND], 1, -1)).transpose(0, 3, 1, 2))
    logits, _ = SESSION.step(x, out, out=out)
    np.testing.assert_array_equal(logits, reference.step(GRAPH, FRAMES[1], STATE)[0])
    np.testing.assert_array_equal(SESSION.run(x[None]), SESSION.run(FRAMES[1:]))


@st.composite
def views(draw: st.DrawFn) -> list[np.ndarray]:
    """Five arrays of one shape, somewhere in one memory of 200 floats, in any order of axes and any direction."""
    memory = np.random.default_rng(draw(st.integers(0, 9))).normal(size=300).astype(np.float32)
    arrays = []
    for _ in range(5):
        step = draw(st.sampled_from([1, 1, 1, 2]))
        begin = draw(st.integers(0, 300 - step * 24))
        order = draw(st.permutations(range(4)))
        array = memory[begin : begin + step * 24 : step].reshape([SHAPE[axis] for axis in order])
        array = array.transpose(np.argsort(order))
        arrays.append(array[::-1] if draw(st.booleans()) else array)
    return arrays


@settings(max_examples=100)
@given(arrays=views(), in_place=st.booleans(), own=st.sets(st.integers(0, 4)))
def test_a_step_is_refused_or_right(arrays: list[np.ndarray], in_place: bool, own: set[int]) -> None:
    arrays = [array.copy() if i in own else array for i, array in enumerate(arrays)]
    x, first, second, first_before, second_before = arrays
    out = own_state(first=first, second=second)
    state = out if in_place else own_state(first=first_before, second=second_before)
    expected = reference.step(GRAPH, x.copy(), {key: value.copy() for key, value in state.items()})
    try:
        logits, _ = SESSION.step(x, state, out=out)
    except StateError:
        return
    np.testing.assert_array_equal(logits, expected[0])
    for key in (FIRST, SECOND):
        np.testing.assert_array_equal(out[key], expected[1][key])


def test_disjoint_memory_is_accepted_whatever_the_order_of_its_axes() -> None:
    """So that the property above is no empty one; views may interleave, too."""
    memory = np.zeros(24 * 5, np.float32)
    parts: Any = [memory[24 * i : 24 * (i + 1)].reshape(SHAPE[::-1]).transpose() for i in range(5)]
    interleaved: Any = [memory.reshape(-1, 5)[:, i].reshape(SHAPE) for i in range(5)]
    for x, *arrays in (parts, interleaved):
        x[...] = FRAMES[1]
        out = own_state(first=arrays[0], second=arrays[1])
        SESSION.step(x, own_state(first=arrays[2], second=arrays[3]), out=out)
        assert int(out["t"]) == 2
