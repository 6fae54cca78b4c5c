"""Boxes: which place learns which, the loss and its gradient, average precision by hand, and a short training."""

from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from torch import Tensor

from box_files import write_voc
from cases import every
from hdlif import Trainer, TrainingConfig
from hdlif.data import DataSets
from hdlif.data.sources import boxes
from hdlif.errors import DataError
from hdlif.learning import SLTT, STBP, Rule, StochasticStep, loss_at
from hdlif.models import detector
from hdlif.nn import HDLIF
from hdlif.runtime.boxes import Boxes
from hdlif.training import validation
from hdlif.training.tasks import Detect, Evaluation
from hdlif.training.tasks.box_loss import BoxLoss
from hdlif.training.tasks.detect import IOUS, average_precision, match_boxes
from planted_boxes import planted

NONE = [-1.0] * 5
BOX, OTHER = (3.0, 4.0, 15.0, 20.0), (25.0, 5.0, 40.0, 30.0)
SIZE = (32, 48)
TASK = Detect(("a", "b"), 2, size=SIZE)


def targets(*images: list[list[float]]) -> Tensor:
    most = max(map(len, images))
    return torch.tensor([[*boxes, *[NONE] * (most - len(boxes))] for boxes in images])


def outputs_of(*images: list[tuple[int, tuple[float, float, float, float], float]]) -> Tensor:
    """[T, B, n], the same at each step."""
    each = [planted(boxes, classes=2, strides=(8,), size=SIZE) for boxes in images]
    return torch.from_numpy(np.stack(each)).expand(TASK.time_steps, -1, -1).clone()


def test_the_places_around_a_centre_learn_the_smallest_box_there() -> None:
    loss = BoxLoss(2, (8,), SIZE)
    # Places are at 4, 12, 20, ...: the first centre is one, and 1.5 strides reach its neighbours. Only one place is
    # inside the second box, and none inside the third.
    large, small, tiny = [0.0, 2, 2, 38, 38], [1.0, 4, 12, 20, 28], [1.0, 41, 1, 43, 3]
    found = loss.assigned(targets([large, small, tiny]))
    classes = torch.where(found.is_box[0], found.classes[0].argmax(-1), -1).view(4, 6)
    assert classes.tolist() == [
        [-1, -1, -1, -1, -1, 1],
        [-1, 0, 0, 0, -1, -1],
        [-1, 1, 0, 0, -1, -1],
        [-1, 0, 0, 0, -1, -1],
    ]
    assert found.corners[0].view(4, 6, 4)[2, 2].tolist() == large[1:]
    assert not loss.assigned(targets([NONE])).is_box.any()


def test_a_box_is_learned_at_the_level_of_its_size() -> None:
    loss = BoxLoss(1, (8, 16), (256, 256))
    is_box = loss.assigned(targets([[0, 0, 0, 128, 20]], [[0, 0, 0, 129, 20]])).is_box
    assert [bool(part.any()) for one in is_box for part in one.split([32 * 32, 16 * 16])] == [True, False, False, True]


def test_right_outputs_have_a_small_loss_and_gradients_reach_every_output() -> None:
    truth = targets([[0.0, 3, 4, 15, 20], [1.0, 25, 5, 40, 30]], [])
    loss = BoxLoss(2, (8,), SIZE)
    at = loss.assigned(truth)
    right = torch.zeros(2, 6, 24)
    right[:, :2] = torch.where(at.classes.mT > 0, 12.0, -12.0)
    places = loss.places
    signs = torch.tensor([-1, -1, 1, 1])
    reach = ((at.corners - places[:, :2].repeat(1, 2)) * signs / places[:, 2:]).clamp(min=1e-3)
    right[:, 2:] = torch.where(at.is_box[:, None], reach.log().mT, 0.0)
    assert float(loss(right.flatten(1), truth)) == float(loss(right.flatten(1).double(), truth.double())) < 1e-4
    wrong = torch.zeros(2, 144, requires_grad=True)
    loss(wrong, truth).backward()
    assert wrong.grad is not None
    of_logits, of_distances = wrong.grad.view(2, 6, 24).split([2, 4], 1)
    assert (of_logits != 0).all()
    assert (of_distances.abs().sum(1) > 0).equal(at.is_box)


