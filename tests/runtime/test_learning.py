"""The compiled learner beside its oracle: the same bits in logits, states, weights, latents and velocities."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cases import every
from deployed_graphs import Builder, every_op, random_input, residual_network, two_streams
from hdlif._native import instruction_sets
from hdlif.errors import ArtefactError, HdlifError, LimitError
from hdlif.graph.artefact import INPUT, Graph, dumps, load
from hdlif.graph.artefact.io import digest_of
from hdlif.graph.graph import Learned
from hdlif.graph.learning import LEVELS, Level, with_classes
from hdlif.runtime import Session
from hdlif.runtime.learning import Learner, Learning, LearningRate
from hdlif.runtime.reference_learning import ReferenceLearner

RATE = LearningRate(0.05, 0.1, 0.5)


def every_trained_op() -> Graph:
    """Ops with a backward pass, all encodings, groups, dilation, strides that leave rows over, each kind of rows."""
    b = Builder((3, 9, 8), 3, 0)
    x = b.quantise(b.hd_lif(b.affine(b.conv(INPUT, 4, encoding="float32"), per_step=True), per_channel=True))
    for i, encoding in enumerate(("ternary", "binary", "int2", "int4", "int8")):
        inner = b.conv(x, 4, encoding=encoding, groups=1 + i % 2, padding=(1 + i % 2, 2), dilation=(1 + i % 2, 2))
        x = b.add("slice", b.concat(b.quantise(b.hd_lif(b.affine(inner, scale=0.1))), x), begin=1, end=5)
    x = b.add("upsample", x, factor=(2, 1))
    x = b.concat(
        b.add("max_pool", x, kernel=(3, 2), stride=(2, 1), padding=(1, 1)),
        b.add("max_pool", x, kernel=(3, 2), stride=(2, 1), padding=(1, 1)),
    )
    x = b.parallel(b.affine(b.add("sum_pool", x, kernel=(2, 3), stride=(3, 2)), scale=0.2), per_channel=True)
    x = b.quantise(b.affine(b.conv(x, 5, stride=(2, 2), encoding="int4"), scale=0.05))
    pooled = b.affine(b.add("add", b.add("global_sum_pool", x), b.add("global_sum_pool", x)), scale=0.3)
    return b.graph(pooled)


def assert_learns_alike(
    graph: Graph, level: Level, *, updates: int = 3, batch: int = 2, instructions: str | None = None
) -> None:
    rng = np.random.default_rng(0)
    both: list[Learning] = [
        ReferenceLearner(graph, level, rate=RATE),
        Learner(graph, level, rate=RATE, threads=2, instructions=instructions),
    ]
    for update in range(updates):
        x = random_input(graph, graph.time_steps, batch, seed=update)
        targets = rng.integers(0, len(graph.labels), batch)
        states: list = [None, None]
        for t, frame in enumerate(x):
            given = targets if t % 2 == 0 or t == len(x) - 1 else None
            found = [one.step(frame, state, targets=given) for one, state in zip(both, states, strict=True)]
            np.testing.assert_array_equal(found[1][0], found[0][0], strict=True)
            states = [state for _, state in found]
            assert states[0].keys() == states[1].keys()
            for name, value in states[0].items():
                np.testing.assert_array_equal(states[1][name], value, err_msg=name, strict=True)
        for one in both:
            one.update()
        for name, value in both[0].memory.items():
            np.testing.assert_array_equal(both[1].memory[name], value, err_msg=f"{name}, update {update}", strict=True)
    assert dumps(both[1].graph) == dumps(both[0].graph) != dumps(graph)


def test_every_op_and_encoding_learns_as_the_oracle_does() -> None:
    graph = every_trained_op()
    for level in LEVELS:
        assert_learns_alike(graph, level, updates=2)
    for instructions in instruction_sets():
        assert_learns_alike(graph, "all", updates=1, batch=1, instructions=instructions)


@every(make=(residual_network, two_streams), seed=range(3))
def test_networks_learn_as_the_oracle_does(make: type, seed: int) -> None:
    graph = make(seed)
    level: Level = "all" if make is residual_network else "classifier"
    assert_learns_alike(graph, level)


def read_out(encoding: str) -> Graph:
    """Layers after the classifier: rows per step and channel, rows that all channels share, a residual sum, a pool."""
    b = Builder((3, 6, 5), 3, 0)
    x = b.quantise(b.hd_lif(b.affine(b.conv(INPUT, 4, encoding="float32"))))
    x = b.conv(x, 3, kernel=(1, 1), padding=(0, 0), encoding=encoding)
    b.nodes[-1] = replace(b.nodes[-1], attributes={**b.nodes[-1].attributes, "role": "classifier"})
    x = b.parallel(b.affine(x, per_step=True, scale=0.4), per_channel=True)
    logits = b.add("global_sum_pool", b.hd_lif(b.add("add", x, x)))
    return Graph(tuple(b.nodes), logits, 3, b.record(), ("a", "b", "c"))


@every("encoding", of=[("float32",), ("ternary",), ("int4",)])
def test_a_new_class_is_learned_and_the_logits_of_the_others_keep_their_bits(encoding: str) -> None:
    for graph in (read_out(encoding), residual_network(), every_op()):
        wider, x = with_classes(graph, ["new", "newer"]), random_input(graph, graph.time_steps, 2)
        np.testing.assert_array_equal(Session(wider).run(x)[..., :3], Session(graph).run(x))
        assert wider.labels == (*graph.labels, "new", "newer")
        assert_learns_alike(wider, "classifier", updates=2)
    for targets in ([3, 0], [0, 3]):
        learner = Learner(with_classes(residual_network(), ["new"]), rate=LearningRate(0.05))
        x = random_input(learner.graph, 4, 2)
        for _ in range(150):
            logits = learner.learn(x, targets)
        assert logits.mean(0).argmax(1).tolist() == targets


def test_classes_that_are_not_new_or_cannot_be_added_are_refused_by_name() -> None:
    graph = residual_network()
    for labels in (["x", graph.labels[1]], ["x", "x"]):
        with pytest.raises(HdlifError, match="is not new"):
            with_classes(graph, labels)
    with pytest.raises(HdlifError, match="binary weights have no 0"):
        with_classes(read_out("binary"), ["new"])
    with pytest.raises(HdlifError, match="no layer of weights with a row per class"):
        with_classes(replace(graph, nodes=graph.nodes[:1], output=graph.nodes[0].name), ["new"])
    b = Builder((3, 6, 5), 3, 0)
    two = b.linear(b.linear(b.add("global_sum_pool", b.hd_lif(INPUT)), 3), 3)
    with pytest.raises(ArtefactError, match="does not fit"):
        with_classes(Graph(tuple(b.nodes), two, 3, b.record(), ("a", "b", "c")), ["new"])


def test_a_recurrent_network_trains_what_reads_the_step_before_and_nothing_through_it() -> None:
    b = Builder((3, 5, 4), 3, 0)
    stem = b.affine(b.conv(INPUT, 4, encoding="float32"))
    graph = b.graph(b.recurrent(stem))
    assert_learns_alike(graph, "all")


def test_it_saves_a_network_that_runs_as_it_does(tmp_path: Path) -> None:
    graph = residual_network()
    x = random_input(graph, 4, 2)
    learner = Learner(graph, "all", rate=RATE)
    first = learner.learn(x, [1, 0])
    np.testing.assert_array_equal(first, Session(graph, 1).run(x), strict=True)
    learner.save(tmp_path / "adapted.hdlif.safetensors")
    saved = load(tmp_path / "adapted.hdlif.safetensors")
    assert dumps(saved) == dumps(learner.graph) != dumps(graph)
    assert saved.learned == Learned(digest_of(graph), "all", 1)
    again = Learner(saved)
    again.learn(x, [1, 0])
    assert again.graph.learned == Learned(digest_of(saved), "classifier", 1)
    state, steps = None, []
    for frame in x:
        logits, state = learner.step(frame, state)
        steps.append(logits)
    np.testing.assert_array_equal(np.stack(steps), Session(saved, 1).run(x), strict=True)


def test_a_random_step_runs_no_step_after_it() -> None:
    graph = residual_network()
    x = random_input(graph, 4, 2)
    learner = Learner(graph, "affine")
    assert len(learner.learn(x, [1, 0], steps=range(1, 2))) == 2
    for steps in (range(4, 5), range(0)):
        with pytest.raises(HdlifError, match="give some of the steps 0 to 3"):
            learner.learn(x, [1, 0], steps=steps)


def test_memory_of_learning_is_exchanged_with_the_oracle() -> None:
    graph = residual_network()
    x = random_input(graph, 4, 2)
    learner = Learner(graph, "all", rate=RATE)
    learner.learn(x, [1, 0])
    oracle = ReferenceLearner(graph, "all", rate=RATE, memory=learner.memory)
    again = Learner(graph, "all", rate=RATE, memory=oracle.memory)
    for one in (learner, oracle, again):
        one.learn(x, [0, 1])
    assert learner.updates == again.updates == 2
    assert dumps(learner.graph) == dumps(oracle.graph) == dumps(again.graph)


def test_weights_that_would_be_infinite_stay() -> None:
    graph = residual_network()
    learner = Learner(graph, "all", rate=LearningRate(1e6))
    x = np.full((1, 1, *graph.input.shape), 1e36, np.float32)
    logits, _ = learner.step(x[0])
    with pytest.raises(HdlifError, match="stay as they were"):
        learner.learn(x, logits.argmin(1), steps=range(1))
    assert dumps(learner.graph) == dumps(graph)


def test_the_classifier_of_every_op_learns() -> None:
    assert_learns_alike(every_op(), "classifier", updates=1)


def test_a_step_keeps_the_limits_of_a_call() -> None:
    graph = residual_network()
    least = Session(graph, 1).weight_bytes
    with pytest.raises(LimitError, match="max_bytes"):
        Learner(graph, max_bytes=least // 2)
    learner = Learner(graph, max_bytes=least + 200_000)
    frame = np.zeros((64, *graph.input.shape), np.float32)
    with pytest.raises(LimitError, match="max_bytes"):
        learner.step(frame, targets=[0] * 64)
    learner.step(frame[:1], targets=[0])
    learner.update()


def test_a_gradient_whose_squares_are_infinite_is_refused_by_both() -> None:
    """Of low-bit weights, whose update is measured by the root mean square."""
    b = Builder((2, 1, 1), 1, 0)
    logits = b.linear(b.add("flatten", INPUT), 2, encoding="ternary")
    graph = Graph(tuple(b.nodes), logits, 1, b.record(), ("a", "b"))
    x = np.full((1, 1, 2, 1, 1), 1e25, np.float32)
    for kind in (ReferenceLearner, Learner):
        learner = kind(graph, rate=LearningRate(0))
        out, _ = learner.step(x[0])
        with np.errstate(over="ignore"), pytest.raises(HdlifError, match="stay as they were"):
            learner.learn(x, out.argmin(1))
        assert dumps(learner.graph) == dumps(graph), kind
