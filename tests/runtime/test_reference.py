"""The oracle itself, against numbers computed by hand."""

from typing import Any

import numpy as np
import pytest

from cases import every
from deployed_graphs import Builder, residual_network
from hdlif.errors import ShapeError, StateError
from hdlif.graph.artefact import INPUT, Graph, InputRecord, Node
from hdlif.graph.ops.seca import sigmoid
from hdlif.runtime import reference
from neuron_programs import as_program


def one_neuron(op: str, tensors: dict[str, list[list[float]]], **attributes: object) -> Graph:
    arrays = {key: np.array(rows, np.float32) for key, rows in tensors.items()}
    nodes = (Node("flatten", "x", (INPUT,)), as_program(Node(op, "y", ("x",), attributes, arrays)))
    return Graph(nodes, "y", 3, InputRecord((1, 1, 1), (0.0,), (1.0,)), ("only",))


def response(graph: Graph, currents: list[float]) -> list[float]:
    x = np.array(currents, np.float32).reshape(-1, 1, 1, 1, 1)
    return reference.run(graph, x)[:, 0, 0].tolist()


NEURONS: list[tuple[str, dict[str, Any], list[float], list[float]]] = [
    # the surplus: 1.25 -> m 1.25; 0.5 v + 1.25 with v clipped at 0.5 -> m 1.5 ever after
    ("hd_lif", {"leak": [[0.5]], "threshold": [[0.5]]}, [1.25, 1.25, 1.25, -3.0, 1.25], [0.75, 1.0, 1.0, 0.0, 0.0]),
    # a folded leak: v 0.5; m = -0.5*0.5 + 0.25 = 0, v 0; then 2*0 + 0.5 = 0.5, v 0.5; 2*0.5 + 0 = 1
    ("hd_lif", {"leak": [[1.0], [-0.5], [2.0]], "threshold": [[0.5]]}, [0.75, 0.25, 0.5, 0.0], [0.25, 0.0, 0.0, 0.5]),
    # rows go with the step, beyond the trained ones too, and the last one holds
    ("parallel", {"threshold": [[1.0], [2.0], [3.0]]}, [5, 5, 5, 5, 0], [4, 3, 2, 2, 0]),
    ("parallel", {"threshold": [[1.0], [2.0], [3.0], [0.0], [4.0]]}, [5, 5, 5, 5, 5, 5], [4, 3, 2, 5, 1, 1]),
    # soft: m = 2, v = 1; m = 1, v = 0; m = 1, v = 0; m = 0.  hard, to 0: m = 2; 0.5; 1.25; -0 + 0
    ("lif", {"leak": [[0.5]], "threshold": [[1.0]], "reset": "soft"}, [2.0, 0.5, 1.0, 0.0], [1, 1, 1, 0]),
    ("lif", {"leak": [[0.5]], "threshold": [[1.0]], "reset": "hard"}, [2.0, 0.5, 1.0, 0.0], [1, 0, 1, 0]),
    # m 1.25, v 0.75; m 0.375 + 0.125 = 0.5 = threshold: no surplus, but v 0; m 0.25
    ("graded_lif", {"leak": [[0.5]], "threshold": [[0.5]]}, [1.25, 0.125, 0.25, 1.0], [0.75, 0.0, 0.0, 0.625]),
]


@every("op", "values", "currents", "expected", of=NEURONS)
def test_neurons_by_hand(op: str, values: dict[str, Any], currents: list[float], expected: list[float]) -> None:
    attributes = {"reset": values.get("reset"), "reset_potential": 0.0} if op == "lif" else {}
    tensors = {name: rows for name, rows in values.items() if name != "reset"}
    assert response(one_neuron(op, tensors, **attributes), currents) == expected


def test_glif_remembers_its_last_spike() -> None:
    rows = {
        "leak": [[0.5]],
        "leak_after_spike": [[0.25]],
        "gain": [[2.0]],
        "shift": [[-0.125]],
        "shift_after_spike": [[-1.125]],
        "threshold": [[1.0], [4.0], [1.0]],
    }
    # v = 2 - 0.125 = 1.875 >= 1: spike; then 0.46875 + 4 - 1.125 = 3.34375 < 4: none, though it is above the next
    # threshold and the first; then 1.671875 - 0.125 = 1.546875: spike; then 0.38671875 + 1 - 1.125 = 0.26171875
    graph = one_neuron("glif", rows)
    assert response(graph, [1.0, 2.0, 0.0, 0.5]) == [1, 0, 1, 0]
    x = np.array([1.0, 2.0, 0.0, 0.5], np.float32).reshape(4, 1, 1, 1, 1)
    state, potentials = None, []
    for frame in x:
        _, state = reference.step(graph, frame, state)
        potentials.append(state["y.potential"].item())
    assert potentials == [1.875, 3.34375, 1.546875, 0.26171875]


