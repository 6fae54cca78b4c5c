"""The torchmetrics metrics that recipes can contain; hdlif imports this module only to create a metric."""

from __future__ import annotations

import warnings

from torch import Tensor
from torchmetrics import Metric
from torchmetrics.classification import (
    MulticlassAccuracy,
    MulticlassAUROC,
    MulticlassCalibrationError,
    MulticlassF1Score,
    MulticlassMatthewsCorrCoef,
    MultilabelAUROC,
    MultilabelAveragePrecision,
    MultilabelHammingDistance,
)
from torchmetrics.regression import MeanAbsolutePercentageError, PearsonCorrCoef, SpearmanCorrCoef


def balanced_accuracy(*, num_classes: int) -> Metric:
    """Return a metric for balanced accuracy, which is the mean accuracy over classes."""
    return MulticlassAccuracy(num_classes, average="macro")


def top_k(*, num_classes: int, k: int) -> Metric:
    """Return a metric for top-k accuracy: the fraction of samples whose class is among the k most probable ones."""
    if not 1 <= k <= num_classes:
        raise ValueError(f"k = {k}; it must be 1 to {num_classes}, the number of classes")
    return MulticlassAccuracy(num_classes, top_k=k, average="micro")


class _MeanOfSpearman(SpearmanCorrCoef):
    def compute(self) -> Tensor:
        return super().compute().mean()


class _MeanOfPearson(PearsonCorrCoef):
    # torchmetrics does not define this attribute; for predictions, a correlation of -1 is bad.
    higher_is_better = True

    def compute(self) -> Tensor:
        return super().compute().mean()


def spearman(*, num_outputs: int) -> Metric:
    """Return a metric for Spearman correlation, averaged over the outputs."""
    with warnings.catch_warnings():
        # Ignore the warning that the metric stores all values; the documentation states this, too.
        warnings.simplefilter("ignore")
        return _MeanOfSpearman(num_outputs)


f1 = MulticlassF1Score
auroc = MulticlassAUROC
calibration_error = MulticlassCalibrationError
mcc = MulticlassMatthewsCorrCoef
label_auroc = MultilabelAUROC
average_precision = MultilabelAveragePrecision
hamming = MultilabelHammingDistance
mape = MeanAbsolutePercentageError
pearson = _MeanOfPearson
