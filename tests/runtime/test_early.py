"""Early exit: what is answered, after how many steps, is what the logits of all steps would have said."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cases import every
from command_line import hdlif
from deployed_graphs import random_input, residual_network
from hdlif.errors import HdlifError, LimitError
from hdlif.graph.artefact import TaskRecord, save
from hdlif.runtime import Session, probabilities
from hdlif.runtime.early import _is_exactly_sure, is_sure

STEPS = 9


@every(combine=["mean", "last"], static=[True, False], confidence=[0.0, 0.9, 0.97, 0.999, 1.0], batch=[1, 5])
def test_a_sample_stops_at_its_first_sure_step_with_the_bits_of_a_run(
    combine: str, static: bool, confidence: float, batch: int
) -> None:
    graph = replace(residual_network(), task=TaskRecord("classify", combine))
    session = Session(graph, threads=1)
    x = random_input(graph, 1 if static else STEPS, batch)
    logits = session.run(x, STEPS)
    counts = np.arange(1, STEPS + 1, dtype=np.float32)[:, None, None]
    answers = logits if combine == "last" else np.cumsum(logits, axis=0, dtype=np.float32) / counts
    sure = np.stack([probabilities(answers[:, [b]][t : t + 1])[0, 0].max() for t in range(STEPS) for b in range(batch)])
    reached = sure.reshape(STEPS, batch) >= confidence
    first = np.where(reached.any(0), reached.argmax(0), STEPS - 1)
    early = session.run(x, STEPS, confidence=confidence)
    np.testing.assert_array_equal(early.steps, first + 1)
    np.testing.assert_array_equal(early.logits, answers[first, np.arange(batch)])


def test_sure_is_the_softmax_in_float64_but_for_a_millionth() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, rng.uniform(0.1, 40, (2000, 1)), (2000, 12)).astype(np.float32)
    powers = np.exp(logits.astype(np.float64) - logits.max(-1, keepdims=True))
    most = powers.max(-1) / powers.sum(-1)
    for confidence in (0.0, 0.3, 0.9, 0.999, 1.0):
        decided = abs(most - confidence) > 1e-6
        assert decided.sum() > 1500 or confidence == 1
        np.testing.assert_array_equal(is_sure(logits, confidence)[decided], (most >= confidence)[decided])
    # The quick way takes the exact one's decisions, ties and the numbers next to them included.
    below = logits.max(-1, keepdims=True) - logits
    for place in range(0, 2000, 20):
        for confidence in most[place] + np.array([-3e-5, -1e-6, -6e-8, 0, 6e-8, 1e-6, 3e-5]):
            one = slice(place, place + 1)
            assert is_sure(logits[one], confidence) == _is_exactly_sure(below[one], confidence)
    for row in ([np.nan, 9, 0], [9, np.nan, 0], [np.inf, 0, 0], [-np.inf] * 3):
        assert not is_sure(np.array(row, np.float32), 0)
    assert is_sure(np.array([0, -np.inf, 90], np.float32), 1)


def test_a_confidence_is_refused_where_it_means_nothing() -> None:
    graph = residual_network()
    x = random_input(graph, 1, 1)
    for wrong in (-0.1, 1.5, float("nan"), True, "high"):
        with pytest.raises(HdlifError, match="confidence = "):
            Session(graph).run(x, confidence=wrong)  # type: ignore[call-overload]
    values = replace(graph, task=TaskRecord("regress", mean=(0.0,) * 3, std=(1.0,) * 3))
    with pytest.raises(HdlifError, match="applies only to classification"):
        Session(values).run(x, confidence=0.5)


def test_the_command_says_how_many_steps_each_input_took(tmp_path: Path) -> None:
    graph = residual_network()
    save(graph, tmp_path / "net.hdlif.safetensors")
    x = random_input(graph, 1, 20)[0]
    np.save(tmp_path / "x.npy", x)
    done = hdlif("run", tmp_path / "net.hdlif.safetensors", tmp_path / "x.npy", "--confidence", 0.97, "--json")
    early = Session(graph).run(x[None], confidence=0.97)
    answers = json.loads(done.stdout)["inputs"]
    assert [one["steps"] for one in answers] == early.steps.tolist()
    assert len(set(early.steps.tolist())) > 2
    np.testing.assert_allclose([one["logits"] for one in answers], early.logits)
    assert [one["class"] for one in answers] == early.logits.argmax(-1).tolist()


def test_the_states_that_a_batch_holds_between_chunks_count_against_the_limit() -> None:
    graph = residual_network()
    x = random_input(graph, 1, 64)
    limited = Session(graph, threads=1, max_bytes=len(x[0]) * Session(graph).state_bytes)
    limited.run(x)
    with pytest.raises(LimitError, match="max_bytes"):
        limited.run(x, confidence=0.9)
