"""A sequence that goes on says after each step what a run to it says, and goes on from its bytes elsewhere."""

import hashlib
import io
import struct

import numpy as np
import pytest

from c_interface import OF_THE_EXTENSION
from cases import every
from deployed_graphs import random_input, residual_network
from hdlif.errors import StateError
from hdlif.graph.artefact import Graph, InputRecord, dumps
from hdlif.runtime import Session
from hdlif.runtime.answers import answers
from hdlif.runtime.files import Given
from hdlif.runtime.going_on import GoingOn
from hdlif.runtime.inputs import read_steps
from served import STEPS, TASKS, series


def whole(session: Session, x: np.ndarray) -> dict[str, object] | None:
    return next(answers(session.run(x, len(x)), session.task, session.labels))


@every(task=["classify", "last", "regress", "multilabel"], pieces=[[1] * STEPS, [4, 2], [STEPS]])
def test_the_answer_after_each_step_is_that_of_a_run_to_it(task: str, pieces: list[int]) -> None:
    graph = series(task)
    session = Session(graph, 1)
    x = random_input(graph, STEPS, 1)
    going = GoingOn(session)
    said = []
    for piece in pieces:
        said += going.run(x[len(said) : len(said) + piece])
    assert said == [whole(session, x[:end]) for end in range(1, STEPS + 1)]
    assert going.t == STEPS


@every(task=["sequence", "regress_each"])
def test_an_answer_to_each_step_is_that_of_the_step(task: str) -> None:
    graph = series(task)
    session = Session(graph, 1)
    x = random_input(graph, STEPS, 1)
    said = GoingOn(session).run(x)
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


@every(graph=[series("sequence"), residual_network()])
def test_it_goes_on_elsewhere_from_its_bytes(graph: Graph) -> None:
    x = random_input(graph, 2 * STEPS, 1)
    here = GoingOn(Session(graph, 1))
    for end in (1, 2, 5):
        here.run(x[here.t : end])
        content = here.to_bytes()
        there = GoingOn(Session(graph, 2), content)
        assert (there.t, there.to_bytes()) == (end, content)
        assert there.run(x[end:]) == GoingOn(Session(graph, 1), content).run(x[end:])
    begun = GoingOn(Session(graph, 1))
    assert begun.run(x)[5:] == GoingOn(Session(graph, 1), content).run(x[5:])


def test_every_changed_byte_and_every_length_is_refused() -> None:
    graph = series()
    session = Session(graph, 1)
    going = GoingOn(session)
    going.run(random_input(graph, 3, 1))
    content = going.to_bytes()
    places = range(len(content))
    changed = [content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :] for place in places]
    for other in (*changed, *(content[:place] for place in places), content + b"\0"):
        with pytest.raises(StateError):
            GoingOn(session, other)


def test_lies_under_a_right_digest_are_refused() -> None:
    """Version, network and steps (hdlif.h), a value that is not finite, and bytes that are too few or too many."""

    def sealed(content: bytes) -> bytes:
        return content + hashlib.sha256(content).digest()

    session = Session(series(), 1)
    body = GoingOn(session).to_bytes()[:-32]
    GoingOn(session, sealed(body))
    for lie in (
        body[:7] + b"\1" + body[8:],
        body[:8] + bytes(32) + body[40:],
        body[:40] + struct.pack("<q", -1) + body[48:],
        body[:40] + struct.pack("<q", 2**62) + body[48:],
        body[:-4] + struct.pack("<f", float("nan")),
        body[:48] + struct.pack("<f", float("inf")) + body[52:],
        body[:-4],
        body + bytes(4),
        body[:-1],
    ):
        with pytest.raises(StateError):
            GoingOn(session, sealed(lie))
    with pytest.raises(StateError):
        GoingOn(Session(series(seed=1), 1), sealed(body))


def test_the_bytes_are_those_of_a_stream_of_the_c_interface() -> None:
    """Both ways: each goes on from the other's, of answers that are read off the mean and of others."""
    for task in ("classify", "sequence"):
        graph = series(task)
        x = random_input(graph, 2 * STEPS, 1)
        here, there = GoingOn(Session(graph, 1)), OF_THE_EXTENSION.network(dumps(graph)).stream()
        here.run(x[:STEPS])
        there.run(np.ascontiguousarray(x[:STEPS, 0]))
        assert here.to_bytes() == there.save()
        said = here.run(x[STEPS:])
        assert GoingOn(Session(graph, 1), there.save()).run(x[STEPS:]) == said
        there.run(np.ascontiguousarray(x[STEPS:, 0]))
        assert here.to_bytes() == there.save()


def test_outputs_that_are_not_finite_are_no_answer() -> None:
    graph = residual_network()
    going = GoingOn(Session(graph, 1))
    x = np.full((2, 1, *graph.input.shape), 3e38, np.float32)
    assert going.run(x) == [None, None]


@every("channels", "shape", "steps", of=[(1, (6,), 6), (1, (6, 1), 6), (2, (2,), 1), (2, (6, 2), 6)])
def test_an_array_of_one_axis_is_a_step_of_several_channels_or_steps_of_one(
    channels: int, shape: tuple[int, ...], steps: int
) -> None:
    body = io.BytesIO()
    np.save(body, np.arange(np.prod(shape), dtype=np.float32).reshape(shape))
    record = InputRecord((channels, 1, 1), (0.0,) * channels, (1.0,) * channels, kind="series")
    assert read_steps(Given("body", ".npy", body.getvalue()), record, 8).shape == (steps, 1, channels, 1, 1)
