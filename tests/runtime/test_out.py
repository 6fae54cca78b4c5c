"""The state that `Session.step` writes into: arrays that share memory with what is still read are refused."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cases import every
from deployed_graphs import Builder, random_input
from hdlif.errors import StateError
from hdlif.graph.artefact import INPUT, Graph
from hdlif.runtime import Session, State, reference

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


def test_unaligned_arrays_are_accepted() -> None:
    def moved(array: np.ndarray) -> np.ndarray:
        raw = np.zeros(array.nbytes + 1, np.uint8)[1:].view(np.float32).reshape(array.shape)
        raw[...] = array
        return raw

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


@settings(max_examples=400)
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
