"""Metrics of torchmetrics under plain names, as a recipe asks for them; it is imported where one is made."""

from __future__ import annotations

import warnings
from typing import Literal

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


def f1(*, num_classes: int, average: Literal["macro", "micro", "weighted", "none"] = "macro") -> Metric:
    return MulticlassF1Score(num_classes, average=average)


def balanced_accuracy(*, num_classes: int) -> Metric:
    """The mean over the classes of the share of each that is right."""
    return MulticlassAccuracy(num_classes, average="macro")


def top_k(*, num_classes: int, k: int) -> Metric:
    """The share of samples whose class is among the k likeliest."""
    if not 1 <= k <= num_classes:
        raise ValueError(f"k = {k}; it must be 1 to {num_classes}, the number of classes")
    return MulticlassAccuracy(num_classes, top_k=k, average="micro")


def auroc(
    *,
    num_classes: int,
    average: Literal["macro", "weighted", "none"] = "macro",
    thresholds: int | None = None,
) -> Metric:
    return MulticlassAUROC(num_classes, average=average, thresholds=thresholds)


def calibration_error(*, num_classes: int, n_bins: int = 15, norm: Literal["l1", "l2", "max"] = "l1") -> Metric:
    return MulticlassCalibrationError(num_classes, n_bins=n_bins, norm=norm)


def mcc(*, num_classes: int) -> Metric:
    return MulticlassMatthewsCorrCoef(num_classes)


def label_auroc(
    *,
    num_labels: int,
    average: Literal["macro", "micro", "weighted", "none"] = "macro",
    thresholds: int | None = None,
) -> Metric:
    return MultilabelAUROC(num_labels, average=average, thresholds=thresholds)


def average_precision(
    *,
    num_labels: int,
    average: Literal["macro", "micro", "weighted", "none"] = "macro",
    thresholds: int | None = None,
) -> Metric:
    return MultilabelAveragePrecision(num_labels, average=average, thresholds=thresholds)


def hamming(*, num_labels: int, threshold: float) -> Metric:
    """The share of labels that are wrongly said or not said."""
    return MultilabelHammingDistance(num_labels, threshold=threshold)


class _MeanOfSpearman(SpearmanCorrCoef):
    def compute(self) -> Tensor:
        return super().compute().mean()


class _MeanOfPearson(PearsonCorrCoef):
    # torchmetrics leaves it open: of predictions a correlation of -1 is no good.
    higher_is_better = True

    def compute(self) -> Tensor:
        return super().compute().mean()


def spearman(*, num_outputs: int) -> Metric:
    """Mean over the values."""
    with warnings.catch_warnings():
        # That it keeps all values, which the documentation says too.
        warnings.simplefilter("ignore")
        return _MeanOfSpearman(num_outputs)


def pearson(*, num_outputs: int) -> Metric:
    """Mean over the values."""
    return _MeanOfPearson(num_outputs)


def mape() -> Metric:
    """The mean of |predicted - true|/|true|."""
    return MeanAbsolutePercentageError()
