"""Average precision of boxes, as torchmetrics has it by COCO's own code."""

import numpy as np
import pytest
import torch

from hdlif.training.tasks import Detect

pytest.importorskip("pycocotools")
detection = pytest.importorskip("torchmetrics.detection")
pytestmark = pytest.mark.peers
T, SIZE = 2, (32, 48)


def test_it_equals_that_of_torchmetrics() -> None:
    metric = detection.MeanAveragePrecision()
    task = Detect(("a", "b", "c"), T, size=SIZE, metrics={"iou": detection.IntersectionOverUnion()})
    tally, draws = task.tally(), torch.Generator().manual_seed(0)
    for _ in range(4):
        outputs = torch.randn(T, 8, task.output_count, generator=draws)
        # Every fourth box that is found, moved a little, and without the last class.
        there = [one.where(np.arange(0, len(one), 4)) for one in task.boxes(outputs.mean(0), 0.3)]
        target = torch.full((8, 40, 5), -1.0)
        for row, one in zip(target, there, strict=True):
            row[: len(one), 0] = torch.from_numpy(one.labels).float()
            row[: len(one), 1:] = torch.from_numpy(one.corners) + torch.randn(len(one), 4, generator=draws) / 3
            row[row[:, 0] == 2] = -1
        tally(outputs, target)
        metric.update(*task.scored(outputs, target))
    found, theirs = tally.evaluation().metrics, metric.compute()
    assert found["ap"] == pytest.approx(float(theirs["map"]), abs=1e-6)
    assert found["ap50"] == pytest.approx(float(theirs["map_50"]), abs=1e-6)
    assert found["ap50"] > 0.1
    assert np.isnan(found["ap50.c"])
    assert 0 < found["iou.iou"] < 1
