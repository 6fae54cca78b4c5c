"""Answering early: beside a loop over samples and steps, and beside what a stream says of the same windows."""

import numpy as np
import torch

from cases import every
from hdlif.graph.graph import TaskRecord
from hdlif.inputs.series import shown
from hdlif.runtime import Session, Stream
from hdlif.training.tasks import Classify
from hdlif.training.tasks.classify import CONFIDENCES, EarlyAnswers
from series_networks import STEPS, series_network


def plain(outputs: np.ndarray, target: list[int], confidence: float, first: int) -> tuple[float, float]:
    """Mean steps and accuracy, sample by sample."""
    steps, right = [], []
    for sample, true in enumerate(target):
        for t in range(len(outputs)):
            counted = outputs[t : t + 1, sample] if t < first else outputs[first : t + 1, sample]
            mean = counted.astype(np.float64).mean(0)
            powers = np.exp(mean - mean.max())
            if powers.max() / powers.sum() >= confidence:
                break
        steps.append(t + 1)
        right.append(mean.argmax() == true)
    return float(np.mean(steps)), float(np.mean(right))


@every(first=[0, 2, 6])
def test_it_is_a_loop_over_samples_and_steps(first: int) -> None:
    rng = np.random.default_rng(0)
    outputs = rng.normal(0, 2, (7, 50, 4)).astype(np.float32)
    outputs[:, 0] = [9, 0, 0, 0]
    target = rng.integers(0, 4, 50).tolist()
    counts = EarlyAnswers(7, first)
    for part in (slice(0, 20), slice(20, 50)):
        counts(torch.from_numpy(outputs[:, part]), torch.tensor(target[part]))
    found = counts.files()["early"]
    assert (found["time_steps"], found["confidence"]) == (7, list(CONFIDENCES))
    wanted = [plain(outputs, target, confidence, first) for confidence in CONFIDENCES]
    np.testing.assert_allclose(list(zip(found["steps"], found["accuracy"], strict=True)), wanted, rtol=1e-12)
    assert found["steps"][0] == 1
    assert len(set(found["steps"])) > 5


@every(combine=["mean", "last"])
def test_it_is_what_a_stream_says_early(combine: str) -> None:
    graph = series_network("conv1d", task=TaskRecord(combine=combine))
    session, x = Session(graph), np.random.default_rng(0).normal(0.5, 4, (20 * STEPS, 2)).astype(np.float32)
    frames = shown(x, graph.input.mean, graph.input.std)
    outputs = session.run(frames.reshape(20, STEPS, *frames.shape[1:]).swapaxes(0, 1).copy())
    task = Classify(("a", "b", "c"), STEPS, combine=combine)
    drawing = task.drawing()
    target = torch.arange(20) % 3
    drawing(torch.from_numpy(outputs), target)
    found = drawing.files()["early"]
    for confidence, steps, accuracy in zip(found["confidence"], found["steps"], found["accuracy"], strict=True):
        said = Stream(session, confidence=confidence).push(x)
        assert np.mean([one.step for one in said]) == steps
        right = [one.answer["class"] == int(true) for one, true in zip(said, target, strict=True) if one.answer]
        assert np.mean(right) == accuracy