def test_average_precision_by_hand() -> None:
    boxes = Boxes(
        np.array([[0, 0, 10, 10], [0, 0, 10, 9], [20, 0, 30, 10], [40, 0, 50, 10]], np.float32),
        np.array([0.9, 0.8, 0.7, 0.6], np.float32),
        np.array([0, 0, 0, 1]),
    )
    truth = np.array([[0, 0, 10, 10], [21, 0, 31, 10], [40, 0, 50, 10]], np.float32)
    right = match_boxes(boxes, truth, np.array([0, 0, 0]))
    # The second finds its object taken; the third overlaps by 9/11; the fourth has another class.
    assert right[:, 0].tolist() == [True, False, True, False]
    assert right[2].tolist() == [iou <= 9 / 11 for iou in IOUS]
    # Precisions 1, 1/2, 2/3 at recalls 1/3, 1/3, 2/3: 34 places of 101 at 1, 33 at 2/3, the rest at 0.
    precision = average_precision(boxes.scores[:3].astype(float), right[:3], 3)
    assert precision[0] == pytest.approx((34 + 33 * 2 / 3) / 101)
    assert np.isnan(average_precision(np.zeros(0), np.zeros((0, 10), bool), 0)).all()
    assert (average_precision(np.zeros(0), np.zeros((0, 10), bool), 2) == 0).all()


def measured(*batches: tuple[Tensor, Tensor]) -> Evaluation:
    tally = TASK.tally()
    for outputs, truth in batches:
        tally(outputs, truth)
    found = tally.evaluation()
    assert tally.score == pytest.approx(found.metrics["ap50"], nan_ok=True)
    return found


def test_an_evaluation_has_the_precision_of_each_class_and_step() -> None:
    found = outputs_of([(0, BOX, 2.0)], [(1, OTHER, 1.0)])
    truth = targets([[0.0, *BOX]], [[1.0, 0, 0, 9, 9]])
    whole = measured((found, truth))
    assert whole.metrics["ap50.a"] == pytest.approx(1)
    assert whole.metrics["ap50.b"] == 0
    assert whole.metrics["ap50"] == pytest.approx(0.5)
    assert whole.per_step == pytest.approx((0.5, 0.5))
    assert (whole.accuracy, whole.n) == (None, 2)
    apart = measured((found[:, :1], truth[:1]), (found[:, 1:], truth[1:]))
    assert apart.metrics == pytest.approx(whole.metrics)
    # After a step that finds nothing, the mean of both is of another box.
    found[1] = outputs_of([], [])[1]
    assert measured((found, truth)).per_step == pytest.approx((0.5, 0.0))
    nothing = measured((found[:, :1], targets([NONE])))
    assert np.isnan(nothing.metrics["ap50"])
    assert TASK.better(nothing) == -np.inf


def test_boxes_at_each_step_are_those_of_its_own_outputs() -> None:
    task = replace(TASK, combine="each")
    assert (task.target, task.record.combine) == ("boxes_each", "each")
    outputs = torch.cat([outputs_of([(0, BOX, 2.0)])[:1], outputs_of([(0, OTHER, 1.0)])[:1]])
    truth, wrong = (torch.stack([targets([[0.0, *BOX]]), targets([[0.0, *later]])], 1) for later in (OTHER, BOX))
    for target, per_step, ap50 in ((truth, (1, 1), 1), (wrong, (1, 0), 51 / 101)):
        tally, drawing = task.tally(), task.drawing()
        tally(outputs, target)
        drawing(outputs, target)
        found = tally.evaluation()
        assert found.per_step == pytest.approx(per_step)
        # Both steps' boxes together: the one with the higher score is right, at recalls up to 1/2.
        assert found.metrics["ap50"] == tally.score == pytest.approx(ap50)
        assert [one.score for one in drawing.worst] == [per_step[1]]
        losses = [BoxLoss(2, (8,), SIZE)(outputs[t], target[:, t]) for t in range(2)]
        assert [loss_at(task.criterion(), outputs[t], target, t) for t in range(2)] == losses
    predicted, true = task.scored(outputs, truth)
    assert [len(one["boxes"]) for one in predicted] == [len(one["boxes"]) for one in true] == [1, 1]


