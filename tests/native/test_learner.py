"""The learner of the C interface gives the bits of `hdlif.Learner`, and refuses what it cannot learn from."""

import numpy as np
import pytest

from c_interface import ARGUMENT, INTERRUPTED, LIMIT, OF_THE_EXTENSION, CallError, GoOn, Learner
from cases import every
from deployed_graphs import random_input, residual_network, two_streams
from hdlif.graph.artefact import Graph, dumps
from hdlif.graph.learning import Level
from hdlif.runtime import Session, learning
from hdlif.runtime.learning import LearningRate, numbered

RATE = LearningRate(0.05, 0.1, 0.5)


def learner(graph: Graph, level: Level = "classifier", **options: object) -> Learner:
    rate = (RATE.floats, RATE.latents, RATE.momentum)
    places = learning.trained(graph, level)
    return Learner(OF_THE_EXTENSION, dumps(graph), *numbered(graph, places), rate, **options)


@every("make", "level", of=[(residual_network, "all"), (residual_network, "last-block"), (two_streams, "classifier")])
def test_steps_and_updates_give_the_bits_of_python(make: type, level: Level) -> None:
    graph: Graph = make()
    own, expected = learner(graph, level), learning.Learner(graph, level, rate=RATE)
    for update in range(3):
        x, targets = random_input(graph, graph.time_steps, 2, seed=update), [update % len(graph.labels), 0]
        state = None
        for t, frame in enumerate(x):
            given = targets if t % 2 == 0 else None
            logits, state = expected.step(frame, state, targets=given)
            np.testing.assert_array_equal(own.step(frame, t, len(graph.labels), given), logits)
        own.update()
        expected.update()
    x = random_input(graph, graph.time_steps, 3)
    logits = own.network().run(x, len(x))
    np.testing.assert_array_equal(logits, Session(expected.graph).run(x))
    assert not np.array_equal(logits, Session(graph).run(x))


def test_what_is_no_step_target_or_tensor_is_refused_and_changes_nothing() -> None:
    graph = residual_network()
    own, outputs = learner(graph), len(graph.labels)
    x = random_input(graph, 1, 2)[0]

    def refused(status: int, call: object) -> None:
        with pytest.raises(CallError) as error:
            call()  # type: ignore[operator]
        assert error.value.status == status

    refused(ARGUMENT, own.update)
    refused(ARGUMENT, lambda: own.step(x, 1, outputs))
    for classes in ([0, outputs], [-1, 0]):
        refused(ARGUMENT, lambda classes=classes: own.step(x, 0, outputs, classes))
    own.step(x, 0, outputs)
    refused(ARGUMENT, lambda: own.step(x[:1], 1, outputs))
    refused(ARGUMENT, own.update)
    own.step(x, 0, outputs, [0, 1])
    own.update()
    with pytest.raises(CallError, match="give 0 to begin"):
        own.step(x, 5, outputs)
    places, needed = numbered(graph, learning.trained(graph, "classifier"))
    for changed in (([(len(needed), -1, False)], needed), ([(0, 99, False)], needed), (places, needed[1:])):
        refused(ARGUMENT, lambda changed=changed: Learner(OF_THE_EXTENSION, dumps(graph), *changed, (0.1, 0.1, 0)))
    for rate in ((float("nan"), 0, 0), (0, 2, 0), (0, 0, 1)):
        refused(ARGUMENT, lambda rate=rate: Learner(OF_THE_EXTENSION, dumps(graph), places, needed, rate))
    limited = learner(graph, max_operations=10**9, max_bytes=10**7)
    refused(LIMIT, lambda: limited.step(np.zeros((20_000, *x.shape[1:]), np.float32), 0, outputs))
    no = GoOn(lambda context: 0)
    stopped = learner(graph, go_on=no)
    many = np.zeros((60_000, *x.shape[1:]), np.float32)
    refused(INTERRUPTED, lambda: stopped.step(many, 0, outputs))
    refused(ARGUMENT, stopped.update)
