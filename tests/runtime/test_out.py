"""The state that `Session.step` writes into: arrays that share memory with what is still read are refused."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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


def read_only() -> State:
    array = STATE[FIRST].copy()
    array.flags.writeable = False
    return own_state(first=array)


def repeated() -> State:
    strided = np.lib.stride_tricks.as_strided(np.zeros(SHAPE[1:], np.float32), SHAPE, (0, 24, 8, 4))
    return own_state(first=strided)


def the_same() -> State:
    array = STATE[FIRST].copy()
    return own_state(first=array, second=array)


def overlapping() -> State:
    memory = np.zeros(2 * np.prod(SHAPE), np.float32)
    size = int(np.prod(SHAPE))
    return own_state(first=memory[:size].reshape(SHAPE), second=memory[size - 1 : 2 * size - 1].reshape(SHAPE))


def other_type() -> State:
    return own_state(first=STATE[FIRST].astype(np.float64))


def other_order() -> State:
    return own_state(first=STATE[FIRST].astype(">f4"))


REFUSED: dict[str, tuple[Callable[[], State], str]] = {
    "read-only": (read_only, "is read-only"),
    "memory twice": (repeated, "holds the same memory twice"),
    "one array": (the_same, "share memory"),
    "overlap": (overlapping, "share memory"),
    "float64": (other_type, "must be float32"),
    "byte order": (other_order, "must be float32"),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("given_state", ["none", "another", "the same"])
def test_out_is_refused(name: str, given_state: str) -> None:
    make, message = REFUSED[name]
    out = make()
    before = {key: value.copy() for key, value in out.items()}
    state = {"none": None, "another": own_state(), "the same": out}[given_state]
    with pytest.raises(StateError, match=message) as refused:
        SESSION.step(FRAMES[1], state, out=out)
    assert str(refused.value).isprintable()
    # nothing of it has been written
    for key, value in before.items():
        np.testing.assert_array_equal(out[key], value)


def test_out_that_holds_x_is_refused() -> None:
    x = FRAMES[1].copy()
    with pytest.raises(StateError, match=r"x and out|out.* and x share memory"):
        SESSION.step(x, None, out=own_state(second=x))


def test_out_that_holds_another_potential_of_state_is_refused() -> None:
    state = own_state()
    with pytest.raises(StateError, match="share memory"):
        SESSION.step(FRAMES[1], state, out=own_state(first=state[SECOND]))
    # its own may be there: what is overwritten has been read
    out = own_state(first=state[FIRST])
    logits, _ = SESSION.step(FRAMES[1], state, out=out)
    np.testing.assert_array_equal(logits, reference.step(GRAPH, FRAMES[1], STATE)[0])


def test_views_that_interleave_are_accepted() -> None:
    memory = np.zeros((*SHAPE, 2), np.float32)
    out = own_state(first=memory[..., 0], second=memory[..., 1])
    expected = reference.step(GRAPH, FRAMES[1], STATE)
    logits, _ = SESSION.step(FRAMES[1], own_state(), out=out)
    np.testing.assert_array_equal(logits, expected[0])
    for key in (FIRST, SECOND):
        np.testing.assert_array_equal(out[key], expected[1][key])


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


def test_the_search_finds_both_outcomes() -> None:
    """The property above is no empty one: disjoint memory is accepted, whatever the order of its axes."""
    memory = np.zeros(24 * 5, np.float32)
    parts: Any = [memory[24 * i : 24 * (i + 1)].reshape(SHAPE[::-1]).transpose() for i in range(5)]
    parts[0][...] = FRAMES[1]
    out = own_state(first=parts[1], second=parts[2])
    SESSION.step(parts[0], own_state(first=parts[3], second=parts[4]), out=out)
    assert int(out["t"]) == 2