def test_a_report_shows_the_images_with_the_worst_answers() -> None:
    drawing = TASK.drawing()
    found = outputs_of([(0, BOX, 2.0)], [(1, BOX, 2.0), (0, OTHER, 1.0)])
    drawing(found, targets([[0.0, *BOX]], [[0.0, *OTHER], [1.0, *OTHER]]))
    drawing(outputs_of([], []), targets([NONE], [[0.0, *BOX]]))
    assert [(one.index, one.score) for one in drawing.worst] == [(3, 0.0), (1, 0.5), (0, 1.0), (2, 1.0)]
    torch.testing.assert_close(drawing.worst[1].answer, torch.tensor([[1.0, *BOX], [0.0, *OTHER]]), atol=1e-4, rtol=0)


def test_ranks_put_their_boxes_together() -> None:
    truth = targets([[0.0, *BOX]])
    first, second = (outputs_of([(0, BOX, 2.0)]), truth), (outputs_of([]), truth)
    tallies = [TASK.tally(), TASK.tally()]
    for tally, (outputs, truth) in zip(tallies, (first, second), strict=True):
        tally(outputs, truth)
    rows = [torch.from_numpy(np.concatenate(tally._rows)) for tally in tallies]
    sums = [torch.cat(list(tally._sums.values())) for tally in tallies]
    together = tallies[0].evaluation(lambda own: sum(sums, torch.zeros_like(own)), lambda own: rows)
    assert together.metrics == pytest.approx(measured(first, second).metrics, nan_ok=True)
    assert together.n == 2


@every("arguments", "said", of=[
    ({"strides": ()}, "strides"), ({"strides": (16, 8)}, "strides"), ({"threshold": 1.0}, "threshold"),
    ({"overlap": 0.0}, "overlap"), ({"box_weight": 0.0}, "box_weight"),
])  # fmt: skip
def test_arguments_out_of_range_are_refused(arguments: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=f"^{said} = "):
        Detect(("a",), 2, size=SIZE, **arguments)


def sets_of(folder: Path, count: int = 12, **options: Any) -> DataSets:
    return boxes.Boxes(None, path=str(write_voc(folder, count)), size=SIZE, **options).find().make((), 0)


def trained(rule: Rule, sets: DataSets, epochs: int, combine: Any = "mean") -> Any:
    torch.manual_seed(0)
    model = detector(neuron=lambda place: HDLIF(2), classes=2, width=8, blocks=[1], strides=[4], head_width=16)
    task = Detect(sets.classes, 2, size=SIZE, strides=(4,), combine=combine)
    config = TrainingConfig(epochs=epochs, learning_rate=0.05)
    return Trainer(model, rule=rule, task=task, config=config, batch_size=6).fit(sets.train, sets.validation)


def test_boxes_of_an_unknown_class_are_refused(tmp_path: Path) -> None:
    sets = sets_of(tmp_path)
    sets.train.labels[0, 0, 0] = 2
    with pytest.raises(DataError, match=r"train: targets are \[6, 2, 5\], classes up to 2; give each box as"):
        trained(STBP(), sets, epochs=1)


@every(rule=[STBP(loss="each"), SLTT(), StochasticStep()], drift=[None, 1.5])
def test_every_rule_takes_an_update_and_batch_norm_is_measured_once(
    tmp_path: Path, rule: Rule, drift: float | None
) -> None:
    sets = sets_of(tmp_path / f"{drift}", drift=drift, time_steps=2)
    # For no comparison of accuracies, too.
    with patch.object(validation, "reestimated", wraps=validation.reestimated) as again:
        fit = trained(rule, sets, epochs=1, combine="mean" if drift is None else "each")
    assert fit.metrics.keys() == {"ap50", "ap", "ap50.green", "ap50.red"}
    assert (fit.steps, again.call_count) == (1, 1)


def test_squares_are_found_after_a_short_training(tmp_path: Path) -> None:
    assert trained(STBP(), sets_of(tmp_path, 48), epochs=6).metrics["ap50"] > 0.5
