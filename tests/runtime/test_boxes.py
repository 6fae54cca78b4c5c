"""Decoding the outputs of a detector: a planted box is found, and what is near it is not."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from cases import every
from deployed_graphs import detector
from hdlif.graph.artefact import InputRecord
from hdlif.inputs.fitting import boxes_to_input, boxes_to_picture
from hdlif.runtime.answers import alike, answers, in_words
from hdlif.runtime.boxes import MOST_BOXES, Boxes, decode_boxes
from hdlif.runtime.images import Placed
from planted_boxes import planted

SIZE = (48, 64)


def decoded(outputs: np.ndarray, strides: Sequence[int] = (8,), **settings: float) -> Boxes:
    return decode_boxes(outputs, classes=2, strides=strides, size=SIZE, **{"threshold": 0.3, **settings})


@every(strides=[(8,), (8, 16)], level=[0, 1])
def test_planted_boxes_are_decoded_exactly(strides: tuple[int, ...], level: int) -> None:
    level = min(level, len(strides) - 1)
    boxes = [(0, (2.0, 3.0, 30.0, 25.0), 2.0), (1, (33.0, 20.0, 63.0, 47.0), 3.0), (0, (40.0, 1.0, 60.0, 12.0), -0.5)]
    found = decoded(planted(boxes, classes=2, strides=strides, size=SIZE, level=level), strides)
    # The highest score first.
    assert found.labels.tolist() == [1, 0, 0]
    np.testing.assert_allclose(found.corners, [boxes[n][1] for n in (1, 0, 2)], rtol=0, atol=1e-4)
    np.testing.assert_allclose(found.scores, 1 / (1 + np.exp([-3.0, -2.0, 0.5])), rtol=1e-6)


def test_a_box_is_given_from_the_threshold_on() -> None:
    outputs = planted([(0, (2.0, 3.0, 30.0, 25.0), 0.0)], classes=2, strides=(8,), size=SIZE)
    assert [len(decoded(outputs, threshold=least)) for least in (0.4999, 0.5001)] == [1, 0]


def test_of_neighbouring_places_the_highest_has_the_box() -> None:
    """A peak hides those of its class within one place, and none of another class or further away."""
    near = [(0, (8.0, 8.0, 24.0, 24.0), 2.0), (0, (16.0, 8.0, 32.0, 24.0), 1.0), (1, (16.0, 8.0, 32.0, 24.0), 1.0)]
    assert decoded(planted(near, classes=2, strides=(8,), size=SIZE)).labels.tolist() == [0, 1]
    far = [(0, (8.0, 8.0, 24.0, 24.0), 2.0), (0, (24.0, 8.0, 40.0, 24.0), 1.0)]
    assert len(decoded(planted(far, classes=2, strides=(8,), size=SIZE))) == 2


def test_an_answer_without_boxes_has_the_highest_score() -> None:
    graph = replace(detector(), input=InputRecord((3, *SIZE), (0.5,) * 3, (0.5,) * 3))
    outputs = planted([(1, (2.0, 3.0, 30.0, 25.0), -2.0)], classes=2, strides=(4, 8), size=SIZE, level=1)[None, None]
    placed = [Placed((64, 48), (64, 48), "squash")]
    for threshold, found in ((0.2, 0), (0.1, 1)):
        (answer,) = answers(outputs, replace(graph.task, threshold=threshold), graph.labels, placed)
        assert answer is not None
        assert len(answer["boxes"]) == found
        # σ(-2)
        assert found or answer["highest_score"] == pytest.approx(0.1192, abs=1e-4)
        assert in_words(answer) == ("no box (highest score 0.12)", f"1 {graph.labels[1]}")[found]


def test_of_overlapping_boxes_of_a_class_the_lower_is_dropped() -> None:
    boxes = [(0, (0.0, 0.0, 40.0, 40.0), 2.0), (0, (8.0, 0.0, 56.0, 40.0), 1.0), (1, (0.0, 0.0, 40.0, 48.0), 0.0)]
    outputs = planted(boxes, classes=2, strides=(8,), size=SIZE)
    # 32·40 of 56·40 is 0.571.
    assert [len(decoded(outputs, overlap=least)) for least in (0.57, 0.58, 1.0)] == [2, 3, 3]


def test_boxes_agree_by_the_share_that_both_networks_give() -> None:
    boxes = [(0, (2.0, 3.0, 30.0, 25.0), 2.0), (1, (33.0, 20.0, 63.0, 47.0), 3.0)]
    moved = [(0, (2.0, 3.0, 31.0, 25.0), 2.0), (1, (33.0, 20.0, 57.0, 47.0), 3.0)]  # by 28 of 29 and 24 of 30 pixels
    graph = replace(detector(), input=InputRecord((3, *SIZE), (0.5,) * 3, (0.5,) * 3))
    first, second, other, none = (
        planted(some, classes=2, strides=(4, 8), size=SIZE, level=1)[None] for some in (boxes, moved, boxes[:1], [])
    )
    one, two = (np.stack(some, 1) for some in ((first, first, none, none), (second, other, none, first)))
    assert alike(one, two, graph).tolist() == [0.5, pytest.approx(2 / 3), 1.0, 0.0]
    assert alike(one, one, graph).tolist() == [1.0] * 4
    # Of boxes at each step, over the steps.
    each = replace(graph, task=replace(graph.task, combine="each"))
    shares = alike(np.concatenate([one, one]), np.concatenate([two, one]), each)
    assert shares.tolist() == [0.75, pytest.approx(5 / 6), 1.0, 0.5]


def test_boxes_are_cut_to_the_input_and_limited_in_number() -> None:
    (box,) = decoded(planted([(0, (2.0, 3.0, 70.0, 50.0), 1.0)], classes=2, strides=(64,), size=SIZE), (64,)).corners
    assert box.tolist() == pytest.approx([2, 3, 64, 48], abs=1e-4)
    noise = np.random.default_rng(0).normal(size=7 * 100 * 100).astype(np.float32)
    found = decode_boxes(noise, classes=3, strides=(4,), size=(400, 400), threshold=0.1)
    assert len(found) == MOST_BOXES
    assert (np.diff(found.scores) <= 0).all()
    huge = np.full(7 * 4, 1e30, np.float32)
    assert np.isfinite(decode_boxes(huge, classes=3, strides=(4,), size=(8, 8), threshold=0.1).corners).all()


@every(fit=["letterbox", "squash"], size=[(640, 480), (100, 300)])
def test_a_box_comes_back_in_the_pixels_of_its_image(fit: str, size: tuple[int, int]) -> None:
    own = np.array([[10.0, 20.0, 70.0, 90.0]], np.float32)
    (corners,) = boxes_to_input(own, size, (64, 48), fit)
    (found,) = decoded(planted([(1, tuple(corners), 1.0)], classes=2, strides=(8,), size=SIZE)).corners
    assert boxes_to_picture(found, size, (64, 48), fit).tolist() == pytest.approx(own[0].tolist(), abs=1e-3)