def test_sigmoid_is_close_everywhere_and_saturates() -> None:
    x = np.concatenate([np.linspace(-30, 30, 200_001), np.random.default_rng(0).normal(size=100_000)])
    single = x.astype(np.float32)
    exact = 1 / (1 + np.exp(-single.astype(np.float64)))
    assert np.abs(sigmoid(single) - exact).max() < 1e-6
    ends = np.array([30, 31, 1e30, np.inf, -30, -31, -1e30, -np.inf, 0, -0.0], np.float32)
    seen = sigmoid(ends)
    assert (seen[:4] == 1).all()
    assert (seen[4:8] == seen[4]).all()
    assert 0 < seen[4] < 1e-13
    assert (seen[8:] == 0.5).all()


def test_seca_by_hand() -> None:
    b = Builder((2, 1, 2), 1, 0)
    y = b.seca(INPUT, kernel=3)
    b.nodes[0].tensors["weight"][...] = [1, 2, 4]
    b.nodes[0].tensors["bias"][...] = -1
    x = np.array([[[1, 0]], [[0, -2]]], np.float32)[None]
    # means 0.5 and -1; logits 2*0.5 + 4*(-1) - 1 = -4 and 1*0.5 + 2*(-1) - 1 = -2.5
    gates = 1 / (1 + np.exp([4, 2.5]))
    expected = np.array([[[gates[0], 0]], [[0, -2 * gates[1]]]])
    np.testing.assert_allclose(reference.evaluate(b.graph(y), x, {}, 0)[y][0], expected, rtol=1e-6)


def test_gate_by_hand() -> None:
    """A gate per pixel and half of the channels, then one per channel; a NaN closes."""
    b = Builder((6, 1, 2), 1, 0)
    x, a = b.slice(INPUT, 0, 4), b.slice(INPUT, 4, 6)
    by_pixel, by_channel = b.add("gate", x, a), b.add("gate", x, b.add("global_sum_pool", a))
    frame = np.array([[1, 2], [3, -4], [5, 6], [7, np.inf], [1, np.nan], [-2, 3]], np.float32)
    found = reference.evaluate(b.graph(by_channel), frame.reshape(1, 6, 1, 2), {}, 0)
    np.testing.assert_array_equal(found[by_pixel][0, :, 0], [[1, 0], [3, 0], [0, 6], [0, np.inf]])
    # the sums of the gates are NaN and 1
    np.testing.assert_array_equal(found[by_channel][0, :, 0], [[0, 0], [0, 0], [5, 6], [7, np.inf]])


def test_conv2d_by_hand() -> None:
    b = Builder((1, 2, 2), 1, 0)
    y = b.conv(INPUT, 1, encoding="float32")
    b.nodes[0].tensors["weight"][...] = np.arange(9).reshape(1, 1, 3, 3)
    x = np.array([[1, 2], [3, 4]], np.float32).reshape(1, 1, 2, 2)
    # the output's corner sees taps 4 5 / 7 8, then 3 4 / 6 7, then 1 2 / 4 5, then 0 1 / 3 4
    expected = [[4 + 10 + 21 + 32, 3 + 8 + 18 + 28], [1 + 4 + 12 + 20, 0 + 2 + 9 + 16]]
    np.testing.assert_array_equal(reference.evaluate(b.graph(y), x, {}, 0)[y][0, 0], expected)


def test_float_sums_keep_the_stated_order() -> None:
    # (1e8 + 1) - 1e8 is 0 in float32, ascending; any other order gives 1
    b = Builder((3, 1, 1), 1, 0)
    y = b.conv(INPUT, 1, kernel=(1, 1), padding=(0, 0), encoding="float32")
    b.nodes[0].tensors["weight"][...] = 1
    x = np.array([1e8, 1, -1e8], np.float32).reshape(1, 3, 1, 1)
    assert reference.evaluate(b.graph(y), x, {}, 0)[y].item() == 0


def test_channels_are_taken_apart_joined_and_flattened_in_order() -> None:
    b = Builder((3, 1, 2), 1, 0)
    y = b.concat(b.slice(INPUT, 1, 3), b.slice(INPUT, 0, 1))
    flat = b.add("flatten", y)
    x = np.array([[[1, 2]], [[3, 4]], [[5, 6]]], np.float32)[None]
    values = reference.evaluate(b.graph(y), x, {}, 0)
    np.testing.assert_array_equal(values[y], x[:, [1, 2, 0]])
    np.testing.assert_array_equal(values[flat], [[3, 4, 5, 6, 1, 2]])


def test_step_leaves_the_state_it_is_given() -> None:
    graph = residual_network()
    x = np.ones((1, *graph.input.shape), np.float32)
    _, state = reference.step(graph, x)
    before = {name: value.copy() for name, value in state.items()}
    _, after = reference.step(graph, x, state)
    assert int(after["t"]) == 2
    for name, value in before.items():
        np.testing.assert_array_equal(state[name], value)


def test_refusals() -> None:
    graph = residual_network()
    frame = np.zeros((2, *graph.input.shape), np.float32)
    _, state = reference.step(graph, frame)
    with pytest.raises(StateError):
        reference.step(graph, frame[:1], state)
    with pytest.raises(ShapeError):
        reference.step(graph, frame[0])
    with pytest.raises(ShapeError):
        reference.run(graph, frame[None].repeat(2, axis=0), 3)
