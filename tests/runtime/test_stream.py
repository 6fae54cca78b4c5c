"""What is said of samples as they come, beside `Session.run` on each window as a whole."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any

import numpy as np
import pytest

from cases import every, naming
from deployed_graphs import residual_network
from hdlif.errors import HdlifError, InputError, LimitError, ShapeError, StateError
from hdlif.graph.artefact import Graph, TaskRecord
from hdlif.inputs.resampling import resampled
from hdlif.inputs.series import shown, windows
from hdlif.inputs.sounds import log_mel
from hdlif.runtime import Decision, Session, Stream, probabilities
from hdlif.runtime.answers import answers
from hdlif.runtime.session import Sequence
from hostile import one_printable_line
from resource_limits import at_most
from series_networks import KINDS, SOUND, STEPS, series_network


def readings(count: int, channels: int = 2, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.5, 4, (count, channels)).astype(np.float32)


def noise(count: int) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 0.2, count).astype(np.float32)


def pushed(stream: Stream, samples: np.ndarray, size: int) -> list[Decision]:
    found = [stream.push(samples[begin : begin + size]) for begin in range(0, len(samples), size)]
    return [decision for some in found for decision in some]


def outputs(graph: Graph, steps: np.ndarray) -> np.ndarray:
    """[T, 1, classes] of the channels of each step [T, C]."""
    return Session(graph).run(shown(steps, graph.input.mean, graph.input.std)[:, None])


def answer(graph: Graph, found: np.ndarray) -> dict[str, Any]:
    (said,) = answers(found, graph.task, graph.labels)
    assert said is not None
    return said


@dataclass
class Windows:
    """Samples, the first ones of their windows of `length`, and how a window is shown to the network."""

    graph: Graph
    x: np.ndarray
    begins: Iterable[int]
    length: int = STEPS
    hop: int | None = None
    show: Callable[[np.ndarray], np.ndarray] = lambda x: x


LIVELY: dict[str, Any] = {"mean": (-2.0, -2.0), "std": (0.5, 0.5)}
"""A record of frames under which the outputs for noise differ from window to window."""


def sounds(clips: str, spacing: int, hop: int | None) -> Windows:
    record, x = replace(SOUND, clips=clips, every=spacing), noise(3000)
    begins = windows(len(x), 1600, hop or (spacing if clips == "windows" else 1600))
    return Windows(series_network("conv1d", sound=record, **LIVELY), x, begins, 1600, hop, lambda x: log_mel(x, record))


RESAMPLED = series_network(rates=(50, 20), windows=(30, 10))
WINDOWS = {
    **{
        f"{kind}, {hop}": Windows(series_network(kind), readings(60), windows(60, STEPS, hop), hop=hop)
        for kind in KINDS
        for hop in (None, 5, 17)
    },
    "resampled": Windows(RESAMPLED, readings(95), windows(95, 30, 10), 30, show=lambda x: resampled(x, 50, 20)),
    "clips": sounds("first", 1600, None),
    "clips by windows": sounds("windows", 700, None),
    "clips by hop": sounds("first", 1600, 300),
}


@every(case=WINDOWS, size=[7, 130, 10_000])
def test_windows_are_answered_for_as_a_run_of_each(case: Windows, size: int) -> None:
    found = pushed(Stream(Session(case.graph), hop=case.hop), case.x, size)
    assert [decision.window for decision in found] == list(range(len(list(case.begins))))
    for decision, begin in zip(found, case.begins, strict=True):
        assert (decision.samples, decision.step) == ((begin, begin + case.length), STEPS)
        assert decision.answer == answer(case.graph, outputs(case.graph, case.show(case.x[begin:][: case.length])))
    assert len({tuple(decision.answer["logits"]) for decision in found if decision.answer}) == len(found)


def test_an_answer_comes_with_the_sample_that_completes_the_window() -> None:
    stream = Stream(Session(series_network()))
    assert [len(stream.push(row)) for row in readings(2 * STEPS)] == 2 * [*(STEPS - 1) * [0], 1]
    sound = Stream(Session(series_network(sound=SOUND)))
    assert [len(sound.push(part)) for part in np.split(noise(1600), [1599])] == [0, 1]
    # 1600 samples are 12 hops of 128 and 64 more, which no step needs.
    early = Stream(Session(series_network(sound=replace(SOUND, frame=128))))
    parts = np.split(noise(1600), [12 * 128 - 1, 12 * 128])
    assert [[one.samples for one in early.push(part)] for part in parts] == [[], [(0, 1600)], []]


def test_windows_are_cut_as_those_of_the_training() -> None:
    cut = series_network(windows=(STEPS, 3))
    assert (Stream(Session(cut)).length, Stream(Session(cut)).hop) == (STEPS, 3)
    assert Stream(Session(cut), hop=4).hop == 4
    assert Stream(Session(series_network())).hop == STEPS
    # Of resampled series without windows the length follows from the steps.
    assert Stream(Session(series_network(rates=(50, 20)))).length == 30


@every(kind=list(KINDS), combine=["mean", "last"])
def test_with_a_confidence_the_answer_comes_at_the_first_step_that_reaches_it(kind: str, combine: str) -> None:
    graph, x = series_network(kind, task=TaskRecord(combine=combine)), readings(5 * STEPS, seed=3)
    seen = set()
    for confidence in (0.0, 0.4, 0.6, 0.8, 0.95, 1.0):
        found = pushed(Stream(Session(graph), confidence=confidence), x, 1)
        assert [decision.samples[0] for decision in found] == list(range(0, len(x), STEPS))
        for decision, begin in zip(found, range(0, len(x), STEPS), strict=True):
            whole = outputs(graph, x[begin : begin + STEPS])
            # of the mean so far, or of each step for itself
            chances = probabilities(whole)[:, 0] if combine == "mean" else probabilities(whole[None, :, 0])[0]
            reached = [step for step, row in enumerate(chances, 1) if row.max() >= confidence]
            step = reached[0] if reached else STEPS
            assert (decision.step, decision.answer) == (step, answer(graph, whole[:step]))
            assert decision.answer["probability"] >= confidence or step == STEPS
            seen.add(step)
    assert len(seen) > 4


def test_a_window_that_is_answered_for_early_computes_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    stream, steps, plain = Stream(Session(series_network()), confidence=0.0), [], Sequence.step
    monkeypatch.setattr(Sequence, "step", lambda self, frame: (steps.append(frame), plain(self, frame))[1])
    assert [decision.step for decision in pushed(stream, readings(3 * STEPS), 1)] == [1, 1, 1]
    assert len(steps) == 3


@every(rate=[16000, 11025, 4000])
def test_a_sound_of_another_rate_is_resampled_as_a_file_is(rate: int) -> None:
    graph, x = series_network("conv1d", sound=SOUND, **LIVELY), noise(rate)
    stream = Stream(Session(graph), rate=rate)
    found = pushed(stream, x, 100) + stream.end()
    assert len({str(decision.answer) for decision in found}) == len(found)
    whole = resampled(x, rate, 8000)
    for decision, begin in zip(found, windows(len(whole), 1600, None), strict=True):
        assert decision.answer == answer(graph, outputs(graph, log_mel(whole[begin : begin + 1600], SOUND)))
        assert decision.samples[0] == begin * rate // 8000
        assert 0 <= decision.samples[1] - (begin + 1600) * rate / 8000 < 1


def test_pcm_of_16_bits_is_a_sound_too() -> None:
    graph, x = series_network(sound=SOUND), (noise(1600) * 30000).astype(np.int16)
    (whole,), (floats,) = (Stream(Session(graph)).push(one) for one in (x, x / 32768))
    assert whole.answer == floats.answer


def test_the_end_leaves_open_windows_unanswered_unless_it_is_asked() -> None:
    graph, x = series_network(), readings(31)
    stream, asked = Stream(Session(graph), hop=8), Stream(Session(graph), hop=8)
    for one in (stream, asked):
        assert [decision.window for decision in one.push(x)] == [0, 1, 2]
        assert [(left.window, left.samples, left.step) for left in one.unanswered] == [(3, (24, 36), 7)]
    assert stream.end() == []
    (decision,) = asked.end(partial=True)
    assert (decision.window, decision.samples, decision.step, decision.partial) == (3, (24, 36), 7, True)
    assert decision.answer == answer(graph, outputs(graph, x[24:31]))
    assert decision.as_dict()["partial"] is True
    assert asked.end(partial=True) == []
    with pytest.raises(StateError, match="begin another one"):
        stream.push(x)


def test_other_tasks_are_answered_for_as_their_records_say() -> None:
    late = series_network(task=TaskRecord("sequence", combine="each", delay=3))
    for steps, said in ((3, []), (4, [4])):
        stream = Stream(Session(late))
        stream.push(readings(steps))
        assert [one.step for one in stream.end(partial=True)] == said
    for task in (
        TaskRecord("sequence", "each", delay=2),
        TaskRecord("regress", "mean", mean=(1.0, 2.0, 3.0), std=(1.0, 2.0, 3.0)),
        TaskRecord("multilabel"),
    ):
        graph, x = series_network(task=task), readings(STEPS)
        (decision,) = Stream(Session(graph)).push(x)
        assert decision.answer == answer(graph, outputs(graph, x))
        with pytest.raises(HdlifError, match=f"the network's task is {task.kind}; remove it"):
            Stream(Session(graph), confidence=0.5)


def test_a_forecast_is_printed_for_the_steps_to_come() -> None:
    task = TaskRecord("regress", "each", mean=(1.0, 2.0, 3.0), std=(1.0, 2.0, 3.0), ahead=2)
    graph, x = series_network(task=task), readings(STEPS)
    (decision,) = Stream(Session(graph)).push(x)
    assert decision.answer is not None
    values = decision.answer["prediction"]
    assert [len(of_channel) for of_channel in values.values()] == [STEPS] * 3
    later = ", ".join(f"{name} {values[name][-2]:.6g} {values[name][-1]:.6g}" for name in graph.labels)
    assert str(decision).startswith(f"0 [0:{STEPS}]: next 2 steps: {later}, step {STEPS}")


def test_a_decision_is_timed_from_when_the_sample_was_at_hand() -> None:
    stream, x = Stream(Session(series_network())), readings(STEPS)
    (decision,) = stream.push(x, since=perf_counter() - 5)
    assert 5000 < decision.ms < 60_000
    (decision,) = stream.push(x)
    assert 0 < decision.ms < 5000
    assert decision.answer is not None
    expected = {"window": 1, "samples": [12, 24], "step": 12, **decision.answer, "ms": round(decision.ms, 4)}
    assert decision.as_dict() == expected
    assert str(decision).startswith("1 [12:24]: ")


def test_an_answer_that_is_not_finite_is_none_and_the_next_window_begins_anew() -> None:
    graph, x = series_network(), readings(2 * STEPS)
    x[:STEPS] = 3e38
    first, second = Stream(Session(graph), confidence=0.99).push(x)
    assert first.answer is None
    assert second.answer is not None
    assert str(first).startswith("0 [0:12]: no finite prediction, step 12")


def test_what_is_refused_leaves_the_stream_as_it_is() -> None:
    graph, x = series_network(), readings(STEPS)
    stream = Stream(Session(graph))
    stream.push(x[:5])
    for wrong, kind in (
        (np.zeros((3, 3)), ShapeError),
        (np.zeros(3), ShapeError),
        (np.zeros((1, 1, 2)), ShapeError),
        ([[1.0, 2.0], [3.0]], ShapeError),
        ([1.0, np.nan], InputError),
        ([1.0, 1e39], InputError),
        (["1", "2"], InputError),
    ):
        with pytest.raises(kind) as caught:
            stream.push(wrong)
        one_printable_line(caught.value)
    (decision,) = stream.push(x[5:])
    assert decision.answer == answer(graph, outputs(graph, x))
    with pytest.raises(ShapeError, match=r"audio must be \[N\]"):
        Stream(Session(series_network(sound=SOUND))).push(x)


def test_refusals() -> None:
    for record, options, error in (
        ({}, {"hop": 0}, HdlifError),
        ({}, {"hop": 1.5}, HdlifError),
        ({}, {"confidence": 1.1}, HdlifError),
        ({}, {"confidence": "0.5"}, HdlifError),
        ({}, {"rate": 8000}, HdlifError),
        ({"sound": SOUND}, {"rate": 10}, HdlifError),
        ({"windows": (STEPS + 1, 1)}, {}, InputError),
    ):
        with naming(record, options), pytest.raises(error) as caught:
            Stream(Session(series_network(**record)), **options)
        one_printable_line(caught.value)
    with pytest.raises(InputError):
        Stream(Session(residual_network()))
    # 1,600 windows of 1,600 samples would be open at once.
    limited = Session(series_network(sound=SOUND), max_bytes=2**20)
    with pytest.raises(LimitError):
        Stream(limited, hop=1)
    assert Stream(limited, hop=100).hop == 100


def test_what_is_held_does_not_grow_with_the_stream() -> None:
    stream, x = Stream(Session(series_network("conv1d")), hop=5, confidence=0.9), readings(100)
    for _ in range(3):
        stream.push(x)
    with at_most(30_000):
        for _ in range(15):
            stream.push(x)


def test_an_interrupted_call_ends_the_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    stream, x = Stream(Session(series_network())), readings(STEPS)
    stream.push(x[:3])

    def interrupted(self: object, samples: object) -> bool:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("hdlif.runtime.stream._Window.push", interrupted)
        with pytest.raises(KeyboardInterrupt):
            stream.push(x)
    with pytest.raises(StateError, match="begin another one"):
        stream.push(x)
