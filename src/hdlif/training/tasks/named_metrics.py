"""Metrics of torchmetrics under plain names, as a recipe asks for them; it is imported where one is made."""

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
    """The mean over the classes of the share of each that is right."""
    return MulticlassAccuracy(num_classes, average="macro")


def top_k(*, num_classes: int, k: int) -> Metric:
    """The share of samples whose class is among the k likeliest."""
    if not 1 <= k <= num_classes:
        raise ValueError(f"k = {k}; it must be 1 to {num_classes}, the number of classes")
    return MulticlassAccuracy(num_classes, top_k=k, average="micro")


class _MeanOfSpearman(SpearmanCorrCoef):
    def compute(self) -> Tensor:
        return super().compute().mean()


class _MeanOfPearson(PearsonCorrCoef):
    # torchmetrics leaves this open, but a correlation of -1 means bad predictions.
    higher_is_better = True

    def compute(self) -> Tensor:
        return super().compute().mean()


def spearman(*, num_outputs: int) -> Metric:
    """Mean over the values."""
    with warnings.catch_warnings():
        # Ignore the warning that the metric keeps all values; the documentation states this, too.
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
