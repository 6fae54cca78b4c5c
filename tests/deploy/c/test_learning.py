"""A network in C that goes on learning: the oracle's bits, true sizes, and what it refuses."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from c_networks import fresh
from cases import every
from deployed_graphs import Builder, random_input, residual_network, two_streams
from hdlif.deploy.c import from_device, translate
from hdlif.deploy.c.building import FLAGS, Library
from hdlif.deploy.c.learning import learning_of
from hdlif.errors import HdlifError, StateError
from hdlif.graph.artefact import INPUT, Graph, dumps
from hdlif.graph.learning import LEVELS, Level, with_classes
from hdlif.runtime.learning import LearningRate
from hdlif.runtime.reference_learning import ReferenceLearner
from runtime.test_learning import every_trained_op

QUICK = tuple(flag for flag in FLAGS if flag != "-O2")
pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler is installed")


def assert_learns_as_the_oracle(
    graph: Graph, level: Level, folder: Path, *, momentum: float = 0.0, updates: int = 2, flags: tuple = QUICK
) -> None:
    """Two sequences an update, of which every other step is learned from, and one step after the last update."""
    rate, outputs = LearningRate(0.05, 0.1, momentum), len(graph.labels)
    library = Library(translate(graph, learn=level, momentum=momentum), folder, flags=flags)
    learning = learning_of(graph, level, momentum)
    oracle, rng = ReferenceLearner(graph, level, rate=rate), np.random.default_rng(0)
    for update in range(updates):
        x = random_input(graph, graph.time_steps, 2, seed=update)
        for k, target in enumerate(rng.integers(0, outputs, 2)):
            state, expected = library.new_state(), None
            for t, frame in enumerate(x[:, k]):
                learns = t % 2 == 0 or t == len(x) - 1
                logits, expected = oracle.step(frame[None], expected, targets=[target] if learns else None)
                given = (state, np.ascontiguousarray(frame))
                found = library.learn_step(*given, target, outputs) if learns else library.step(*given, outputs)
                np.testing.assert_array_equal(found, logits[0], strict=True)
        oracle.update()
        assert library.update(rate.floats, rate.latents)
        memory = learning.memory(bytes(library.learned))
        assert memory.keys() == oracle.memory.keys()
        for name, value in oracle.memory.items():
            np.testing.assert_array_equal(memory[name], value, err_msg=f"{name}, update {update}", strict=True)
        assert learning.content(oracle.memory) == bytes(library.learned)
    assert dumps(from_device(graph, bytes(library.learned), level, momentum=momentum)) == dumps(oracle.graph)
    frame = random_input(graph, 1, 1)[0, 0]
    np.testing.assert_array_equal(library.step(library.new_state(), frame, outputs), oracle.step(frame[None])[0][0])


def test_every_op_and_encoding_learns_as_the_oracle_does(tmp_path: Path) -> None:
    for level in LEVELS:
        assert_learns_as_the_oracle(every_trained_op(), level, fresh(tmp_path), momentum=0.5 * (level == "all"))


@every(make=(residual_network, two_streams), seed=range(2))
def test_networks_learn_as_the_oracle_does(make: type, seed: int, tmp_path: Path) -> None:
    level: Level = "all" if make is residual_network else "classifier"
    assert_learns_as_the_oracle(make(seed), level, fresh(tmp_path), momentum=0.9 * seed, updates=3, flags=FLAGS)


def test_a_class_that_was_added_learns_as_in_the_oracle(tmp_path: Path) -> None:
    assert_learns_as_the_oracle(with_classes(residual_network(), ["new"]), "last-block", tmp_path)


def test_what_it_refuses_changes_nothing(tmp_path: Path) -> None:
    graph = residual_network()
    library, frame = Library(translate(graph, learn="all"), tmp_path, flags=QUICK), random_input(graph, 1, 1)[0, 0]
    before = bytes(library.learned)
    assert not library.update(0.1, 0.1)
    assert library.learn_step(library.new_state(), frame, len(graph.labels), 3) is None
    assert not library.update(0.1, 0.1)
    assert library.learn_step(library.new_state(), frame, 0, 3) is not None
    assert not library.update(np.inf, 0.1)
    # the refused update has forgotten its gradients
    assert not library.update(0.1, 0.1)
    assert bytes(library.learned) == before
    with pytest.raises(StateError, match="the struct of level = classifier has"):
        learning_of(graph, "classifier").memory(before)
    with pytest.raises(StateError, match="from another network"):
        from_device(residual_network(1), before, "all")


def test_networks_that_cannot_learn_are_refused() -> None:
    b = Builder((2, 4, 4), 3, 0)
    with pytest.raises(HdlifError, match="comparisons"):
        translate(b.graph(b.lif(b.conv(INPUT, 3))), learn="all")


def test_memory_does_not_grow_with_the_number_of_steps() -> None:
    """What is trained has a row for each step here, so that there are more parameters."""
    sizes = set()
    for steps in (2, 64):
        source = translate(residual_network(time_steps=steps), learn="last-block")
        sizes.add((source.learning.work.size, source.state_bytes, source.work_bytes))
    assert len(sizes) == 1
