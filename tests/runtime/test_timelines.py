"""Networks of series run over many steps at once, and as sequences: the bits of one step after the other."""

import gc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cases import every
from deployed_graphs import Builder, random_input
from hdlif.errors import HdlifError, LimitError, ShapeError, StateError
from hdlif.graph.artefact import Graph
from hdlif.runtime import Session, reference
from runtime.ways_of_running import assert_runs_as_steps, assert_same_state, by_steps
from same_bits import assert_same_bits

ENCODINGS = ("float32", "ternary", "binary", "int4", "int8")


def line(b: Builder, x: str, taps: int, dilation: int) -> str:
    """A delay line, as `hdlif.nn.DelayLine` is deployed."""
    most = b.values()[x].max_code or 0
    last = joined = x
    for step in range(1, (taps - 1) * dilation + 1):
        before = b.delay(last, most)
        b.lead_back(before, last)
        last = before
        if step % dilation == 0:
            joined = b.concat(joined, last)
    return joined


NEURONS: dict[str, Callable[[Builder, str], str]] = {
    "hd_lif": lambda b, x: b.hd_lif(x, per_step=False, per_channel=True),
    "per step": lambda b, x: b.hd_lif(x),
    "quantised": lambda b, x: b.quantise(b.hd_lif(x, per_step=False, per_channel=True)),
    "lif": lambda b, x: b.lif(x, per_step=False),
    "hard": lambda b, x: b.lif(x, per_step=False, reset="hard", reset_potential=-0.3),
    "parallel": lambda b, x: b.quantise(b.parallel(x, per_step=False)),
    "glif": lambda b, x: b.glif(x),
}


def convolutional(
    channels: int, layers: list[tuple[str, int, int, int, str]], seed: int, *, per_step: bool = False
) -> Graph:
    """Causal convolutions over time: (neuron, width, taps, dilation, encoding) of each layer."""
    b = Builder((channels, 1, 1), 4, seed)
    x = "input"
    for neuron, width, taps, dilation, encoding in layers:
        x = b.affine(
            b.conv(line(b, x, taps, dilation), width, kernel=(1, 1), padding=(0, 0), encoding=encoding),
            per_step=per_step,
        )
        x = NEURONS[neuron](b, x)
    return b.graph(x)


@settings(max_examples=15)
@given(data=st.data())
def test_convolutions_over_time(data: st.DataObject) -> None:
    draw = data.draw
    channels = draw(st.integers(1, 7))
    layers = [
        (
            draw(st.sampled_from(list(NEURONS))),
            draw(st.sampled_from([1, 3, 12, 16, 33, 48, 70])),
            draw(st.integers(1, 4)),
            draw(st.integers(1, 5)),
            draw(st.sampled_from(ENCODINGS)),
        )
        for _ in range(draw(st.integers(1, 3)))
    ]
    graph = convolutional(channels, layers, draw(st.integers(0, 99)), per_step=draw(st.booleans()))
    batch = draw(st.sampled_from([1, 1, 3]))
    x = random_input(graph, draw(st.sampled_from([1, 2, 5, 33, 70])), batch)
    assert_runs_as_steps(graph, x, draw(st.integers(1, 2)))


def test_values_that_nobody_reads_in_time() -> None:
    """Their memory is given back once it was taken, and not before."""
    b = Builder((3, 1, 1), 4, 0)
    x = b.add("flatten", b.affine("input"))
    for _ in range(3):
        x = b.linear(x, 17)
        b.lif(x, per_step=False)
        b.affine(b.slice(x, 1, 3))
    graph = b.graph(x)
    assert_runs_as_steps(graph, random_input(graph, 40, 1))


@settings(max_examples=10)
@given(data=st.data())
def test_sequences_give_the_bits_of_steps_in_any_pieces(data: st.DataObject) -> None:
    draw = data.draw
    kind = draw(st.sampled_from(["line", "recurrent", "map"]))
    if kind == "line":
        names = st.sampled_from(list(NEURONS))
        graph = convolutional(3, [(draw(names), 17, 3, 4, "ternary"), (draw(names), 16, 4, 2, "float32")], 3)
    else:
        b = Builder((3, 1, 1) if kind == "recurrent" else (3, 4, 5), 4, 1)
        current = b.conv("input", 6, kernel=(1, 1), padding=(0, 0))
        graph = b.graph(b.recurrent(current, kernel=1) if kind == "recurrent" else b.hd_lif(current))
    batch = draw(st.sampled_from([1, 1, 2]))
    x = random_input(graph, 100, batch)
    expected, last = by_steps(graph, x)
    session = Session(graph, 1)
    stream = session.sequence(batch)
    t = 0
    while t < len(x):
        if draw(st.booleans()):
            seen = stream.step(x[t])[None]
        else:
            seen = stream.run(x[t : t + draw(st.sampled_from([1, 2, 31, 32, 33, 64, 90]))])
        np.testing.assert_array_equal(seen, expected[t : t + len(seen)], strict=True)
        t += len(seen)
        if draw(st.integers(0, 3)) == 0:
            # what it holds goes on elsewhere: as a state of a step, and as another sequence
            state = stream.state
            assert int(state["t"]) == stream.t == t
            if t < len(x):
                logits, _ = session.step(x[t], state)
                np.testing.assert_array_equal(logits, expected[t], strict=True)
            stream = session.sequence(batch, state)
    assert_same_state(stream.state, last)


