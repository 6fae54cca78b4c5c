"""Soft targets, and a criterion that learns from a teacher's logits beside them."""

import pytest
import torch
import torch.nn.functional as F

from cases import every
from hdlif.learning import Distillation, OTTTCriterion, probabilities

LOGITS = torch.tensor([[1.0, 0.0, -1.0], [0.5, 2.0, 0.0]], dtype=torch.float64)
TAUGHT = torch.tensor([[2.0, 0.0, 0.0], [0.0, 1.0, 1.0]], dtype=torch.float64)
LABELS = torch.tensor([0, 2])


def test_loss_is_the_weighted_sum_of_criterion_and_divergence() -> None:
    target = torch.cat([probabilities(LABELS, LOGITS), TAUGHT], 1)
    p, q = (TAUGHT / 3).softmax(1), (LOGITS / 3).softmax(1)
    divergence = (p * (p / q).log()).sum() / 2
    expected = 0.75 * F.cross_entropy(LOGITS, LABELS) + 0.25 * 9 * divergence
    torch.testing.assert_close(Distillation(F.cross_entropy, 3.0, 0.25)(LOGITS, target), expected)


@every(criterion=[F.cross_entropy, OTTTCriterion(0.3), OTTTCriterion(0.3, label_smoothing=0.1)])
def test_certain_probabilities_are_labels(criterion: object) -> None:
    soft = probabilities(LABELS, LOGITS)
    assert soft.dtype == LOGITS.dtype
    torch.testing.assert_close(criterion(LOGITS, soft), criterion(LOGITS, LABELS))  # type: ignore[operator]
    assert torch.equal(probabilities(soft, LOGITS), soft)


@every("temperature", "weight", of=[(0.0, 0.5), (-1.0, 0.5), (1.0, -0.1), (1.0, 1.1)])
def test_arguments_out_of_range_are_refused(temperature: float, weight: float) -> None:
    with pytest.raises(ValueError, match=r"it must (be above 0|lie in 0\.\.1)"):
        Distillation(F.cross_entropy, temperature, weight)
