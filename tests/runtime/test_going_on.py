"""A sequence that goes on says after each step what a run to it says, and goes on from its bytes elsewhere."""

import hashlib
import struct

import numpy as np
import pytest

from deployed_graphs import random_input, residual_network
from hdlif.errors import StateError
from hdlif.runtime import Session
from hdlif.runtime.answers import answers
from hdlif.runtime.going_on import GoingOn, network_digest
from served import STEPS, TASKS, series


def whole(session: Session, x: np.ndarray) -> dict[str, object] | None:
    return next(answers(session.run(x, len(x)), session.task, session.labels))


@pytest.mark.parametrize("task", ["classify", "last", "regress", "multilabel"])
@pytest.mark.parametrize("pieces", [[1] * STEPS, [4, 2], [STEPS]])
def test_the_answer_after_each_step_is_that_of_a_run_to_it(task: str, pieces: list[int]) -> None:
    graph = series(task)
    session = Session(graph, 1)
    x = random_input(graph, STEPS, 1)
    going = GoingOn(session, network_digest(graph))
    said = []
    for piece in pieces:
        said += going.run(x[len(said) : len(said) + piece])
    assert said == [whole(session, x[:end]) for end in range(1, STEPS + 1)]
    assert going.t == STEPS


@pytest.mark.parametrize("task", ["sequence", "regress_each"])
def test_an_answer_to_each_step_is_that_of_the_step(task: str) -> None:
    graph = series(task)
    session = Session(graph, 1)
    x = random_input(graph, STEPS, 1)
    said = GoingOn(session, network_digest(graph)).run(x)
    of_all = whole(session, x)
    assert of_all is not None
    delay = TASKS[task].delay
    assert said[:delay] == [None] * delay
    if task == "sequence":
        assert [one["prediction"][0] for one in said[delay:] if one] == of_all["prediction"]
        assert [one["probability"][0] for one in said[delay:] if one] == of_all["probability"]
    else:
        for name, values in of_all["prediction"].items():
            assert [one["prediction"][name][0] for one in said if one] == values


@pytest.mark.parametrize("graph", [series("sequence"), residual_network()])
def test_it_goes_on_elsewhere_from_its_bytes(graph) -> None:  # type: ignore[no-untyped-def]
    digest = network_digest(graph)
    x = random_input(graph, 2 * STEPS, 1)
    here = GoingOn(Session(graph, 1), digest)
    for end in (1, 2, 5):
        here.run(x[here.t : end])
        content = here.to_bytes()
        there = GoingOn(Session(graph, 2), digest, content)
        assert (there.t, there.to_bytes()) == (end, content)
        assert there.run(x[end:]) == GoingOn(Session(graph, 1), digest, content).run(x[end:])
    begun = GoingOn(Session(graph, 1), digest)
    assert begun.run(x)[5:] == GoingOn(Session(graph, 1), digest, content).run(x[5:])


def test_every_changed_byte_and_every_length_is_refused() -> None:
    graph = series()
    session, digest = Session(graph, 1), network_digest(graph)
    going = GoingOn(session, digest)
    going.run(random_input(graph, 3, 1))
    content = going.to_bytes()
    for place in range(len(content)):
        changed = bytearray(content)
        changed[place] ^= 1
        with pytest.raises(StateError):
            GoingOn(session, digest, bytes(changed))
    for length in range(len(content)):
        with pytest.raises(StateError):
            GoingOn(session, digest, content[:length])
    with pytest.raises(StateError):
        GoingOn(session, digest, content + b"\0")


def sealed(content: bytes) -> bytes:
    return content + hashlib.sha256(content).digest()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda body: body[:8] + struct.pack("<I", 2) + body[12:], "version 2"),
        (lambda body: body[:12] + bytes(32) + body[44:], "digest 0000000000000000"),
        (lambda body: body[:44] + struct.pack("<q", -1) + body[52:], "steps out of range"),
        (lambda body: body[:44] + struct.pack("<q", 2**62) + body[52:], "steps out of range"),
        (lambda body: body[:-4] + struct.pack("<f", float("nan")), "not finite"),
        (lambda body: body[:-4] + struct.pack("<f", float("inf")), "not finite"),
        (lambda body: body[:-4], "not those of this network"),
        (lambda body: body + bytes(4), "not those of this network"),
        (lambda body: body[:-1], "not those of this network"),
    ],
)
def test_lies_under_a_right_digest_are_refused(change, words: str) -> None:  # type: ignore[no-untyped-def]
    graph = series()
    session, digest = Session(graph, 1), network_digest(graph)
    body = GoingOn(session, digest).to_bytes()[:-32]
    GoingOn(session, digest, sealed(body))
    with pytest.raises(StateError, match=words):
        GoingOn(session, digest, sealed(change(body)))


def test_a_state_of_another_network_is_refused() -> None:
    one, other = series(seed=0), series(seed=1)
    content = GoingOn(Session(one, 1), network_digest(one)).to_bytes()
    with pytest.raises(StateError, match="go on with the same file"):
        GoingOn(Session(other, 1), network_digest(other), content)


def test_outputs_that_are_not_finite_are_no_answer() -> None:
    graph = residual_network()
    going = GoingOn(Session(graph, 1), network_digest(graph))
    x = np.full((2, 1, *graph.input.shape), 3e38, np.float32)
    assert going.run(x) == [None, None]
