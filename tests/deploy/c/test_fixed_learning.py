"""The classifier learns in fixed point: near float32, in C with the oracle's integers, and within 32 bits."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from c_networks import fresh
from cases import every
from deployed_graphs import coded_network, random_input, residual_network
from hdlif.deploy.c import FixedLearner, fixed_point, from_device, translate
from hdlif.deploy.c.building import FLAGS, Library
from hdlif.deploy.c.fixed.learning import gradient_of_loss
from hdlif.deploy.c.integer_learning import IntegerLearning
from hdlif.errors import HdlifError, StateError
from hdlif.graph.artefact import dumps
from hdlif.graph.graph import Graph
from hdlif.runtime.learning import LearningRate
from hdlif.runtime.reference_learning import ReferenceLearner, softmax

QUICK = tuple(flag for flag in FLAGS if flag != "-O2")
pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler is installed")


@every(fraction=[-3, 0, 7, 15, 16, 20])
def test_the_gradient_of_the_loss_is_near_float32(fraction: int) -> None:
    rng = np.random.default_rng(0)
    logits = rng.integers(-(2**15), 2**15, (200, 7))
    logits[:100] = rng.integers(0, max(2**fraction, 2), (100, 7)) if fraction >= 0 else 0
    targets = rng.integers(0, 7, 200)
    found = gradient_of_loss(logits, fraction, targets)
    expected = softmax((logits * 2.0**-fraction).astype(np.float32)) - np.eye(7)[targets]
    assert np.abs(found * 2.0**-15 - expected).max() < 2e-4
    assert np.abs(found).max() <= 2**15


def weights_and_shifts(graph: Graph) -> list[np.ndarray]:
    return [node.tensors[role] for node in graph.nodes[-2:] for role in ("weight", "shift") if role in node.tensors]


@every(affine=[True, False], bits=[4, 8])
def test_an_update_is_near_float32(affine: bool, bits: int) -> None:
    graph = coded_network(affine=affine, bits=bits)
    x, targets = random_input(graph, 3, 4), [0, 1, 2, 0]
    fixed, exact = FixedLearner(fixed_point(graph, x, 3), rate=0.1), ReferenceLearner(graph, rate=LearningRate(0.1))
    fixed.learn(x, targets)
    exact.learn(x, np.array(targets))
    for before, there, near in zip(*map(weights_and_shifts, (graph, exact.graph, fixed.graph)), strict=True):
        change = np.abs(there - before).max()
        assert change > 0
        assert np.abs(near - there).max() < 0.03 * change


@every(affine=[True, False], rate=[0.01, 1.0])
def test_c_learns_as_the_oracle_does_also_where_values_saturate(affine: bool, rate: float, tmp_path: Path) -> None:
    graph = coded_network(affine=affine, bits=8)
    x = random_input(graph, 3, 4)
    fixed = fixed_point(graph, x, 3)
    source, oracle = translate(graph, fixed=fixed, learn="classifier"), FixedLearner(fixed, rate=rate)
    library, learning = Library(source, fresh(tmp_path), flags=QUICK), source.learning
    assert isinstance(learning, IntegerLearning)
    held, largest = False, {one.place.key: one.largest for one in oracle.tensors}
    for update in range(8):
        x, target = random_input(graph, 40, 1, seed=update) * 4, update % 2
        expected, state = oracle.learn(x, [target]), library.new_state()
        for frame, logits in zip(fixed.frame(x).astype(np.int16)[:, 0], expected[:, 0], strict=True):
            found = library.learn_step(state, np.ascontiguousarray(frame), target, 3)
            np.testing.assert_array_equal(found, logits)
        assert library.update(rate, 0.0)
        memory = learning.memory(bytes(library.learned))
        assert learning.content(oracle.memory) == bytes(library.learned)
        for key, value in oracle.memory.items():
            np.testing.assert_array_equal(memory[key], value)
            held |= key in largest and np.abs(value).max() == largest[key]
        oracle = FixedLearner(fixed, rate=rate, memory=memory)
    assert held == (rate == 1.0)
    saved = bytes(library.learned)
    assert dumps(from_device(graph, saved, arithmetic="fixed")) == dumps(oracle.graph)
    for other, given, message in (
        (coded_network(1, affine=affine, bits=8), saved, "from another network"),
        (graph, saved[4:], "but in fixed point the struct has"),
        (graph, b"\xff" * len(saved), "from another network"),
    ):
        with pytest.raises(StateError, match=message):
            from_device(other, given, arithmetic="fixed")
    assert library.learn_step(library.new_state(), frame, 3, 3) is None
    assert not library.update(rate, 0.0)
    assert library.learn_step(library.new_state(), frame, 0, 3) is not None
    assert not library.update(1.1, 0.0)
    assert bytes(library.learned) == learning.content(oracle.memory)


def test_a_network_without_weights_yet_learns() -> None:
    graph = coded_network(affine=False)
    *body, layer = graph.nodes
    layer = replace(layer, tensors={"weight": np.zeros_like(layer.tensors["weight"])})
    graph, x = replace(graph, nodes=(*body, layer)), random_input(graph, 3, 6)
    learner, targets = FixedLearner(fixed_point(graph, x, 3), rate=0.05), np.arange(6) % 3
    for _ in range(60):
        logits = learner.learn(x, targets)
    assert (logits.mean(0).argmax(1) == targets).all()
    assert learner.graph.learned is not None
    assert learner.graph.learned.updates == 60


def test_what_fixed_point_cannot_train_is_refused() -> None:
    graph = coded_network()
    x = random_input(graph, 3, 1)
    fixed = fixed_point(graph, x, 3)
    for given in ({"learn": "affine"}, {"learn": "classifier", "momentum": 0.5}):
        with pytest.raises(HdlifError, match="only the classifier, without momentum"):
            translate(graph, fixed=fixed, **given)
    numbers = residual_network()
    with pytest.raises(HdlifError, match="float32 weights after quantised spikes"):
        FixedLearner(fixed_point(numbers, random_input(numbers, 4, 1), 4))
    *body, last = graph.nodes
    rows = {role: np.repeat(tensor, 3, 0) for role, tensor in last.tensors.items()}
    per_step = replace(graph, nodes=(*body, replace(last, tensors=rows)))
    with pytest.raises(HdlifError, match="the same at every step"):
        FixedLearner(fixed_point(per_step, x, 3))
    for given in ({"rate": 1.5}, {"rate": -0.1}):
        with pytest.raises(HdlifError, match="give a number in 0"):
            FixedLearner(fixed, **given)
    with pytest.raises(HdlifError, match="a class from 0 to 2"):
        FixedLearner(fixed).learn(x, [3])
    other = FixedLearner(fixed_point(coded_network(affine=False), x, 3))
    with pytest.raises(StateError, match="but this network"):
        FixedLearner(fixed, memory=other.memory)
