"""Class weights: the loss beside its plain sum, that parts of a batch add up to it, and what is refused."""

from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from cases import naming
from hdlif.errors import InputError
from hdlif.learning import loss_over, mean_logits
from hdlif.training.tasks import Classify, LabelSequence, balanced_weights
from hdlif.training.tasks.class_weights import WeightedCrossEntropy
from hdlif.training.tasks.task import LearnFrom

ABC = ("a", "b", "c")
WEIGHTS = (0.5, 2.0, 3.0)
T, B = 4, 6


def drawn(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


LOGITS = drawn(B, 3)
LABELS = torch.tensor([0, 1, 1, 2, 0, 2])


def test_each_sample_counts_by_the_weight_of_its_class() -> None:
    for smoothing in (0.0, 0.3):
        wanted = torch.zeros((), dtype=torch.float64)
        for logits, label in zip(LOGITS.log_softmax(1), LABELS.tolist(), strict=True):
            for c in range(3):
                share = (1 - smoothing) * (c == label) + smoothing / 3
                wanted -= WEIGHTS[label] * share * logits[c] / B
        criterion = WeightedCrossEntropy(WEIGHTS, smoothing)
        torch.testing.assert_close(criterion(LOGITS, LABELS), wanted)
        # A mixed sample has the weights of both classes.
        mixed = 0.7 * F.one_hot(LABELS, 3) + 0.3 * F.one_hot(LABELS.flip(0), 3)
        both = 0.7 * criterion(LOGITS, LABELS) + 0.3 * criterion(LOGITS, LABELS.flip(0))
        torch.testing.assert_close(criterion(LOGITS, mixed.double()), both)


def test_balanced_weights_let_all_classes_count_alike() -> None:
    labels = torch.tensor([0] * 6 + [2] * 3 + [1] * 1)
    weights = balanced_weights(labels, 3)
    shares = [weights[c] * int((labels == c).sum()) for c in range(3)]
    assert shares == pytest.approx([len(labels) / 3] * 3, abs=1e-5)
    assert Classify(ABC, T, class_weights="balanced").counted(labels).class_weights == weights
    # Of a class that is not there nothing follows.
    assert balanced_weights(torch.tensor([[0, 0], [0, 2]]), 4) == pytest.approx((2 / 3, 1, 2, 1), abs=1e-6)


def test_steps_of_a_sequence_with_a_loss_are_counted_and_weighed() -> None:
    many = torch.randint(3, (200, T), generator=torch.Generator().manual_seed(2))
    many[:, 3] = 0
    outputs, target = drawn(T, B, 3), many[:B]
    # The answer to step t is read at step t + 1.
    steps = [WeightedCrossEntropy(WEIGHTS)(outputs[t + 1], target[:, t]) for t in range(T - 1)]
    shares: dict[LearnFrom, list[float]] = {"every": [1 / 3] * 3, "last": [0, 0, 1], "late": [1 / 6, 2 / 6, 3 / 6]}
    for learn_from, of_steps in shares.items():
        task = LabelSequence(ABC, T, delay=1, learn_from=learn_from, class_weights=WEIGHTS)
        expected = sum(share * step for share, step in zip(of_steps, steps, strict=True))
        torch.testing.assert_close(loss_over(task.criterion(), outputs, target, mean_logits), expected)
        balanced = replace(task, class_weights="balanced").counted(many).class_weights
        assert balanced == balanced_weights(many[:, [t for t in range(3) if of_steps[t]]], 3), learn_from


def test_what_is_measured_counts_all_samples_alike() -> None:
    outputs = drawn(T, B, 3)
    for make, target in ((Classify, LABELS), (LabelSequence, LABELS[:, None].expand(B, T))):
        weighed, plain = (make(ABC, T, class_weights=weights).tally() for weights in (WEIGHTS, None))
        for tally in (weighed, plain):
            tally(outputs, target)
        assert weighed.evaluation() == plain.evaluation(), make


def test_weights_that_are_none_are_refused() -> None:
    refused: list[Any] = [(1.0, 2.0), (1.0,), (1.0, 0.0, 1.0), (1.0, 1.0, float("inf")), (1.0, 1.0, float("nan"))]
    refused += ["equal", "123", {"a": 1.0, "b": 1.0, "c": 1.0}, [1.0, None, 1.0], 3]
    for make in (Classify, LabelSequence):
        for weights in refused:
            with naming(make, weights), pytest.raises(InputError, match=r"^task\.class_weights"):
                make(ABC, T, class_weights=weights)
    uncounted = Classify(ABC, T, class_weights="balanced")
    with pytest.raises(InputError, match=r"follows from the training samples; .* task\.counted\(sets"):
        uncounted.criterion()(LOGITS, LABELS)