def test_a_static_input_and_inner_values_run_as_without_a_timeline() -> None:
    graph = convolutional(3, [("quantised", 16, 3, 2, "ternary"), ("hd_lif", 5, 2, 1, "float32")], 0)
    assert_same_bits(graph, random_input(graph, 6, 2))
    assert_same_bits(graph, random_input(graph, 1, 2), steps=7)


def pointwise(b: Builder, x: str, width: int) -> str:
    return b.conv(x, width, kernel=(1, 1), padding=(0, 0))


def in_another_order(b: Builder, x: str) -> str:
    joined = line(b, x, 3, 1)
    first = b.delay(x, 15)
    b.lead_back(first, x)
    return b.concat(first, joined)


def of_other_values(b: Builder, x: str) -> str:
    return b.concat(line(b, x, 2, 1), b.quantise(pointwise(b, x, 4)))


def read_twice(b: Builder, x: str) -> str:
    joined = line(b, x, 2, 2)
    return b.add("add", pointwise(b, joined, 8), joined)


def with_another_delay(b: Builder, x: str) -> str:
    x = b.quantise(pointwise(b, line(b, x, 2, 2), 4))
    joined = line(b, x, 2, 1)
    extra = b.delay(x, 15)
    b.lead_back(extra, x)
    return b.concat(joined, extra)


def of_its_own_output(b: Builder, x: str) -> str:
    before = b.delay(x, 15)
    joined = b.concat(before, x)
    b.lead_back(before, b.quantise(pointwise(b, joined, 4)))
    return joined


@every(make=[in_another_order, of_other_values, read_twice, with_another_delay, of_its_own_output])
def test_delays_that_are_no_line_run_as_nodes(make: Callable[[Builder, str], str]) -> None:
    b = Builder((3, 1, 1), 4, 5)
    x = b.quantise(b.affine(b.conv("input", 4, kernel=(1, 1), padding=(0, 0), encoding="float32")))
    graph = b.graph(b.hd_lif(pointwise(b, make(b, x), 7)))
    assert_runs_as_steps(graph, random_input(graph, 40, 2))


@pytest.mark.filterwarnings("ignore:invalid value")
def test_a_state_of_codes_may_hold_anything() -> None:
    graph = convolutional(3, [("quantised", 16, 3, 2, "ternary"), ("quantised", 5, 3, 1, "ternary")], 0)
    session = Session(graph, 1)
    x = random_input(graph, 3, 1)
    _, state = session.step(x[0])
    rng = np.random.default_rng(0)
    for name in state:
        if "delay" in name:
            state[name] = rng.choice(np.array([-3, 0.5, 7.9, 99, np.nan, np.inf], np.float32), state[name].shape)
    expected, after = reference.step(graph, x[1], state)
    logits, seen = session.step(x[1], state)
    np.testing.assert_array_equal(logits, expected, strict=True)
    stream = session.sequence(state=state)
    np.testing.assert_array_equal(stream.step(x[1]), expected, strict=True)
    for made in (seen, stream.state):
        assert_same_state(made, after)


def test_what_a_sequence_is_given_is_checked() -> None:
    graph = convolutional(3, [("hd_lif", 5, 2, 1, "float32")], 0)
    session = Session(graph, 1)
    sequence = session.sequence()
    x = random_input(graph, 4, 1)
    for wrong in (x, x[0, :, :2], x[0].astype(np.float64)):
        with pytest.raises(ShapeError):
            sequence.step(wrong)
    for wrong in (x[0], x[:0], [1.0], x.astype(np.float64), np.repeat(x, 2, 1)):
        with pytest.raises(ShapeError):
            sequence.run(wrong)  # type: ignore[arg-type]
    with pytest.raises(ShapeError):
        session.sequence(2).run(np.repeat(x, 2, 1).astype(np.float64))
    for batch in (0, -1, 1.5, True, "x"):
        with pytest.raises(HdlifError, match="batch = "):
            session.sequence(batch)  # type: ignore[arg-type]
    with pytest.raises(StateError):
        session.sequence(state={"t": np.array(0)})
    assert sequence.t == 0
    turned = np.asfortranarray(np.repeat(x, 2, 0))[::2]
    np.testing.assert_array_equal(sequence.run(turned), session.run(x))


def test_what_a_sequence_holds_counts() -> None:
    graph = convolutional(3, [("hd_lif", 50, 5, 4, "float32"), ("hd_lif", 50, 5, 4, "float32")], 0)
    session = Session(graph, 1)
    assert session.sequence_bytes > session.state_bytes
    small = Session(graph, 1, max_bytes=2_000_000)
    small.sequence(2)
    with pytest.raises(LimitError):
        small.sequence(1000)


def test_a_sequence_keeps_its_network_alive() -> None:
    graph = convolutional(3, [("hd_lif", 5, 2, 1, "float32")], 0)
    x = random_input(graph, 4, 1)
    expected = Session(graph, 1).run(x)
    sequence = Session(graph, 1).sequence()
    gc.collect()
    np.testing.assert_array_equal(sequence.run(x), expected)


def test_sequences_of_one_session_run_on_several_threads() -> None:
    graph = convolutional(3, [("quantised", 48, 5, 4, "ternary"), ("hd_lif", 48, 5, 4, "float32")], 0)
    session = Session(graph, 2)
    x = random_input(graph, 600, 3)
    expected = session.run(x)

    def follow(which: int) -> np.ndarray:
        sequence = session.sequence()
        return np.concatenate([sequence.run(part) for part in np.array_split(x[:, which : which + 1], 3)])

    with ThreadPoolExecutor(3) as pool:
        for which, logits in enumerate(pool.map(follow, range(3))):
            np.testing.assert_array_equal(logits[:, 0], expected[:, which])
