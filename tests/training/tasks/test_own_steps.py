"""Samples of unequal lengths: each is learned from, and classified, by its own steps alone."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from hdlif.learning import loss_at, loss_over, mean_logits
from hdlif.training.tasks import Classify

STEPS, LENGTHS = 5, (5, 2, 1, 4)
TASK = Classify(("a", "b", "c"), STEPS, own_steps=True)
CLASSES = torch.tensor([0, 2, 1, 2])
TARGET = torch.stack([CLASSES, torch.tensor(LENGTHS)], 1)


@pytest.fixture
def outputs() -> Tensor:
    return torch.randn(STEPS, len(LENGTHS), 3, generator=torch.Generator().manual_seed(0), requires_grad=True)


def own_means(outputs: Tensor) -> Tensor:
    return torch.stack([outputs[:length, sample].mean(0) for sample, length in enumerate(LENGTHS)])


def test_the_loss_of_all_steps_is_that_of_each_samples_own_mean(outputs: Tensor) -> None:
    loss = loss_over(TASK.criterion(), outputs, TARGET, mean_logits)
    torch.testing.assert_close(loss, F.cross_entropy(own_means(outputs), CLASSES))
    (gradient,) = torch.autograd.grad(loss, outputs)
    for sample, length in enumerate(LENGTHS):
        assert gradient[length:, sample].count_nonzero() == 0 < gradient[:length, sample].count_nonzero()


def test_the_loss_of_a_step_is_of_the_samples_that_have_it(outputs: Tensor) -> None:
    for t in range(STEPS):
        own = [sample for sample, length in enumerate(LENGTHS) if length > t]
        wanted = F.cross_entropy(outputs[t, own], CLASSES[own], reduction="sum") / len(LENGTHS)
        torch.testing.assert_close(loss_at(TASK.criterion(), outputs[t], TARGET, t), wanted)
    nobody = TARGET.clone()
    nobody[:, 1] = 1
    assert loss_at(TASK.criterion(), outputs[3], nobody, 3) == 0


def test_accuracy_confusion_and_metrics_are_of_each_samples_own_steps(outputs: Tensor) -> None:
    outputs = outputs.detach()
    chosen = own_means(outputs).argmax(1)
    right = int((chosen == CLASSES).sum())
    tally, drawing = TASK.tally(), TASK.drawing()
    tally(outputs, TARGET)
    drawing(outputs, TARGET)
    evaluation = tally.evaluation()
    assert evaluation.accuracy == right / len(LENGTHS)
    # After step t, a sample that has ended is classified as at its end.
    so_far = [
        sum(
            int(outputs[: min(t + 1, length), sample].mean(0).argmax() == CLASSES[sample])
            for sample, length in enumerate(LENGTHS)
        )
        for t in range(STEPS)
    ]
    assert evaluation.per_step == tuple(count / len(LENGTHS) for count in so_far)
    assert drawing.counts.sum() == len(LENGTHS)
    assert all(drawing.counts[CLASSES[one], chosen[one]] for one in range(len(LENGTHS)))
    probabilities, classes = TASK.scored(outputs, TARGET)
    torch.testing.assert_close(probabilities.float(), own_means(outputs).softmax(-1))
    assert classes.tolist() == CLASSES.tolist()
    counted, of = TASK.right(outputs, tuple(range(STEPS)), TARGET)
    assert (int(counted), of) == (right, len(LENGTHS))
    # Of step 3 alone, two samples have none.
    assert TASK.right(outputs[3:4], (3,), TARGET)[1] == 2


@pytest.mark.parametrize("argument", [{"combine": "last"}, {"learn_from": "last"}])
def test_the_last_step_of_samples_of_unequal_lengths_is_refused(argument: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="classified by the mean of their own steps"):
        Classify(("a", "b"), 4, own_steps=True, **argument)  # type: ignore[arg-type]
